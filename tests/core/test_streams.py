from __future__ import annotations

import asyncio
import contextlib

import pytest

from outline_lb.base.errors import AbortedError, StreamError
from outline_lb.base.stream import Buffer
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream, RecordingSink, wait_lost


def attached(paused: bool = False) -> tuple[FakeStream, RecordingSink]:
    stream, sink = FakeStream(), RecordingSink()
    stream.set_sink(sink)
    if not paused:
        stream.resume_reading()
    return stream, sink


async def test_what_is_written_is_copied() -> None:
    stream, _ = attached()
    data = bytearray(b"abc")
    stream.write(data)
    data[:] = b"xyz"
    stream.write(b"")
    stream.room[:1] = b"d"
    stream.commit(1)
    assert stream.writes == [b"abc", b"d"]
    assert stream.take() == b"abcd"
    assert stream.take() == b""


@pytest.mark.parametrize("end", ["write_eof", "close", "abort"])
async def test_nothing_is_sent_after_an_end(end: str) -> None:
    stream, _ = attached()
    getattr(stream, end)()
    stream.write(b"late")
    assert stream.take() == b""
    assert stream.calls == ["resume_reading", end]


async def test_a_delivered_buffer_is_overwritten_afterwards() -> None:
    class Keeper(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            self.kept = data

    stream, sink = FakeStream(), Keeper()
    stream.set_sink(sink)
    stream.resume_reading()
    stream.feed(b"abc")
    assert bytes(sink.kept) == b"\xee\xee\xee"


async def test_while_paused_everything_is_kept_and_then_delivered_in_one_piece() -> None:
    stream, sink = attached(paused=True)
    stream.feed(b"1")
    stream.feed(b"2")
    stream.feed_eof()
    await settle()
    assert sink.events == []
    stream.resume_reading()
    assert sink.events == []  # never from inside
    await settle()
    assert sink.deliveries == [2]
    assert sink.events == ["data", "eof"]


async def test_order_is_kept_between_resuming_and_the_release() -> None:
    stream, sink = attached(paused=True)
    stream.feed(b"1")
    stream.resume_reading()
    stream.feed(b"2")
    stream.feed_eof()
    await settle()
    assert bytes(sink.data) == b"12"
    assert sink.events == ["data", "eof"]


async def test_a_sink_that_pauses_again_is_left_alone() -> None:
    class Shy(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            stream.pause_reading()

    stream, sink = FakeStream(), Shy()
    stream.set_sink(sink)
    stream.feed(b"1")
    stream.feed_eof()
    stream.resume_reading()
    await settle()
    assert sink.events == ["data"]
    stream.resume_reading()
    await settle()
    assert sink.events == ["data", "eof"]


async def test_after_close_nothing_is_delivered_but_the_loss() -> None:
    stream, sink = attached()
    stream.close()
    stream.feed(b"late")
    stream.feed_eof()
    assert sink.events == []
    assert await wait_lost(sink) is None
    assert sink.events == ["lost"]


async def test_abort_keeps_its_first_cause() -> None:
    stream, sink = attached()
    cause = StreamError("first")
    stream.abort(cause)
    stream.abort(StreamError("second"))
    stream.close()
    stream.lose()
    assert await wait_lost(sink) is cause
    assert stream.calls == ["resume_reading", "abort"]


async def test_abort_without_a_cause() -> None:
    stream, sink = attached()
    stream.abort()
    assert isinstance(await wait_lost(sink), AbortedError)


@pytest.mark.parametrize("told", [False, True])
async def test_a_sink_that_comes_after_the_loss_hears_of_it(told: bool) -> None:
    stream, sink = FakeStream(), RecordingSink()
    stream.abort(StreamError("gone"))
    if told:
        await settle()
    stream.set_sink(sink)
    assert sink.events == []
    await settle()
    assert sink.events == ["lost: StreamError"]


async def test_the_recording_sink_waits_for_data_or_an_end() -> None:
    stream, sink = attached()
    loop = asyncio.get_running_loop()
    loop.call_later(0.001, stream.feed, b"abc")
    assert await sink.received(3) == b"abc"
    loop.call_later(0.001, stream.feed_eof)
    assert await sink.received(99) == b"abc"


async def test_the_recording_sink_knows_the_rules() -> None:
    arguments: dict[str, list[bytes | None]] = {"data_received": [b"x"], "connection_lost": [None]}

    def breaks_a_rule(*calls: str) -> bool:
        sink = RecordingSink()
        with contextlib.suppress(AssertionError):
            for call in calls:
                getattr(sink, call)(*arguments.get(call, []))
            return False
        return True

    assert not breaks_a_rule("data_received", "pause_writing", "eof_received", "resume_writing", "connection_lost")
    for call in ("data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost"):
        assert breaks_a_rule("connection_lost", call)
    assert breaks_a_rule("eof_received", "data_received")
    assert breaks_a_rule("eof_received", "eof_received")
    with pytest.raises(AssertionError, match="never empty"):
        RecordingSink().data_received(b"")
