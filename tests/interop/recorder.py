"""A TCP proxy that keeps what a client and a WebSocket server say to each other, and reads the frames of it (RFC 6455 section 5.2), by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from outline_lb.base.address import Address

BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


@dataclass(frozen=True)
class Frame:
    """A frame, its payload unmasked."""

    final: bool
    reserved: int
    opcode: int
    masked: bool
    payload: bytes


@dataclass
class Direction:
    """What one end sent.

    :param ended: with ``FIN``, or with ``RST``; "" as long as it did not
    """

    data: bytearray = field(default_factory=bytearray)
    ended: str = ""

    @property
    def head(self) -> bytes:
        """The HTTP head."""
        return bytes(self.data.partition(b"\r\n\r\n")[0])

    @property
    def frames(self) -> list[Frame]:
        """The whole frames behind the head."""
        return read_frames(bytes(self.data.partition(b"\r\n\r\n")[2]))


@dataclass
class Recording:
    """One connection."""

    client: Direction = field(default_factory=Direction)
    server: Direction = field(default_factory=Direction)
    over: asyncio.Event = field(default_factory=asyncio.Event)


def read_frames(data: bytes) -> list[Frame]:
    """Read the frames that are whole."""
    frames, at = [], 0
    while len(data) - at >= 2:
        first, second = data[at], data[at + 1]
        size, start = second & 127, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        masked = bool(second & 128)
        key, start = (data[start : start + 4], start + 4) if masked else (bytes(4), start)
        if len(data) < start + size:
            break
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(data[start : start + size]))
        frames.append(Frame(bool(first & 128), first >> 4 & 7, first & 15, masked, payload))
        at = start + size
    return frames


@contextlib.asynccontextmanager
async def recorder(behind: Address) -> AsyncIterator[tuple[Address, list[Recording]]]:
    """Stand before a server for a block; yield where, and what was recorded, a connection each."""
    recordings: list[Recording] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                direction.data += data
                writer.write(data)
                await writer.drain()
            direction.ended = "FIN"
            writer.write_eof()
        except ConnectionError:
            direction.ended = direction.ended or "RST"
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        recording = Recording()
        recordings.append(recording)
        there_reader, there_writer = await asyncio.open_connection(behind.host, behind.port)
        try:
            await asyncio.gather(pump(recording.client, reader, there_writer), pump(recording.server, there_reader, writer))
        finally:
            recording.over.set()
            there_writer.close()
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1]), recordings
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
