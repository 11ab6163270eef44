"""Promise 1: what arrives is an exact prefix of what was sent, and an end is clean only after everything.

A whole way, whatever its two ends and the network between do to it::

    application ── SocketStream ─ relay ─ Tunnel ─ TLS ─ SocketStream ══ SocketStream ─ TLS ─ Tunnel ─ relay ─ SocketStream ── target
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.base.errors import ProtocolError
from outline_lb.base.stream import Buffer, Stream
from outline_lb.datapath.cipher import Opener, Sealer
from outline_lb.datapath.relay import relay
from outline_lb.datapath.tunnel import TunnelStream
from outline_lb.net.socket import SocketStream
from outline_lb.net.tls import TlsStream

CA = trustme.CA()
RESET = struct.pack("ii", 1, 0)
BATCH = 100_000
PATIENCE = 3.0
"""Seconds without any movement after which a way counts as stuck: timers of TCP for full windows are shorter."""


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client = ssl.create_default_context()
    CA.configure_trust(client)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("example.com").configure_cert(server)
    return client, server


CLIENT, SERVER = contexts()


class Chunks(Sealer, Opener):
    """A cipher that hides nothing, but knows where its units end."""

    def __init__(self) -> None:
        self._kept = b""

    @property
    def batch(self) -> int:
        return BATCH

    def seal_into(self, data: Buffer, out: memoryview) -> int:
        out[:4] = len(data).to_bytes(4, "big")
        out[4 : 4 + len(data)] = data
        return 4 + len(data)

    def feed(self, data: Buffer) -> list[bytes]:
        self._kept += data
        pieces = []
        while len(self._kept) >= 4:
            end = 4 + int.from_bytes(self._kept[:4], "big")
            if end > 4 + BATCH:
                raise ProtocolError("damaged")
            if len(self._kept) < end:
                break
            pieces.append(self._kept[4:end])
            self._kept = self._kept[end:]
        return [piece for piece in pieces if piece]

    @property
    def complete(self) -> bool:
        return not self._kept


def connected(size: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return a TCP connection, with small buffers if a size is given."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        one = stack.enter_context(socket.socket())
        for sock in (listener, one):
            if size:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one.connect(listener.getsockname())
        two, _ = listener.accept()
        stack.pop_all()
    return one, two


@dataclass
class End:
    """The application, or the target: a plain socket, and account of what went through it."""

    sock: socket.socket
    seed: int
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False  # our own direction, cleanly
    saw: str = ""  # how the other direction ended

    def __post_init__(self) -> None:
        self.sock.setblocking(False)
        self._random = random.Random(self.seed)

    @property
    def open(self) -> bool:
        return self.sock.fileno() >= 0

    def send(self, size: int) -> None:
        if self.open and not self.ended:
            data = self._random.randbytes(size)
            with self._watch_for_reset(), contextlib.suppress(BlockingIOError):
                self.sent += data[: self.sock.send(data)]

    def read(self, size: int) -> None:
        if not self.open or self.saw:
            return
        with self._watch_for_reset(), contextlib.suppress(BlockingIOError):
            data = self.sock.recv(size)
            self.received += data
            if not data:
                self.saw = "end"

    @contextlib.contextmanager
    def _watch_for_reset(self) -> Iterator[None]:
        """The system tells of a reset once, whatever is called next."""
        try:
            yield
        except OSError as exc:
            if self.saw != "end":
                self.saw = "reset"
            if exc.errno not in {errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN}:
                raise

    def shut(self) -> None:
        if self.open and not self.ended:
            self.ended = True
            with self._watch_for_reset():
                self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.ended = True
        self.sock.close()

    def reset(self) -> None:
        if self.open:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.sock.close()


class Way:
    """From the application to the target, and the places where it can be cut."""

    def __init__(self) -> None:
        app, ours = connected(8192)
        theirs, target = connected(8192)
        self.ends = [End(app, 1), End(target, 2)]
        self._outer = SocketStream(ours), SocketStream(theirs)
        self.middle = tuple(map(SocketStream, connected()))

    async def join(self) -> None:
        client, server = TlsStream(self.middle[0], CLIENT, "example.com"), TlsStream(self.middle[1], SERVER, server_side=True)
        await asyncio.gather(client.handshake(), server.handshake())
        for tls, outer in zip((client, server), self._outer, strict=True):
            tunnel: Stream = TunnelStream(tls, Chunks(), Chunks())
            relay(outer, tunnel)

    def progress(self) -> list[tuple[int, str]]:
        return [(len(end.received), end.saw) for end in self.ends]

    def close(self) -> None:
        for end in self.ends:
            end.sock.close()
        for stream in (*self._outer, *self.middle):
            stream.abort()


Step = tuple[str, int, int]
size = st.sampled_from([1, 100, 5_000, 60_000, 300_000])
end = st.integers(0, 1)
usual: list[st.SearchStrategy[Step]] = [
    st.tuples(st.just("send"), end, size),
    st.tuples(st.just("send"), end, size),
    st.tuples(st.just("read"), end, size),
    st.tuples(st.just("wait"), end, st.integers(0, 8)),
]
clean = st.tuples(st.just("shut"), end, st.just(0))
rough = st.tuples(st.sampled_from(["shut", "close", "reset", "cut", "break"]), end, st.just(0))


async def do(way: Way, step: Step) -> None:
    name, index, number = step
    match name:
        case "wait":
            for _ in range(number):
                await asyncio.sleep(0)
        case "cut":  # TCP ends below TLS, which has said nothing of it
            way.middle[index].write_eof()
        case "break":
            way.middle[index].abort()
        case "send" | "read":
            getattr(way.ends[index], name)(number)
        case _:
            getattr(way.ends[index], name)()


def check(way: Way) -> None:
    for receiver, sender in ((way.ends[0], way.ends[1]), (way.ends[1], way.ends[0])):
        assert sender.sent.startswith(receiver.received)
        if receiver.saw == "end":
            assert sender.ended
            assert receiver.received == sender.sent


async def drain(way: Way) -> None:
    """End both directions and read everything, as long as anything moves."""
    loop = asyncio.get_running_loop()
    moved = loop.time()
    while loop.time() < moved + PATIENCE and any(end.open and not end.saw for end in way.ends):
        before = way.progress()
        for end in way.ends:
            end.shut()
            end.read(1_000_000)
        await asyncio.sleep(0 if loop.time() < moved + 0.002 else 0.002)
        if way.progress() != before:
            moved = loop.time()


async def go(steps: list[Step], ends: set[str]) -> None:
    way = Way()
    try:
        await way.join()
        for step in steps:
            await do(way, step)
            check(way)
        await drain(way)
        check(way)
        for end in way.ends:
            assert end.saw in ends or not end.open  # nobody waits for ever
    finally:
        way.close()
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(*usual, clean), max_size=25))
def test_a_quiet_day(steps: list[Step]) -> None:
    asyncio.run(go(steps, {"end"}))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(*usual, rough), max_size=25))
def test_a_rough_day(steps: list[Step]) -> None:
    asyncio.run(go(steps, {"end", "reset"}))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(*usual, rough), max_size=25))
def test_a_rough_day_on_uvloop(steps: list[Step]) -> None:
    uvloop.run(go(steps, {"end", "reset"}))
