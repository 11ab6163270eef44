from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import random
import socket
import struct
import sys
import weakref
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.errors import AbortedError, StreamError
from outline_lb.base.stream import NOBODY, Buffer
from outline_lb.net import socket as net_socket
from outline_lb.net.socket import SocketStream, name_of
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.streams import RecordingSink, wait_lost

MEGABYTE = 1024 * 1024


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything on both loops, and what needs a fake clock on that."""
    if "anyio_backend" in metafunc.fixturenames and metafunc.definition.get_closest_marker("fake_clock") is None:
        backends = [("asyncio", {}), ("asyncio", {"loop_factory": uvloop.new_event_loop})]
        metafunc.parametrize("anyio_backend", backends, ids=["asyncio", "uvloop"])


def tcp_pair(small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Return two connected TCP sockets.

    :param small: with small buffers, so that they are full soon
    """
    with socket.socket() as listener:
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.socket()
        if small:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(listener.getsockname())
        two, _ = listener.accept()
    if small:
        two.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return one, two


class Peer:
    """The plain socket at the other end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def read(self, size: int = MEGABYTE) -> bytes:
        return await asyncio.wait_for(self._loop.sock_recv(self.sock, size), 10)

    async def read_all(self) -> bytes:
        data = b""
        while piece := await self.read():
            data += piece
        return data

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.sock, data), 10)

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Setting:
    """A stream under test with its sink, and the peer. Everything is closed in the end, and no descriptor may be left over."""

    def __init__(self) -> None:
        self.streams: list[SocketStream] = []
        self.peers: list[Peer] = []

    def connected(self, paused: bool = False, small: bool = False, sink: RecordingSink | None = None) -> tuple[SocketStream, RecordingSink, Peer]:
        sink = sink or RecordingSink()
        ours, theirs = tcp_pair(small)
        stream, peer = SocketStream(ours), Peer(theirs)
        self.streams.append(stream)
        self.peers.append(peer)
        stream.set_sink(sink)
        if not paused:
            stream.resume_reading()
        return stream, sink, peer


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture
async def setting() -> Any:
    await asyncio.sleep(0)
    before = descriptors()
    setting = Setting()
    yield setting
    for peer in setting.peers:
        peer.sock.close()
    for stream in setting.streams:
        stream.abort()
    await settle()
    assert descriptors() == before


def fill(stream: SocketStream) -> bytes:
    """Write until the kernel takes no more, and return everything."""
    written = b""
    for i in range(1000):
        piece = bytes((i % 251,)) * 65536
        stream.write(piece)
        written += piece
        if stream._queue:
            return written
    raise AssertionError("never full")


# -- data


async def test_bytes_both_ways(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    stream.write(b"")
    stream.write(b"one ")
    stream.write(bytearray(b"two "))
    stream.write(memoryview(b"three"))
    assert await peer.read() == b"one two three"
    await peer.send(b"four")
    assert await sink.received(4) == b"four"


async def test_room_and_commit(setting: Setting) -> None:
    stream, _, peer = setting.connected()
    stream.room[:3] = b"abc"
    stream.commit(3)
    assert await peer.read() == b"abc"


async def test_a_new_stream_is_paused(setting: Setting) -> None:
    stream, sink, peer = setting.connected(paused=True)
    await peer.send(b"early")
    peer.end()
    await settle()
    assert sink.events == []
    stream.resume_reading()
    assert sink.events == []  # never from inside
    await sink.received(5)
    await asyncio.wait_for(sink.ended.wait(), 5)
    assert sink.events == ["data", "eof"]


async def test_pausing_inside_a_delivery(setting: Setting) -> None:
    class Shy(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            stream.pause_reading()
            stream.pause_reading()

    stream, sink, peer = setting.connected(sink=Shy())
    await peer.send(b"1")
    assert await sink.received(1) == b"1"
    await peer.send(b"2")
    peer.end()
    await settle()
    assert bytes(sink.data) == b"1"
    stream.resume_reading()
    stream.resume_reading()
    assert await sink.received(2) == b"12"


async def test_what_is_there_comes_in_one_piece(setting: Setting) -> None:
    stream, sink, peer = setting.connected(paused=True)
    for _ in range(50):
        await peer.send(b"x" * 1000)
    while len(stream._sock.recv(MEGABYTE, socket.MSG_PEEK)) < 50_000:
        await asyncio.sleep(0.001)
    stream.resume_reading()
    await sink.received(50_000)
    assert sink.deliveries == [50_000]


async def test_what_is_borrowed_may_be_overwritten(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    scratch, sent = bytearray(65536), b""
    for i in range(64):
        scratch[:] = bytes((i,)) * 65536
        stream.write(scratch)
        sent += bytes(scratch)
        scratch[:] = b"\xee" * 65536
    assert "pause" in sink.events
    stream.write_eof()
    assert await peer.read_all() == sent


async def test_many_small_pieces_in_a_full_queue(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    for i in range(1000):
        piece = bytes((i % 256,)) * (i % 7)
        stream.write(piece)
        sent += piece
    stream.write_eof()
    assert await peer.read_all() == sent
    peer.end()
    assert await wait_lost(sink) is None


async def test_five_megabytes_each_way_at_the_same_time(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    there, back = random.Random(1).randbytes(5 * MEGABYTE), random.Random(2).randbytes(5 * MEGABYTE)
    for start in range(0, len(there), 100_000):
        stream.write(there[start : start + 100_000])
    stream.write_eof()

    async def answer() -> None:
        await peer.send(back)
        peer.end()

    task = asyncio.create_task(answer())
    assert hashlib.sha256(await peer.read_all()).digest() == hashlib.sha256(there).digest()
    await task
    assert await wait_lost(sink) is None
    assert bytes(sink.data) == back
    assert sink.events[-2:] == ["eof", "lost"]


# -- backpressure


async def test_full_and_empty_again(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    assert sink.events == ["pause"]
    stream.write(b"more")
    assert sink.events == ["pause", "pause"]
    got = b""
    while len(got) < len(sent) + 4:
        got += await peer.read()
    assert got == sent + b"more"
    await settle()
    assert sink.events == ["pause", "pause", "resume"]


async def test_writing_inside_resume_writing(setting: Setting) -> None:
    class Eager(RecordingSink):
        def resume_writing(self) -> None:
            super().resume_writing()
            stream.write(b"last")
            stream.write_eof()

    stream, _, peer = setting.connected(small=True, sink=Eager())
    sent = fill(stream)
    assert await peer.read_all() == sent + b"last"


async def test_a_steady_flow_does_not_touch_the_selector(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            stream.write(data)

    stream, _, peer = setting.connected(sink=Echo())
    calls: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(loop, name)

    loop = stream._loop
    stream._loop = Counting()  # type: ignore[assignment]
    for _ in range(50):
        await peer.send(b"ping")
        assert await peer.read() == b"ping"
    assert calls == []
    stream._loop = loop


# -- ends


async def test_the_peer_ends_and_then_we(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    await peer.send(b"request")
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    stream.resume_reading()
    await settle()
    assert sink.events == ["data", "eof"]
    stream.write(b"answer")
    stream.write_eof()
    assert sink.events == ["data", "eof"]
    assert await peer.read_all() == b"answer"
    assert await wait_lost(sink) is None
    assert sink.events == ["data", "eof", "lost"]


async def test_we_end_and_then_the_peer(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    stream.write(b"request")
    stream.write_eof()
    stream.write_eof()
    stream.write(b"ignored")
    assert await peer.read_all() == b"request"
    await settle()
    assert sink.events == []
    await peer.send(b"answer")
    peer.end()
    assert await wait_lost(sink) is None
    assert bytes(sink.data) == b"answer"
    assert sink.events == ["data", "eof", "lost"]


async def test_we_end_with_a_full_queue_after_the_peer_has(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    stream.write_eof()
    await settle()
    assert "lost" not in sink.events
    assert await peer.read_all() == sent
    assert await wait_lost(sink) is None


async def test_the_peer_ends_after_we_have_with_a_full_queue(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    stream.write_eof()
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    await settle()
    assert sink.events == ["pause", "eof"]  # and not over, for the peer has not got everything
    assert await peer.read_all() == sent
    assert await wait_lost(sink) is None


async def test_the_peer_ends_while_we_are_full_and_go_on(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    stream.write(b"more")
    got = await peer.read()
    while len(got) < len(sent) + 4:
        got += await peer.read()
    assert got == sent + b"more"
    assert "lost" not in sink.events
    stream.write_eof()
    assert await peer.read_all() == b""
    assert await wait_lost(sink) is None


async def test_a_sink_that_ends_inside_eof_received(setting: Setting) -> None:
    class Polite(RecordingSink):
        def eof_received(self) -> None:
            super().eof_received()
            stream.write(b"bye")
            stream.write_eof()

    stream, sink, peer = setting.connected(sink=Polite())
    peer.end()
    assert await peer.read_all() == b"bye"
    assert await wait_lost(sink) is None
    assert sink.events == ["eof", "lost"]


async def test_a_sink_that_knows_better_may_abort_inside_the_last_end(setting: Setting) -> None:
    class Strict(RecordingSink):
        def eof_received(self) -> None:
            super().eof_received()
            stream.abort(cause)

    cause = StreamError("that was not all")
    stream, sink, peer = setting.connected(sink=Strict())
    stream.write_eof()
    peer.end()
    assert await wait_lost(sink) is cause


async def test_a_reset_by_the_peer(setting: Setting) -> None:
    _, sink, peer = setting.connected()
    peer.reset()
    error = await wait_lost(sink)
    assert isinstance(error, ConnectionResetError)
    assert error.__traceback__ is None
    assert sink.events == ["lost: ConnectionResetError"]


@pytest.mark.parametrize("state", ["reading", "ended", "closed", "resumed"])
async def test_a_reset_right_behind_data(setting: Setting, state: str) -> None:
    stream, sink, peer = setting.connected(paused=state == "resumed")
    await settle()
    if state == "ended":
        stream.write_eof()
    elif state == "closed":
        stream.close()
    peer.sock.send(b"last words")
    peer.reset()
    if state == "resumed":
        stream.resume_reading()
    assert isinstance(await wait_lost(sink, 1), ConnectionResetError)
    assert bytes(sink.data) == (b"" if state == "closed" else b"last words")


async def test_a_reset_by_the_peer_found_by_writing(setting: Setting) -> None:
    stream, sink, peer = setting.connected(paused=True)
    peer.reset()
    await settle()
    assert sink.events == []
    stream.write(b"x")
    stream.write(b"x")
    assert sink.events == []  # never from inside
    assert isinstance(await wait_lost(sink), ConnectionError)


async def test_a_reset_with_a_full_queue(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True, paused=True)
    fill(stream)
    peer.reset()
    assert isinstance(await wait_lost(sink), ConnectionError)
    assert not stream._queue


async def test_a_reset_while_ending(setting: Setting) -> None:
    stream, sink, peer = setting.connected(paused=True)
    peer.reset()
    await settle()
    stream.write_eof()
    stream.resume_reading()
    assert isinstance(await wait_lost(sink), OSError)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("full", [False, True])
async def test_abort_resets(setting: Setting, paused: bool, full: bool) -> None:
    stream, sink, peer = setting.connected(paused, small=True)
    if full:
        fill(stream)
    cause = StreamError("why")
    stream.abort(cause)
    stream.abort(StreamError("too late"))
    stream.close()
    stream.write(b"ignored")
    stream.write_eof()
    stream.resume_reading()
    assert "lost" not in str(sink.events)  # never from inside
    assert await wait_lost(sink) is cause
    with pytest.raises(ConnectionResetError):
        await peer.read_all()


async def test_abort_without_a_cause(setting: Setting) -> None:
    stream, sink, _ = setting.connected()
    stream.abort()
    assert isinstance(await wait_lost(sink), AbortedError)


async def test_abort_inside_a_delivery(setting: Setting) -> None:
    class Rude(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            stream.abort()

    stream, sink, peer = setting.connected(sink=Rude())
    await peer.send(b"x")
    assert isinstance(await wait_lost(sink), AbortedError)
    assert sink.events == ["data", "lost: AbortedError"]


# -- close


async def test_close_sends_everything_and_waits_for_the_end(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    stream.close()
    stream.close()
    stream.write(b"ignored")
    await settle()
    assert sink.events == ["pause"]
    assert await peer.read_all() == sent
    await settle()
    assert sink.events == ["pause"]
    peer.end()
    assert await wait_lost(sink) is None
    assert sink.events == ["pause", "lost"]


@pytest.mark.parametrize("paused", [False, True])
async def test_close_with_unread_data_is_no_reset(setting: Setting, paused: bool) -> None:
    stream, sink, peer = setting.connected(paused, small=True)
    sent = fill(stream)
    await peer.send(b"x" * 2000)
    stream.close()
    before = len(sink.data)
    await peer.send(b"x" * 2000)
    await settle()
    await peer.send(b"x" * 2000)
    assert await peer.read_all() == sent
    await peer.send(b"x" * 2000)
    peer.end()
    assert await wait_lost(sink) is None
    assert len(sink.data) == before


async def test_close_after_both_ends(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    stream.close()
    assert await wait_lost(sink) is None
    assert sink.events == ["eof", "lost"]


async def test_close_after_write_eof(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    stream.write(b"x")
    stream.write_eof()
    stream.close()
    assert await peer.read_all() == b"x"
    peer.end()
    assert await wait_lost(sink) is None
    assert sink.events == ["lost"]


async def test_close_with_a_full_queue_after_the_peer_ended(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    peer.end()
    await asyncio.wait_for(sink.ended.wait(), 5)
    stream.close()
    assert await peer.read_all() == sent
    assert await wait_lost(sink) is None


async def test_the_peer_ends_during_the_flush_of_close(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    sent = fill(stream)
    stream.close()
    peer.end()
    await settle()
    assert "lost" not in sink.events
    assert await peer.read_all() == sent
    assert await wait_lost(sink) is None


async def test_a_reset_during_close(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    fill(stream)
    stream.close()
    peer.reset()
    assert isinstance(await wait_lost(sink), ConnectionError)
    assert sink.events == ["pause", f"lost: {type(sink.error).__name__}"]


@pytest.mark.fake_clock
async def test_pausing_after_close_changes_nothing(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    start = asyncio.get_running_loop().time()
    stream.close()
    stream.pause_reading()
    peer.end()
    assert await wait_lost(sink) is None
    assert asyncio.get_running_loop().time() == start


@pytest.mark.fake_clock
@pytest.mark.parametrize("ended", [False, True])
async def test_close_does_not_wait_long_for_the_end(setting: Setting, ended: bool) -> None:
    stream, sink, peer = setting.connected()
    start = asyncio.get_running_loop().time()
    stream.write(b"x")
    if ended:
        stream.write_eof()
    stream.close()
    assert await wait_lost(sink) is None
    assert asyncio.get_running_loop().time() - start == pytest.approx(net_socket.LINGER)
    assert await peer.read_all() == b"x"


@pytest.mark.fake_clock
async def test_close_gives_up_a_peer_that_takes_nothing(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    sent = fill(stream)
    for i in range(500):
        piece = bytes((i % 256,)) * 10_000
        stream.write(piece)
        sent += piece
    stream.close()
    got = b""
    for _ in range(3):  # slow, but it takes something
        await loop.advance(net_socket.STALL * 0.9)
        while len(piece := await peer.read()) and len(got) % 3 == 0:
            got += piece
        got += piece
        assert not sink.lost.is_set()
    await loop.advance(net_socket.STALL * 2)
    assert isinstance(await wait_lost(sink), AbortedError)
    with pytest.raises(ConnectionResetError):
        got += await peer.read_all()
    assert sent.startswith(got)


@pytest.mark.fake_clock
async def test_a_long_flush_does_not_cost_the_linger(setting: Setting) -> None:
    stream, sink, peer = setting.connected(small=True)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    sent = fill(stream)
    stream.close()
    await loop.advance(100)
    assert await peer.read_all() == sent
    await settle()
    await loop.advance(net_socket.LINGER / 2)
    assert not sink.lost.is_set()
    await loop.advance(net_socket.LINGER)
    assert sink.lost.is_set()
    assert sink.error is None
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]


# -- sinks


async def test_a_sink_that_comes_after_the_loss_hears_of_it(setting: Setting) -> None:
    stream, _, peer = setting.connected()
    stream.set_sink(NOBODY)
    peer.reset()
    while not stream._lost:
        await asyncio.sleep(0.001)
    await settle()
    sink = RecordingSink()
    stream.set_sink(sink)
    assert sink.events == []
    assert isinstance(await wait_lost(sink), ConnectionResetError)


async def test_a_sink_that_takes_over_between_loss_and_telling(setting: Setting) -> None:
    stream, first, _ = setting.connected()
    stream.abort()
    second = RecordingSink()
    stream.set_sink(second)
    await wait_lost(second)
    await settle()
    assert first.events == []
    assert second.events == ["lost: AbortedError"]


async def test_a_lost_stream_takes_everything_quietly(setting: Setting) -> None:
    stream, sink, peer = setting.connected()
    peer.reset()
    await wait_lost(sink)
    stream.write(b"x")
    stream.room[:1] = b"x"
    stream.commit(1)
    stream.write_eof()
    stream.pause_reading()
    stream.resume_reading()
    stream.close()
    stream.abort()
    await settle()
    assert sink.events == ["lost: ConnectionResetError"]
    assert (stream.local_address, stream.peer_address) == (None, None)


class Watched(SocketStream):
    """Can be watched disappearing."""


class Holding(RecordingSink):
    """Holds the stream, as a hop does."""

    stream: SocketStream


@pytest.mark.parametrize("end", ["abort", "close", "reset", "reset while writing", "eof"])
async def test_nothing_is_left_of_a_lost_stream(setting: Setting, end: str) -> None:
    ours, theirs = tcp_pair()
    peer = Peer(theirs)
    setting.peers.append(peer)
    gc.collect()
    gc.disable()
    try:
        stream, sink = Watched(ours), Holding()
        sink.stream = stream
        stream.set_sink(sink)
        stream.resume_reading()
        match end:
            case "abort":
                stream.abort()
            case "close":
                stream.close()
                peer.end()
            case "reset":
                peer.reset()
            case "reset while writing":
                stream.pause_reading()
                peer.reset()
                await settle()
                stream.write(b"x")
                stream.write(b"x")
            case "eof":
                stream.write_eof()
                peer.end()
        await wait_lost(sink)
        await asyncio.sleep(0.01)
        gone = weakref.ref(stream)
        del stream, sink
        assert gone() is None
    finally:
        gc.enable()


# -- addresses


async def test_addresses(setting: Setting) -> None:
    stream, _, peer = setting.connected()
    assert stream.local_address == name_of(peer.sock.getpeername())
    assert stream.peer_address == name_of(peer.sock.getsockname())
    assert repr(stream).startswith("<SocketStream open fd=")


def test_name_of() -> None:
    assert name_of(("127.0.0.1", 80)) == Address("127.0.0.1", 80)
    assert name_of(("fe80::1%eth0", 80, 0, 2)) == Address("fe80::1", 80)


async def test_options(setting: Setting) -> None:
    stream, _, _ = setting.connected()
    assert stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert stream._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_socket_whose_options_are_refused_is_a_stream_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def setsockopt(self, *_args: Any) -> None:
            raise OSError(errno.EINVAL, "gone already")

    ours, theirs = tcp_pair()
    with theirs:
        refusing = Refusing(fileno=ours.detach())
        stream, sink = SocketStream(refusing), RecordingSink()
        stream.set_sink(sink)
        stream.abort()
        assert isinstance(await wait_lost(sink), AbortedError)


class TellsOfItself(socket.socket):
    """A socket whose kernel says what the test wants about acknowledgements."""

    unacked = probes = 0
    silent_ms = 0

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if (level, option) != (socket.IPPROTO_TCP, net_socket._TCP_INFO):
            return super().getsockopt(level, option, size) if size else super().getsockopt(level, option)
        info = bytearray(super().getsockopt(level, option, size))
        info[3] = self.probes
        info[24:28] = self.unacked.to_bytes(4, sys.byteorder)
        info[56:60] = self.silent_ms.to_bytes(4, sys.byteorder)
        return bytes(info)


@pytest.mark.skipif(net_socket._TCP_INFO is None, reason="this system does not tell about acknowledgements")
@pytest.mark.fake_clock
@pytest.mark.parametrize(
    ("unacked", "probes", "silent", "gone"),
    [
        (0, 0, [600, 648], False),
        (3, 0, [600], False),  # sent a moment ago, after a long silence
        (0, 1, [60], False),
        (3, 0, [600, 648], True),
        (0, 2, [60, 108], True),
        (3, 0, [600, 20], False),  # something was acknowledged meanwhile
        (3, 0, [600, 20, 68], True),
    ],
)
async def test_a_peer_that_acknowledges_nothing_for_long_is_gone(unacked: int, probes: int, silent: list[int], gone: bool) -> None:
    one, two = tcp_pair()
    with two:
        told = TellsOfItself(one.family, one.type, one.proto, one.detach())
        told.unacked, told.probes = unacked, probes
        stream, sink = SocketStream(told), RecordingSink()
        stream.set_sink(sink)
        for seconds in silent:
            told.silent_ms = seconds * 1000
            stream.keep_alive()
            await asyncio.sleep(net_socket.ANSWERLESS)
        assert sink.events == (["lost: TimeoutError"] if gone else [])
        stream.abort()
        await settle()
        stream.keep_alive()  # once over, nothing


@pytest.mark.skipif(net_socket._TCP_INFO is None, reason="this system does not tell about acknowledgements")
async def test_a_peer_that_does_not_read_acknowledges_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_socket, "ANSWERLESS", 0.4)
    one, two = tcp_pair(small=True)
    with two:
        stream, sink = SocketStream(one), RecordingSink()
        stream.set_sink(sink)
        stream.write(bytes(MEGABYTE))
        for _ in range(3):
            await asyncio.sleep(0.25)
            stream.keep_alive()
        await settle()
        assert sink.events == ["pause"]
        stream.abort()
        await settle()


class Broken(RecordingSink):
    """Runs out of memory at the first bytes."""

    def data_received(self, data: Buffer) -> None:
        raise MemoryError


async def test_a_stream_whose_sink_fails_is_aborted_because_its_bytes_are_lost() -> None:
    one, two = tcp_pair()
    with two, capture_logs() as log:
        stream, sink = SocketStream(one), Broken()
        stream.set_sink(sink)
        stream.resume_reading()
        two.send(b"lost")
        assert isinstance(await wait_lost(sink), MemoryError)
    assert [line["event"] for line in log] == ["stream aborted"]
