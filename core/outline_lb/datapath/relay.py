"""Joins two streams: what arrives on one is written to the other, with half-close, backpressure and abort."""

from __future__ import annotations

from collections.abc import Callable

from ..base.errors import AbortedError
from ..base.stream import Buffer, Stream, StreamSink


class _End(StreamSink):
    """The sink of `near`: hands everything to `far`."""

    __slots__ = ("ended", "far", "lost", "near", "other", "over")

    other: _End

    def __init__(self, near: Stream, far: Stream, over: Callable[[], object]) -> None:
        self.near = near
        self.far = far
        self.over = over
        self.ended = False  # near's peer has ended its direction
        self.lost = False

    def data_received(self, data: Buffer) -> None:
        self.far.write(data)

    def eof_received(self) -> None:
        self.ended = True
        self.far.write_eof()
        if self.other.ended:
            self.near.close()
            self.far.close()

    def pause_writing(self) -> None:  # near takes no more, so far must bring no more
        self.far.pause_reading()

    def resume_writing(self) -> None:
        self.far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.other.lost:
            if self.ended:  # everything that near had was handed on: let it arrive
                self.far.close()
            else:
                self.far.abort(exc or AbortedError("the other side of the relay ended"))
        else:
            del self.other.other, self.other  # leave no reference circle for the collector
            self.over()


def relay(one: Stream, two: Stream, early: Buffer = b"", ended: bool = False, over: Callable[[], object] = lambda: None) -> None:
    """Join two streams until both are over. Returns at once; everything happens in callbacks.

    An end is passed on as an end, an abort as an abort with its cause; a stream that is lost after its clean end lets the other one finish.

    :param one: becomes the relay's
    :param two: paused; becomes the relay's
    :param early: what was read from `one` before; goes to `two` first
    :param ended: whether the end of `one` was read before
    :param over: called once, when both streams are over
    """
    ends = _End(one, two, over), _End(two, one, over)
    ends[0].other, ends[1].other = ends[1], ends[0]
    one.set_sink(ends[0])
    two.set_sink(ends[1])
    one.resume_reading()
    two.resume_reading()
    two.write(early)
    if ended:
        ends[0].eof_received()
