from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from outline_lb.base.errors import AbortedError, TruncatedError
from outline_lb.datapath.relay import relay
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def joined() -> tuple[FakeStream, FakeStream]:
    one, two = FakeStream(), FakeStream()
    relay(one, two)
    one.calls.clear()
    two.calls.clear()
    return one, two


async def test_both_streams_are_read_from_the_start() -> None:
    one, two = FakeStream(), FakeStream()
    relay(one, two)
    assert not one.paused
    assert not two.paused


async def test_bytes_go_both_ways() -> None:
    one, two = joined()
    one.feed(b"question")
    two.feed(b"answer")
    one.feed(b" and more")
    assert two.writes == [b"question", b" and more"]
    assert one.writes == [b"answer"]


async def test_what_was_read_before_goes_first() -> None:
    one, two = FakeStream(), FakeStream()
    one.feed(b" late")  # waits until the relay reads
    relay(one, two, early=b"early")
    await settle()
    assert two.take() == b"early late"
    assert two.calls == ["resume_reading"]


async def test_an_end_that_was_read_before_follows_what_was_read_before() -> None:
    one, two = FakeStream(), FakeStream()
    relay(one, two, early=b"all", ended=True)
    assert two.take() == b"all"
    assert two.calls == ["resume_reading", "write_eof"]
    two.feed(b"answer")
    two.feed_eof()
    assert one.take() == b"answer"
    assert one.calls[-1] == two.calls[-1] == "close"


@pytest.mark.parametrize("swapped", [False, True])
async def test_an_end_is_passed_on_and_the_other_direction_stays_open(swapped: bool) -> None:
    one, two = joined()
    if swapped:
        one, two = two, one
    one.feed(b"request")
    one.feed_eof()
    assert two.calls == ["write_eof"]
    assert one.calls == []
    two.feed(b"a long answer")
    assert one.take() == b"a long answer"


@pytest.mark.parametrize("swapped", [False, True])
async def test_both_ends_close_both_streams(swapped: bool) -> None:
    one, two = joined()
    first, second = (two, one) if swapped else (one, two)
    first.feed_eof()
    second.feed_eof()
    assert second.calls == ["write_eof", "close"]
    assert first.calls == ["write_eof", "close"]
    await settle()
    assert first.calls == ["write_eof", "close"]


@pytest.mark.parametrize("swapped", [False, True])
async def test_an_abort_crosses_with_its_cause(swapped: bool) -> None:
    one, two = joined()
    if swapped:
        one, two = two, one
    cause = ConnectionResetError("reset by peer")
    one.lose(cause)
    assert two.calls == ["abort"]
    assert two.cause is cause


async def test_a_cut_after_some_data_is_no_clean_end_for_the_other_side() -> None:
    one, two = joined()
    two.feed(b"half an ans")
    two.lose(TruncatedError("the stream ended inside a chunk"))
    assert one.take() == b"half an ans"
    assert one.calls == ["abort"]
    assert isinstance(one.cause, TruncatedError)


async def test_a_stream_lost_without_end_or_cause_aborts_the_other() -> None:
    one, two = joined()
    one.lose(None)
    assert two.calls == ["abort"]
    assert isinstance(two.cause, AbortedError)


@pytest.mark.parametrize("cause", [None, ConnectionResetError("reset by peer")])
async def test_a_stream_lost_after_its_clean_end_lets_the_other_finish(cause: Exception | None) -> None:
    one, two = joined()
    one.feed(b"complete")
    one.feed_eof()
    one.lose(cause)
    assert two.take() == b"complete"
    assert two.calls == ["write_eof", "close"]


async def test_a_stream_lost_after_the_other_ones_end_is_an_abort() -> None:
    one, two = joined()
    two.feed_eof()  # one still has data to bring, and never brings its end
    one.lose(ConnectionResetError())
    assert two.calls == ["abort"]


async def test_a_full_stream_pauses_the_other_until_it_has_room() -> None:
    one, two = joined()
    two.fill()
    assert one.paused
    assert not two.paused
    two.fill()  # may come again
    assert one.paused
    one.feed(b"waits")
    await settle()
    assert two.take() == b""
    two.drain()
    await settle()
    assert not one.paused
    assert two.take() == b"waits"


async def test_backpressure_goes_the_other_way_too() -> None:
    one, two = joined()
    one.fill()
    assert two.paused
    assert not one.paused
    one.drain()
    assert not two.paused


async def test_what_was_read_before_may_fill_the_stream_at_once() -> None:
    class Narrow(FakeStream):
        def write(self, data: object) -> None:
            super().write(data)  # type: ignore[arg-type]
            self.fill()

    one, two = FakeStream(), Narrow()
    relay(one, two, early=b"a lot")
    assert one.paused


async def test_says_once_when_both_streams_are_over() -> None:
    one, two = FakeStream(), FakeStream()
    over: list[str] = []
    relay(one, two, over=lambda: over.append("over"))
    one.feed_eof()
    one.lose(None)
    assert over == []
    await settle()  # two was closed, and is lost now
    assert over == ["over"]


@pytest.mark.parametrize("how", ["ends", "abort", "end then loss"])
@pytest.mark.usefixtures("without_gc")
async def test_nothing_is_left_for_the_collector(how: str) -> None:
    one, two = FakeStream(), FakeStream()
    relay(one, two)
    one.feed(b"x")
    if how == "ends":
        one.feed_eof()
        two.feed_eof()
    elif how == "abort":
        one.lose(ConnectionResetError())
    else:
        two.feed_eof()
        two.lose(None)
    await settle()
    assert one.over
    assert two.over
    remains = weakref.ref(one), weakref.ref(two)
    del one, two
    await asyncio.sleep(0)
    assert [ref() for ref in remains] == [None, None]
