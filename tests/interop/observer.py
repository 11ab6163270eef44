"""Watches a server from outside: a client by hand (HTTP, WebSocket, Shadowsocks) that says what it saw, and when, in one line.

Nothing of our transports is in it; from the cipher plugin come the two classes that seal and open one direction.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from origin import PATTERN

from outline_lb.api import ProtocolError
from outline_lb.base.address import Address, encode_address
from outline_lb_cipher_aead.chunks import ChunkOpener, ChunkSealer
from outline_lb_cipher_aead.key import master_key
from outline_lb_cipher_aead.method import METHODS

WATCH: Final = 64.0
"""Seconds that a connection is watched at most: longer than servers bear strangers."""
SOON: Final = 5.0
"""Seconds that count as at once: the machine may be busy."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NAMES: Final = {CONTINUATION: "continuation", TEXT: "text", PING: "Ping"}

_METHOD = METHODS["chacha20-ietf-poly1305"]
_RESET = struct.pack("ii", 1, 0)


def key_of(secret: str) -> bytes:
    """Return the master key that belongs to a secret."""
    return master_key(secret.encode(), _METHOD.size)


def sealer(secret: str, target: Address | None = None, salt: bytes | None = None) -> ChunkSealer:
    """Return what seals a client's direction, beginning with the address of the target."""
    header = b"" if target is None else encode_address(target)
    return ChunkSealer(_METHOD, key_of(secret), salt or os.urandom(_METHOD.size), header)


def seal(sealer: ChunkSealer, data: bytes) -> bytes:
    """Return some data, sealed."""
    out = memoryview(bytearray(len(data) * 2 + 1024))
    return bytes(out[: sealer.seal_into(data, out)])


def frame(opcode: int, payload: bytes = b"", final: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """Return a WebSocket frame as a client sends it, or as it must not."""
    size, bit = len(payload), 0x80 if masked else 0
    head = bytes(((0x80 if final else 0) | reserved | opcode,))
    if size < 126:
        head += bytes((bit | size,))
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ pattern).to_bytes(size, "big")


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """Return a Close frame; None: an empty one."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


@dataclass
class Seen:
    """One thing that happened.

    :param what: it was
    :param at: the loop's time
    :param wire: where
    """

    what: str
    at: float
    wire: Wire

    @property
    def when(self) -> str:
        """When it was, as a table says it: soon after the last thing that the client did, or so many seconds after it connected."""
        if self.at - self.wire.mark < SOON:
            return "at once"
        seconds = self.at - self.wire.opened
        return f"after {59 if 58.9 <= seconds < 62 else round(seconds)} s"


@dataclass
class Target:
    """A target of one connection, behind the server.

    :param address: where it listens
    :param saw: how the server's connection ended, and how much came before
    """

    address: Address
    server: asyncio.Server
    saw: str = "nobody"
    received: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    async def start(cls, host: str, serve: Callable[[Target, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Target:
        """Listen; each connection is served by the function."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            target.saw = "open"
            target.tasks.add(asyncio.current_task())  # type: ignore[arg-type]
            try:
                await serve(target, reader, writer)
            except OSError:
                target.saw = "RST"
            except asyncio.CancelledError:  # the observer has seen enough
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(accepted, host, 0, limit=1 << 20)
        target = cls(Address(host, server.sockets[0].getsockname()[1]), server)
        return target

    async def read_to_end(self, reader: asyncio.StreamReader) -> None:
        """Count what comes until the end."""
        while data := await reader.read(1 << 16):
            self.received += len(data)
        self.saw = "FIN"

    async def stop(self) -> None:
        """Listen no more, and close its connection."""
        self.server.close()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def until_end(self, seconds: float) -> None:
        """Wait for the end of its connection, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.saw == "open":
                    await asyncio.sleep(0.05)

    def __str__(self) -> str:
        return f"target: {self.saw} after {self.received:,} B" if self.saw in {"FIN", "RST"} else f"target: {self.saw}"


@dataclass
class Wire:
    """A TCP connection to a server, whose bytes and ends are ours."""

    sock: socket.socket
    opened: float
    mark: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[int, float]] = field(default_factory=list)  # bytes so far, and when
    end: str = "open"
    ended: float = 0.0
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, server: Address) -> Wire:
        """Connect."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (server.host, server.port))
        wire = cls(sock, loop.time())
        wire.mark = wire.opened
        wire.reader = asyncio.create_task(wire._read())
        return wire

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self.sock, 1 << 18):
                self.received += data
                self.arrivals.append((len(self.received), loop.time()))
                self.grown.set()
            self.end = "FIN"
        except OSError:
            self.end = "RST"
        self.ended = loop.time()
        self.grown.set()

    async def send(self, *parts: bytes) -> None:
        """Send all of it in one piece, and begin to count seconds anew."""
        with contextlib.suppress(OSError):  # reading tells how it ended
            await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(parts))
        self.mark = asyncio.get_running_loop().time()

    def finish(self) -> None:
        """End our direction of the TCP connection, without a Close frame."""
        self.sock.shutdown(socket.SHUT_WR)
        self.mark = asyncio.get_running_loop().time()

    async def reset(self) -> None:
        """Reset the TCP connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await self.close()

    async def close(self) -> None:
        """Close it."""
        if self.reader is not None:
            self.reader.cancel()
            await asyncio.wait([self.reader])  # the loop must not watch a descriptor that is another's by then
        self.sock.close()

    async def until(self, enough: Callable[[], bool], seconds: float = WATCH) -> None:
        """Wait until enough came, or the end, or for so many seconds after the mark."""
        loop = asyncio.get_running_loop()
        while not enough() and self.end == "open" and (left := self.mark + seconds - loop.time()) > 0:
            self.grown.clear()
            try:
                async with asyncio.timeout(left):
                    await self.grown.wait()
            except TimeoutError:
                return

    def when(self, position: int) -> float:
        """Return when the byte at a position came."""
        return next((time for size, time in self.arrivals if size > position), self.mark)


@dataclass
class Watched:
    """A connection that became a WebSocket, as far as it did.

    :param wire: below it
    :param head: of the answer to the request
    :param secret: opens what comes; None: it cannot be opened
    """

    wire: Wire
    head: bytes
    secret: str | None = None

    @property
    def frames(self) -> list[tuple[int, bytes, float]]:
        """The frames that came completely: first byte, payload, and when."""
        data, position, found = bytes(self.wire.received), len(self.head), []
        if not position:  # no WebSocket: everything is payload
            return [(0x80 | BINARY, data, self.wire.when(0))] if data else []
        while len(data) - position >= 2:
            first, length = data[position], data[position + 1]
            start = position + 2
            if length in {126, 127}:
                size = 2 if length == 126 else 8
                length = int.from_bytes(data[start : start + size], "big")
                start += size
            if start + length > len(data):
                break
            found.append((first, data[start : start + length], self.wire.when(start + length - 1)))
            position = start + length
        return found

    @property
    def payload(self) -> bytes:
        """All of the binary payload that came."""
        return b"".join(payload for first, payload, _ in self.frames if first & 15 in {BINARY, CONTINUATION})

    @property
    def plain(self) -> bytes:
        """What that says."""
        assert self.secret is not None
        return b"".join(ChunkOpener(_METHOD, key_of(self.secret)).feed(self.payload)) if self.payload else b""

    async def until_plain(self, size: int) -> None:
        """Wait until so many bytes of plaintext came."""
        await self.wire.until(lambda: len(self.plain) >= size)

    def seen(self) -> Iterator[Seen]:
        """Yield what happened, in order."""
        frames = self.frames
        for data, group in groupby(frames, lambda item: item[0] & 15 in {BINARY, CONTINUATION}):
            items = list(group)
            if data:
                yield Seen(self._describe_data(b"".join(payload for _, payload, _ in items), items[0][0]), items[0][2], self.wire)
                continue
            for first, payload, at in items:
                yield Seen(_describe_control(first & 15, payload), at, self.wire)

    def _describe_data(self, payload: bytes, first: int) -> str:
        if self.secret is None:
            return f"{len(payload):,} B that cannot be read"
        try:
            plain = b"".join(ChunkOpener(_METHOD, key_of(self.secret)).feed(payload)) if payload else b""
        except ProtocolError:
            return f"{len(payload):,} B that cannot be opened"
        intact = plain == (PATTERN * (len(plain) // len(PATTERN) + 1))[: len(plain)]
        return ("" if payload else "empty message, ") + (f"{len(plain):,} B" if intact else f"{plain[:40]!r}")


def _describe_control(opcode: int, payload: bytes) -> str:
    if opcode == CLOSE:
        reason = f' "{payload[2:].decode(errors="replace")}"' if payload[2:] else ""
        return f"Close {int.from_bytes(payload[:2], 'big')}{reason}" if payload else "Close empty"
    if opcode == PONG:
        return f'Pong "{payload.decode(errors="replace")}"'
    return NAMES.get(opcode, f"opcode {opcode}")


REQUEST_KEY: Final = base64.b64encode(bytes(range(16))).decode()


def request(path: str, *fields: str, method: str = "GET", upgrade: bool = True, version: str = "HTTP/1.1", host: str = "example.com") -> bytes:
    """Return a request; a field replaces one of the same name, and removes it if it has no value."""
    every = {"host": f"Host: {host}"}
    if upgrade:
        every |= {
            "upgrade": "Upgrade: websocket",
            "connection": "Connection: Upgrade",
            "sec-websocket-version": "Sec-WebSocket-Version: 13",
            "sec-websocket-key": f"Sec-WebSocket-Key: {REQUEST_KEY}",
        }
    for text in fields:
        name = text.partition(":")[0].lower()
        every[name] = text if text.partition(":")[2] else ""
    return "\r\n".join((f"{method} {path} {version}", *filter(None, every.values()), "", "")).encode()


_ACCEPT = base64.b64encode(hashlib.sha1(f"{REQUEST_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
_SWITCHED: Final = (
    f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {_ACCEPT}\r\n\r\n".encode()
)


async def upgrade(server: Address, path: str, secret: str | None = None) -> Watched:
    """Open a WebSocket."""
    wire = await Wire.open(server)
    await wire.send(request(path))
    await wire.until(lambda: len(wire.received) >= len(_SWITCHED))
    assert bytes(wire.received) == _SWITCHED, bytes(wire.received)
    return Watched(wire, _SWITCHED, secret)


_USUAL: Final = (
    ["Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff", "Date", "Content-Length"],
    ["Content-Type: text/plain; charset=utf-8", "Sec-Websocket-Version: 13", "X-Content-Type-Options: nosniff", "Date", "Content-Length"],
)
"""Header fields of Go's errors, and of those of gorilla's WebSocket; what changes has no value here."""


def describe_http(answer: bytes) -> str:
    """Return what HTTP answers say, in words: for each the status, header fields that Go's errors do not have, and its body; of a 101 only that."""
    found: list[str] = []
    while answer:
        if answer == _SWITCHED:
            return "; ".join((*found, "101"))
        head, _, answer = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        length = next((int(text.split(":")[1]) for text in fields if text.startswith("Content-Length:")), len(answer))
        body, answer = answer[:length], answer[length:]
        names = [re.sub(r"^(Date|Content-Length): .*", r"\1", text) for text in fields]
        for usual in _USUAL:
            if names[: len(usual)] == usual:
                names = ["...", *names[len(usual) :]] if names[len(usual) :] else []
        words = status.removeprefix("HTTP/1.1 "), f"[{', '.join(names)}]" if names else "", f'"{body.decode("latin-1").strip()}"' if body else ""
        found.append(" ".join(filter(None, words)))
    return "; ".join(found)


def describe(events: list[Seen], wire: Wire) -> str:
    """Return one line that says what was seen, and when."""
    if wire.end != "open":
        events = [*events, Seen(wire.end, wire.ended, wire)]
    parts = [f"{when}: {', '.join(event.what for event in group)}" for when, group in groupby(events, lambda event: event.when)]
    if wire.end == "open":
        parts.append("open")
    return "; ".join(parts)
