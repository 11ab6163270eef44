from __future__ import annotations

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from outline_lb.base.errors import UpstreamError
from outline_lb.base.stream import Stream
from outline_lb.datapath.standby import MAX_AGE, Standby
from outline_lb.datapath.transport import StreamEndpoint
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.streams import FakeStream, RecordingSink

pytestmark = pytest.mark.fake_clock


class Server(StreamEndpoint):
    """Opens a stream in 50 ms, or fails as `error` says; `streams` are those that it opened."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.error: Exception | None = None
        self.opening = 0

    async def connect_stream(self) -> Stream:
        self.opening += 1
        try:
            await asyncio.sleep(0.05)
        finally:
            self.opening -= 1
        if self.error:
            raise self.error
        self.streams.append(FakeStream())
        return self.streams[-1]


def standby(size: int = 2) -> tuple[Standby, Server]:
    clock().autojump = False
    server = Server()
    found = Standby(server)
    found.size = size
    return found, server


async def filled(size: int = 2) -> tuple[Standby, Server]:
    """Return one that a flow has filled."""
    found, server = standby(size)
    assert found.take() is None
    await clock().advance(1)
    assert len(found) == size
    return found, server


def clock() -> ClockLoop:
    return cast(ClockLoop, asyncio.get_running_loop())


async def test_nothing_is_opened_before_the_first_flow() -> None:
    found, server = standby()
    await clock().advance(100)
    assert (len(found), server.streams) == (0, [])


async def test_a_flow_has_the_missing_ones_opened_a_little_later_and_one_by_one() -> None:
    found, server = standby(3)
    found.take()
    await clock().advance(0.007)
    assert server.opening == 0
    await clock().advance(0.002)
    assert server.opening == 1
    await clock().advance(0.05)
    assert (len(found), server.opening) == (1, 0)
    await clock().advance(1)
    assert (len(found), len(server.streams)) == (3, 3)


async def test_the_youngest_is_taken_paused_and_replaced() -> None:
    found, server = await filled()
    taken = found.take()
    assert taken is server.streams[1]
    assert server.streams[1].paused
    assert len(found) == 1
    await clock().advance(1)
    assert (len(found), len(server.streams)) == (2, 3)


async def test_what_is_taken_is_not_watched_any_more() -> None:
    found, server = await filled()
    taken, sink = found.take(), RecordingSink()
    assert taken is not None
    taken.set_sink(sink)
    taken.resume_reading()
    server.streams[1].feed(b"hello")
    await clock().advance(2 * MAX_AGE)
    assert sink.data == b"hello"
    assert "close" not in server.streams[1].calls


async def test_what_grows_old_is_closed_and_not_replaced() -> None:
    found, server = await filled()
    await clock().advance(MAX_AGE + 1)
    assert (len(found), len(server.streams)) == (0, 2)
    assert [stream.calls[-1] for stream in server.streams] == ["close", "close"]


async def test_what_is_lost_ends_or_speaks_is_given_up() -> None:
    found, server = await filled(3)
    one, two, three = server.streams
    one.lose(ConnectionResetError())
    two.feed_eof()
    three.feed(b"?")
    assert len(found) == 0
    assert [stream.calls[-1] for stream in (two, three)] == ["close", "close"]
    await clock().advance(2 * MAX_AGE)


async def test_dropping_closes_what_waits_and_ends_what_is_being_opened() -> None:
    found, server = await filled()
    found.take()
    await clock().advance(0.02)
    assert server.opening == 1
    found.drop()
    await settle()
    assert (len(found), server.opening, server.streams[0].calls[-1]) == (0, 0, "close")
    await clock().advance(10)
    assert len(server.streams) == 2
    found.take()
    await clock().advance(1)
    assert len(found) == 2


async def test_dropping_before_the_handshake_began() -> None:
    found, server = standby()
    found.take()
    found.drop()
    await clock().advance(1)
    assert server.streams == []


async def test_a_failure_is_not_repeated_before_the_next_flow() -> None:
    found, server = standby()
    server.error = UpstreamError("connect", "refused")
    found.take()
    await clock().advance(100)
    server.error = None
    assert len(found) == 0
    found.take()
    await clock().advance(1)
    assert len(found) == 2


async def test_a_defect_of_a_transport_is_told() -> None:
    found, server = standby()
    server.error = RuntimeError("oops")
    with capture_logs() as log:
        found.take()
        await clock().advance(1)
    assert [(line["event"], line["log_level"]) for line in log] == [("standby failed", "error")]


async def test_one_that_was_not_needed_is_kept_only_where_one_is_missing() -> None:
    found, server = await filled()
    spare = FakeStream()
    found.keep(spare)
    assert spare.calls == ["close"]
    found.take()
    spare = FakeStream()
    found.keep(spare)
    assert len(found) == 2
    await clock().advance(1)
    assert (len(found), len(server.streams)) == (2, 2)


async def test_one_that_was_not_needed_is_closed_where_no_flow_comes() -> None:
    found, _ = standby()
    spare = FakeStream()
    found.keep(spare)
    assert (spare.calls, len(found)) == (["close"], 0)


async def test_a_busy_loop_comes_first() -> None:
    found, server = standby()
    found.take()
    clock().now += 1  # a loop that was late by so much had other things to do
    await settle()
    assert server.opening == 0
    await clock().advance(0.009)
    assert server.opening == 1


async def test_none_wanted_none_opened() -> None:
    found, server = standby(0)
    found.take()
    await clock().advance(1)
    assert server.streams == []
