"""A SOCKS5 client for packets, by hand, so that each datagram is ours (RFC 1928 section 7)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

from client import request
from udp_origin import BUFFER

from outline_lb.base.address import Address, decode_address, encode_address

PATIENCE: Final = 10.0
"""Seconds that something may take that should happen at once."""


class Association:
    """A relay for packets, and the connection that holds it.

    :param proxy: where the proxy listens
    :param relay: where the proxy takes datagrams
    :param control: the connection
    :param sock: connected to the relay
    """

    def __init__(self, proxy: Address, relay: Address, control: tuple[asyncio.StreamReader, asyncio.StreamWriter], sock: socket.socket) -> None:
        self.proxy = proxy
        self.relay = relay
        self.reader, self.writer = control
        self.sock = sock

    def send(self, target: Address, data: bytes) -> None:
        """Have a datagram sent.

        :raises BlockingIOError: if the socket's buffer is full
        """
        self.sock.send(bytes(3) + encode_address(target) + data)

    async def receive(self, seconds: float = PATIENCE) -> tuple[Address, bytes]:
        """Return the next datagram, and where it is from.

        :raises TimeoutError: if none comes
        :raises ConnectionRefusedError: if there is no relay any more
        """
        datagram = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 65536), seconds)
        assert datagram[:3] == bytes(3)
        found = decode_address(datagram[3:])
        assert found is not None
        return found[0], datagram[3 + found[1] :]

    async def ask(self, target: Address, data: bytes, seconds: float = PATIENCE) -> bytes:
        """Send a datagram, and return what the next one that comes holds.

        :raises TimeoutError: if none comes
        """
        self.send(target, data)
        return (await self.receive(seconds))[1]

    def other_socket(self, host: str | None = None) -> socket.socket:
        """Return a socket that is connected to the relay as well, from another port, and perhaps another address of this machine."""
        return _connected(self.relay, host)

    async def ended(self, seconds: float = PATIENCE) -> None:
        """Wait until the proxy ends the association.

        :raises TimeoutError: if it does not
        """
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(self.reader.read(), seconds) == b""

    def close(self) -> None:
        """End it."""
        self.writer.close()
        self.sock.close()


async def associate(proxy: Address, user: tuple[str, str] | None = None) -> Association:
    """Ask a SOCKS5 proxy for a relay.

    :param user: name and password
    :raises SocksRefusedError: with the reply code
    """
    reader, writer, relay = await request(proxy, b"\x05\x03\x00\x01" + bytes(6), user)
    try:
        return Association(proxy, relay, (reader, writer), _connected(relay))
    except BaseException:
        writer.close()
        raise


@contextlib.asynccontextmanager
async def associated(proxy: Address, user: tuple[str, str] | None = None) -> AsyncIterator[Association]:
    """Have an association for a block."""
    association = await associate(proxy, user)
    try:
        yield association
    finally:
        association.close()


def _connected(relay: Address, host: str | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in relay.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        if host is not None:
            sock.bind((host, 0))
        sock.connect((relay.host, relay.port))
    except BaseException:
        sock.close()
        raise
    return sock
