"""An origin for acceptance tests, as a process of its own: ``python origin.py HOST PORT``; prints ``ready``.

The first byte of a connection says what it does; numbers are eight bytes, most significant first:

* ``G``: an HTTP/1.1 GET of ``/bytes/N`` answers with N bytes of the pattern, of anything else with one line that names the path
* ``P``: an HTTP/1.1 POST answers with the SHA-256 (hexadecimal) of its body
* ``D`` N: sends N bytes of the pattern, and ends
* ``u``: reads to the end, then answers with the SHA-256 (32 bytes) and ends
* ``f`` N: ends its direction at once, then reads to the end and expects N bytes; its verdict is read with ``v``
* ``v``: answers with the number of bytes that the last ``f`` got
* ``e``: sends back what comes, to the end
* ``r``: resets the connection after 1,000 bytes of the pattern

On the next port listens a server that says ``hello`` first, and then sends back what comes.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import struct
import sys

PATTERN = random.Random(1).randbytes(1 << 20)
_last_count = 0


def pattern_digest(size: int) -> str:
    """Return the SHA-256 of so many bytes of the pattern."""
    digest = hashlib.sha256()
    for start in range(0, size, len(PATTERN)):
        digest.update(PATTERN[: min(len(PATTERN), size - start)])
    return digest.hexdigest()


async def _send_pattern(writer: asyncio.StreamWriter, size: int) -> None:
    for start in range(0, size, len(PATTERN)):
        writer.write(PATTERN[: min(len(PATTERN), size - start)])
        await writer.drain()


async def _read_all(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    while data := await reader.read(1 << 18):
        digest.update(data)
        size += len(data)
    return size, digest.digest()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ")[1].decode()
    size = int(path.rpartition("/")[2]) if path.startswith("/bytes/") else 0
    body = b"" if size else f"you asked for {path}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (size or len(body)) + body)
    await _send_pattern(writer, size)


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    left = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    if b"expect: 100-continue" in head:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest = hashlib.sha256()
    while left:
        data = await reader.read(min(left, 1 << 18))
        if not data:
            break
        digest.update(data)
        left -= len(data)
    body = digest.hexdigest().encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


async def _first_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global _last_count
    writer.write_eof()
    _last_count, _ = await _read_all(reader)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.write(PATTERN[:1000])
    await writer.drain()
    await asyncio.sleep(0.2)  # let them through: a reset may overtake
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    try:
        match await reader.readexactly(1):
            case b"G":
                await _get(reader, writer)
            case b"P":
                await _post(reader, writer)
            case b"D":
                await _send_pattern(writer, int.from_bytes(await reader.readexactly(8), "big"))
            case b"u":
                writer.write((await _read_all(reader))[1])
            case b"f":
                await _first_end(reader, writer)
            case b"v":
                writer.write(_last_count.to_bytes(8, "big"))
            case b"e":
                await _echo(reader, writer)
            case b"r":
                await _reset(writer)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, then echo."""
    try:
        writer.write(b"hello")
        await _echo(reader, writer)
    except OSError:
        pass
    writer.close()


async def main() -> None:
    """Serve on the address of the command line, and on the next port as a server that speaks first."""
    host, port = sys.argv[1], int(sys.argv[2])
    await asyncio.start_server(serve, host, port, limit=1 << 20)
    await asyncio.start_server(greet, host, port + 1)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
