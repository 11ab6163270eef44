"""The contract of the data path: what a byte stream can be told, and what it tells.

The vocabulary is asyncio's, so the shape is familiar: a `Stream` is told, a `StreamSink` is called back. Between an application and a server
stands a pile of `Hop`s, each the sink of the stream below and the stream of the sink above. Five rules make layering free (`docs/explanation`
has the measurements):

1. **Batch.** `data_received` is called at most once per stream and wake-up, with everything available joined in one buffer, never empty.
2. **Borrow.** A buffer passed in either direction is borrowed until the call returns: who keeps it copies it, and nobody looks at it after
   handing it on (scratch space is shared). `room` and `commit` are `write` without a copy: fill `room[:n]`, then `commit(n)` at once.
3. **Backpressure** travels unchanged and is idempotent: `pause_writing` may come again while the stream is full. After `pause_reading` the
   delivery under way may finish; none starts. A new stream is paused: nothing is delivered before `resume_reading`.
4. **End.** `eof_received`: the peer ended this direction cleanly and completely; the other stays open. `connection_lost(None)`: only after both
   directions ended. Anything else is an abort and tells its cause. `connection_lost` is the last call, comes exactly once, and only from the
   loop, never from inside a call of ours. A stream that was lost before it had a sink tells its first sink so.
5. **Re-entrancy.** Calls may come back during any call. A hop finishes its own state before it calls out and looks at `over` after; once over,
   it calls nothing upward but `connection_lost`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final, TypeAlias

from .address import Address
from .errors import AbortedError

Buffer: TypeAlias = bytes | bytearray | memoryview

ROOM: Final = 160 * 1024
"""Bytes that every `Stream.room` has at least: eight Shadowsocks chunks and all that is added to them."""

SCRATCH: Final = memoryview(bytearray(ROOM))


class StreamSink(ABC):
    """What a byte stream tells. All methods are called from the event loop, must not block, and must not raise."""

    __slots__ = ()

    @abstractmethod
    def data_received(self, data: Buffer) -> None:
        """Take all the bytes that are available now.

        :param data: never empty; borrowed until the call returns
        """

    @abstractmethod
    def eof_received(self) -> None:
        """The peer ended its direction cleanly. Called at most once; writing stays possible."""

    @abstractmethod
    def pause_writing(self) -> None:
        """The stream is full: stop writing soon. May be repeated while it stays full."""

    @abstractmethod
    def resume_writing(self) -> None:
        """The stream has room again."""

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is over. The last call, exactly once.

        :param exc: None if both directions ended cleanly, else the cause
        """


class Stream(ABC):
    """What a byte stream can be told. No method blocks or raises; trouble arrives as `StreamSink.connection_lost`."""

    __slots__ = ()

    @property
    def room(self) -> memoryview:
        """Scratch space of at least `ROOM` bytes to fill before `commit`; shared, so nothing may come in between."""
        return SCRATCH

    @property
    @abstractmethod
    def local_address(self) -> Address | None:
        """Our end's address as the peer sees it, or None where there is no such thing (the far end of a tunnel)."""

    @property
    @abstractmethod
    def peer_address(self) -> Address | None:
        """The peer's address, or None where it is not known."""

    @abstractmethod
    def set_sink(self, sink: StreamSink) -> None:
        """Say who is called back from now on."""

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Send `data` (empty: nothing happens). Ignored after `write_eof`, `close` and `abort`, and once the stream is over.

        :param data: borrowed until the call returns
        """

    def commit(self, size: int) -> None:
        """Send the first `size` bytes of `room`, as `write` would."""
        self.write(self.room[:size])

    @abstractmethod
    def write_eof(self) -> None:
        """End our direction after what was written; idempotent. Reading goes on."""

    @abstractmethod
    def close(self) -> None:
        """Send what was written, end cleanly, and be over. Nothing more is delivered.

        Waits for the peer as long as it takes what was written, and then a bounded time for its end: `connection_lost(None)` comes either way.
        """

    @abstractmethod
    def abort(self, cause: Exception | None = None) -> None:
        """End now; the peer sees a reset, never a clean end.

        :param cause: what the sink hears in `connection_lost`; None: `AbortedError`
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Deliver nothing more; idempotent."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Deliver again; idempotent. Never calls the sink from inside."""

    def keep_alive(self, doubt: bool = False) -> None:  # noqa: B027 - optional
        """Called now and then (see `outline_lb.monitoring.keeper`): let a silent peer show that it is there, and keep what lies in between from
        forgetting the connection. A stream whose peer is gone aborts.

        :param doubt: whether the connection may just have died: ask at once, whatever was heard before, and wait only until the next call
        """


class _Nobody(StreamSink):
    """The sink of a stream that has none yet, or none any more."""

    __slots__ = ()

    def data_received(self, data: Buffer) -> None: ...
    def eof_received(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


NOBODY: Final[StreamSink] = _Nobody()


class Hop(Stream, StreamSink):
    """Forwards everything both ways; a layer overrides what it changes.

    :param lower: the stream to stand upon; becomes ours
    """

    __slots__ = ("_lost", "lower", "over", "upper")

    def __init__(self, lower: Stream) -> None:
        self.lower = lower
        self.upper = NOBODY
        self.over = False
        self._lost: tuple[Exception | None] | None = None
        lower.set_sink(self)

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        self.upper.data_received(data)

    def eof_received(self) -> None:
        self.upper.eof_received()

    def pause_writing(self) -> None:
        self.upper.pause_writing()

    def resume_writing(self) -> None:
        self.upper.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self._lost = (exc,)
        upper, self.upper = self.upper, NOBODY  # breaks the reference circle
        upper.connection_lost(exc)

    # -- called by the sink above

    @property
    def local_address(self) -> Address | None:
        return self.lower.local_address

    @property
    def peer_address(self) -> Address | None:
        return self.lower.peer_address

    def set_sink(self, sink: StreamSink) -> None:
        if self._lost is None:
            self.upper = sink
        else:
            asyncio.get_running_loop().call_soon(sink.connection_lost, self._lost[0])

    def write(self, data: Buffer) -> None:
        self.lower.write(data)

    @property
    def room(self) -> memoryview:
        return self.lower.room

    def commit(self, size: int) -> None:
        self.lower.commit(size)

    def write_eof(self) -> None:
        self.lower.write_eof()

    def close(self) -> None:
        self.over = True
        self.lower.close()

    def abort(self, cause: Exception | None = None) -> None:
        self.over = True
        self.lower.abort(cause or AbortedError("aborted on this side"))

    def pause_reading(self) -> None:
        self.lower.pause_reading()

    def resume_reading(self) -> None:
        self.lower.resume_reading()

    def keep_alive(self, doubt: bool = False) -> None:
        self.lower.keep_alive(doubt)
