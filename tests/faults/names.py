"""A name server that can be told to fail, in the test's own process (RFC 1035, as far as a resolver looks)."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections import Counter
from typing import Final, cast

Answer = list[str] | int | None
"""Addresses, a response code (RFC 1035 section 4.1.1), or None for silence."""

SERVFAIL: Final = 2
NXDOMAIN: Final = 3
A, AAAA = 1, 28
_HEADER: Final = struct.Struct(">HHHHHH")


class NameServer(asyncio.DatagramProtocol):
    """Answers as `answers` says for a name and a type; names that are not there do not exist."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], Answer] = {}
        self.asked: Counter[tuple[str, int]] = Counter()

    @classmethod
    async def start(cls) -> tuple[NameServer, asyncio.DatagramTransport]:
        """Listen on 127.0.0.1, port 53, of the namespace that this thread is in."""
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=("127.0.0.1", 53))
        return server, transport

    def set(self, name: str, a: Answer, aaaa: Answer) -> None:
        """Say what is answered for a name."""
        self.answers[name, A] = a
        self.answers[name, AAAA] = aaaa

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # not one by class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = read_name(data)
        (kind,) = struct.unpack_from(">H", data, end)
        self.asked[name, kind] += 1
        answer = self.answers.get((name, kind), NXDOMAIN)
        if answer is None:
            return
        records = [ipaddress.ip_address(address).packed for address in answer] if isinstance(answer, list) else []
        code = answer if isinstance(answer, int) else 0
        reply = _HEADER.pack(int.from_bytes(data[:2], "big"), 0x8580 | code, 1, len(records), 0, 0) + data[_HEADER.size : end + 4]
        for packed in records:
            reply += struct.pack(">HHHIH", 0xC00C, kind, 1, 1, len(packed)) + packed  # the name of the question, TTL 1 s
        self._transport.sendto(reply, addr)


def read_name(query: bytes) -> tuple[str, int]:
    """Return the name of a question, and where it ends."""
    labels, place = [], _HEADER.size
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode().lower())
        place += 1 + length
    return ".".join(labels), place + 1
