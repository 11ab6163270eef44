"""Streams without a network: a lowest stream that records what it is told, a highest sink that records what it hears."""

from __future__ import annotations

import asyncio

from ..base.address import Address
from ..base.errors import AbortedError, without_frames
from ..base.stream import NOBODY, Buffer, Stream, StreamSink


class FakeStream(Stream):
    """The lowest stream of a pile under test: what the hops write is in `written`, what they ask for in `calls`.

    As a network would, the test plays the peer through `feed`, `feed_eof`, `lose`, `fill` and `drain`. It keeps the contract strictly: it gives a
    scratch buffer that is overwritten after each delivery, delivers nothing while paused (it is kept, and delivered in one piece after
    `resume_reading`), sends nothing after `write_eof`, and tells `connection_lost` from the loop, to a sink that comes later too.
    """

    def __init__(self) -> None:
        self.sink: StreamSink = NOBODY
        self.written = bytearray()
        self.writes: list[bytes] = []
        self.calls: list[str] = []
        self.cause: Exception | None = None
        self.paused = True
        self.over = False
        self._told = False  # somebody of connection_lost
        self._eof_sent = False
        self._kept = bytearray()
        self._eof_kept = False

    @property
    def local_address(self) -> Address | None:
        return Address("127.0.0.1", 1)

    @property
    def peer_address(self) -> Address | None:
        return Address("127.0.0.1", 2)

    # -- what a hop tells it

    def set_sink(self, sink: StreamSink) -> None:
        self.sink = sink
        if self._told:
            self._told = False
            asyncio.get_running_loop().call_soon(self._lost)

    def write(self, data: Buffer) -> None:
        if data and not (self.over or self._eof_sent):
            self.writes.append(bytes(data))
            self.written += data

    def write_eof(self) -> None:
        self._eof_sent = True
        self.calls.append("write_eof")

    def close(self) -> None:
        self._end("close", None)

    def abort(self, cause: Exception | None = None) -> None:
        self._end("abort", cause or AbortedError("aborted on this side"))

    def _end(self, call: str, cause: Exception | None) -> None:
        if not self.over:
            self.over = True
            self.calls.append(call)
            self.cause = None if cause is None else without_frames(cause)
            asyncio.get_running_loop().call_soon(self._lost)

    def _lost(self) -> None:
        self._told = True
        sink, self.sink = self.sink, NOBODY
        sink.connection_lost(self.cause)

    def pause_reading(self) -> None:
        self.paused = True
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.paused = False
        self.calls.append("resume_reading")
        if self._kept or self._eof_kept:
            asyncio.get_running_loop().call_soon(self._release)

    # -- what the test lets the peer do

    def feed(self, data: bytes) -> None:
        """The peer sends."""
        if self.paused or self._kept:
            self._kept += data
        elif data:
            self._deliver(data)

    def feed_eof(self) -> None:
        """The peer ends its direction."""
        if self.paused or self._kept:
            self._eof_kept = True
        elif not self.over:
            self.sink.eof_received()

    def lose(self, exc: Exception | None = None) -> None:
        """The connection is gone: with a cause, or None after both ends."""
        if not self.over:
            self.over = True
            self.cause = exc
            self._lost()

    def fill(self) -> None:
        """The network takes no more."""
        self.sink.pause_writing()

    def drain(self) -> None:
        """The network takes more again."""
        self.sink.resume_writing()

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = bytes(self.written)
        self.written.clear()
        self.writes.clear()
        return data

    def _release(self) -> None:
        if self._kept and not self.paused:
            kept, self._kept = bytes(self._kept), bytearray()
            self._deliver(kept)
        if self._eof_kept and not self.paused:
            self._eof_kept = False
            self.feed_eof()

    def _deliver(self, data: bytes) -> None:
        if not self.over:
            buffer = bytearray(data)
            self.sink.data_received(memoryview(buffer))
            buffer[:] = b"\xee" * len(buffer)  # whoever kept it, sees it now


class RecordingSink(StreamSink):
    """The highest sink of a pile under test: `data` holds all bytes, `events` the calls in order (runs of data as one ``data``)."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.deliveries: list[int] = []
        self.events: list[str] = []
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()

    def data_received(self, data: Buffer) -> None:
        assert len(data), "rule 1: never empty"
        assert "eof" not in self.events, "rule 4: nothing after the end"
        assert not self.lost.is_set(), "rule 4: nothing after connection_lost"
        self.data += data
        self.deliveries.append(len(data))
        if self.events[-1:] != ["data"]:
            self.events.append("data")

    def eof_received(self) -> None:
        assert "eof" not in self.events, "rule 4: at most one end"
        assert not self.lost.is_set(), "rule 4: nothing after connection_lost"
        self.events.append("eof")
        self.ended.set()

    def pause_writing(self) -> None:
        assert not self.lost.is_set(), "rule 4: nothing after connection_lost"
        self.events.append("pause")

    def resume_writing(self) -> None:
        assert not self.lost.is_set(), "rule 4: nothing after connection_lost"
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost.is_set(), "rule 4: exactly once"
        self.error = exc
        self.events.append("lost" if exc is None else f"lost: {type(exc).__name__}")
        self.ended.set()
        self.lost.set()

    async def received(self, size: int) -> bytes:
        """Wait until at least `size` bytes came, or the stream ended; return everything so far."""
        while len(self.data) < size and not self.ended.is_set():
            await asyncio.sleep(0.001)
        return bytes(self.data)


async def wait_lost(sink: RecordingSink, seconds: float = 10) -> Exception | None:
    """Wait until the sink heard `connection_lost`, and return its cause."""
    await asyncio.wait_for(sink.lost.wait(), seconds)
    return sink.error
