"""A datagram through a SOCKS5 proxy and back (RFC 1928 section 7), and who sends it back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from ..base.address import Address, decode_address, encode_address

AGAIN: Final = 1.0
"""Seconds after which a datagram without an answer is sent again."""


class Echo(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert self._transport is not None
        self._transport.sendto(data, addr)


class _Answer(asyncio.DatagramProtocol):
    """Waits for the first datagram."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.came.done():
            self.came.set_result(data)


async def exchange(proxy: Address, target: Address, payload: bytes) -> bytes:
    """Send a datagram through a proxy, again and again until an answer comes, and return that.

    :param proxy: where it listens
    :param target: whom the datagram is for
    :param payload: what it says
    :raises OSError: if the proxy refuses, or what comes back is no datagram of SOCKS5
    """
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    with contextlib.closing(writer):
        writer.write(b"\x05\x01\x00" + b"\x05\x03\x00" + encode_address(Address("0.0.0.0", 0)))  # noqa: S104 - says nothing
        reply = (await reader.readexactly(2 + 10))[2:]
        if reply[1]:
            raise ConnectionError(f"the proxy answered with code {reply[1]}")
        relay = _address(reply)[0]
        transport, answer = await asyncio.get_running_loop().create_datagram_endpoint(_Answer, remote_addr=(relay.host, relay.port))
        with contextlib.closing(transport):
            while not answer.came.done():
                transport.sendto(b"\x00\x00\x00" + encode_address(target) + payload)
                await asyncio.wait([answer.came], timeout=AGAIN)
            data = answer.came.result()
            return data[3 + _address(data)[1] :]


def _address(message: bytes) -> tuple[Address, int]:
    found = decode_address(message[3:])
    if found is None:
        raise ConnectionError("the proxy's answer is too short")
    return found
