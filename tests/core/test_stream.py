from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from outline_lb.base.errors import AbortedError, StreamError
from outline_lb.base.stream import NOBODY, ROOM, SCRATCH, Hop
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream, RecordingSink


class Weak(Hop):
    """Can be watched disappearing."""


async def pile() -> tuple[FakeStream, Hop, RecordingSink]:
    lower, sink = FakeStream(), RecordingSink()
    hop = Hop(Hop(lower))
    hop.set_sink(sink)
    hop.resume_reading()
    return lower, hop, sink


async def test_a_hop_forwards_what_it_is_told() -> None:
    lower, hop, _ = await pile()
    hop.write(b"one")
    hop.room[:3] = b"two"
    hop.commit(3)
    hop.pause_reading()
    hop.resume_reading()
    hop.write_eof()
    assert lower.take() == b"onetwo"
    assert lower.calls == ["resume_reading", "pause_reading", "resume_reading", "write_eof"]
    assert (hop.local_address, hop.peer_address) == (lower.local_address, lower.peer_address)


async def test_a_hop_lets_the_streams_below_keep_alive() -> None:
    asked: list[bool] = []

    class Below(FakeStream):
        def keep_alive(self, doubt: bool = False) -> None:
            asked.append(doubt)

    hop = Hop(Hop(Below()))
    hop.keep_alive()
    hop.keep_alive(doubt=True)
    assert asked == [False, True]


async def test_a_hop_forwards_what_it_hears() -> None:
    lower, _, sink = await pile()
    lower.feed(b"data")
    lower.fill()
    lower.drain()
    lower.feed_eof()
    lower.lose()
    assert bytes(sink.data) == b"data"
    assert sink.events == ["data", "pause", "resume", "eof", "lost"]


async def test_close_is_heard_from_the_loop() -> None:
    lower, hop, sink = await pile()
    hop.close()
    assert hop.over
    assert lower.calls[-1] == "close"
    assert sink.events == []
    await settle()
    assert sink.events == ["lost"]


@pytest.mark.parametrize("cause", [None, StreamError("why")])
async def test_abort_tells_its_cause(cause: StreamError | None) -> None:
    _, hop, sink = await pile()
    hop.abort(cause)
    assert hop.over
    assert sink.events == []
    await settle()
    assert isinstance(sink.error, AbortedError) if cause is None else sink.error is cause


async def test_what_was_lost_without_a_sink_tells_the_first_one() -> None:
    lower = FakeStream()
    hop = Hop(lower)
    cause = StreamError("gone")
    lower.lose(cause)
    sink = RecordingSink()
    hop.set_sink(sink)
    assert sink.events == []
    await settle()
    assert sink.error is cause


async def test_a_new_sink_takes_over() -> None:
    lower, hop, first = await pile()
    second = RecordingSink()
    lower.feed(b"1")
    hop.set_sink(second)
    lower.feed(b"2")
    lower.lose()
    assert (bytes(first.data), first.events) == (b"1", ["data"])
    assert (bytes(second.data), second.events) == (b"2", ["data", "lost"])


async def test_a_lost_pile_leaves_no_reference_circle() -> None:
    gc.collect()
    gc.disable()
    try:
        lower = FakeStream()
        hop = Weak(lower)
        hop.set_sink(Weak(FakeStream()))
        lower.lose()
        gone = weakref.ref(hop)
        del hop, lower
        assert gone() is None
    finally:
        gc.enable()


def test_scratch() -> None:
    assert len(SCRATCH) == ROOM
    assert not SCRATCH.readonly


async def test_nobody_takes_everything() -> None:
    NOBODY.data_received(b"x")
    NOBODY.eof_received()
    NOBODY.pause_writing()
    NOBODY.resume_writing()
    NOBODY.connection_lost(None)
    stream = FakeStream()
    stream.resume_reading()
    stream.feed(b"x")
    stream.abort()
    await asyncio.sleep(0)
    assert stream.calls == ["resume_reading", "abort"]
