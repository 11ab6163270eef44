"""Clients for acceptance tests: SOCKS5 by hand, so that each byte and each end is ours, and curl."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from dataclasses import dataclass

from origin import PATTERN

from outline_lb.base.address import Address, decode_address, encode_address


class SocksRefusedError(Exception):
    """The proxy refused; `code` is its reply."""

    def __init__(self, code: int) -> None:
        super().__init__(f"REP {code}")
        self.code = code


@dataclass
class Connection:
    """A connection through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    bound: Address

    async def read_digest(self, first: bytes = b"") -> tuple[int, str]:
        """Read to the end; return the number of bytes and their SHA-256, with those that were read before."""
        digest, size = hashlib.sha256(first), len(first)
        while data := await self.reader.read(1 << 18):
            digest.update(data)
            size += len(data)
        return size, digest.hexdigest()

    async def send_pattern(self, size: int) -> None:
        """Send so many bytes of the origin's pattern."""
        for start in range(0, size, len(PATTERN)):
            self.writer.write(PATTERN[: min(len(PATTERN), size - start)])
            await self.writer.drain()

    def close(self) -> None:
        """Close it."""
        self.writer.close()


async def connect(proxy: Address, target: Address, user: tuple[str, str] | None = None) -> Connection:
    """Connect to a target through a SOCKS5 proxy.

    :raises SocksRefusedError: with the reply code
    """
    reader, writer, bound = await request(proxy, b"\x05\x01\x00" + encode_address(target), user)
    return Connection(reader, writer, bound)


async def request(proxy: Address, message: bytes, user: tuple[str, str] | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Address]:
    """Ask a SOCKS5 proxy for something; return the connection to it, and the address in its reply.

    :raises SocksRefusedError: with the reply code
    """
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        writer.write(b"\x05\x01\x02" if user else b"\x05\x01\x00")
        assert await reader.readexactly(2) == (b"\x05\x02" if user else b"\x05\x00")
        if user:
            name, password = user[0].encode(), user[1].encode()
            writer.write(bytes((1, len(name))) + name + bytes((len(password),)) + password)
            assert await reader.readexactly(2) == b"\x01\x00"
        writer.write(message)
        reply = await reader.readexactly(4)
        if reply[1]:
            raise SocksRefusedError(reply[1])
        rest = await reader.readexactly(18 if reply[3] == 4 else 6)
        decoded = decode_address(reply[3:] + rest)
        assert decoded is not None
    except BaseException:
        writer.close()
        raise
    return reader, writer, decoded[0]


@dataclass
class Curl:
    """How a curl ended."""

    code: int
    output: bytes
    error: str


async def curl(*arguments: str, body: bytes | None = None) -> Curl:
    """Run curl."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "60", *arguments),
        stdin=asyncio.subprocess.PIPE if body is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await process.communicate(body)
    assert process.returncode is not None
    return Curl(process.returncode, output, error.decode())


def can_connect(port: int) -> bool:
    """Tell whether something listens on a port of this machine."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
