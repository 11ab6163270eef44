from __future__ import annotations

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from outline_lb.base.errors import UpstreamError
from outline_lb.base.packets import PacketChannel
from outline_lb.base.stream import Stream
from outline_lb.datapath.standby import MAX_AGE, PATIENCE, Standby
from outline_lb.datapath.transport import StandbyEndpoint
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink
from outline_lb.testing.streams import FakeStream, RecordingSink

pytestmark = pytest.mark.fake_clock


class Server(StandbyEndpoint[Stream]):
    """Opens a stream in 50 ms, or fails as `error` says; `streams` are those that it opened. Gives a sign of life when `alive` is set."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []
        self.error: Exception | None = None
        self.opening = self.asked = 0
        self.alive = asyncio.Event()
        self.alive.set()

    async def connect(self) -> Stream:
        self.opening += 1
        try:
            await asyncio.sleep(0.05)
        finally:
            self.opening -= 1
        if self.error:
            raise self.error
        self.streams.append(FakeStream())
        return self.streams[-1]

    async def check(self, link: Stream) -> None:
        self.asked += 1
        lost = asyncio.create_task(self._lost(cast(FakeStream, link)))
        alive = asyncio.create_task(self.alive.wait())
        try:
            await asyncio.wait((lost, alive), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alive.cancel()
            lost.cancel()
        if lost.done():
            raise UpstreamError("ping", "reset")

    async def _lost(self, stream: FakeStream) -> None:
        while not stream.over:
            await asyncio.sleep(0.001)


def standby(size: int = 2) -> tuple[Standby[Stream], Server]:
    clock().autojump = False
    server = Server()
    found = Standby(server)
    found.size = size
    return found, server


async def filled(size: int = 2) -> tuple[Standby[Stream], Server]:
    """Return one that a flow has filled."""
    found, server = standby(size)
    assert await found.take() is None
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
    await found.take()
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
    taken = await found.take()
    assert taken is server.streams[1]
    assert server.streams[1].paused
    assert len(found) == 1
    await clock().advance(1)
    assert (len(found), len(server.streams)) == (2, 3)


async def test_what_is_taken_is_not_watched_any_more() -> None:
    found, server = await filled()
    taken, sink = await found.take(), RecordingSink()
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
    await found.take()
    await clock().advance(0.02)
    assert server.opening == 1
    found.drop()
    await settle()
    assert (len(found), server.opening, server.streams[0].calls[-1]) == (0, 0, "close")
    await clock().advance(10)
    assert len(server.streams) == 2
    await found.take()
    await clock().advance(1)
    assert len(found) == 2


async def test_dropping_before_the_handshake_began() -> None:
    found, server = standby()
    await found.take()
    found.drop()
    await clock().advance(1)
    assert server.streams == []


async def test_a_failure_is_not_repeated_before_the_next_flow() -> None:
    found, server = standby()
    server.error = UpstreamError("connect", "refused")
    await found.take()
    await clock().advance(100)
    server.error = None
    assert len(found) == 0
    await found.take()
    await clock().advance(1)
    assert len(found) == 2


async def test_a_defect_of_a_transport_is_told() -> None:
    found, server = standby()
    server.error = RuntimeError("oops")
    with capture_logs() as log:
        await found.take()
        await clock().advance(1)
    assert [(line["event"], line["log_level"]) for line in log] == [("standby failed", "error")]


async def test_one_that_was_not_needed_is_kept_only_where_one_is_missing() -> None:
    found, server = await filled()
    spare = FakeStream()
    found.keep(spare)
    assert spare.calls == ["close"]
    await found.take()
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
    await found.take()
    clock().now += 1  # a loop that was late by so much had other things to do
    await settle()
    assert server.opening == 0
    await clock().advance(0.009)
    assert server.opening == 1


async def test_none_wanted_none_opened() -> None:
    found, server = standby(0)
    await found.take()
    await clock().advance(1)
    assert server.streams == []


async def test_one_that_died_without_a_word_is_given_up_and_so_are_the_others() -> None:
    found, server = await filled()
    server.alive.clear()
    taking = asyncio.create_task(found.take())
    await clock().advance(PATIENCE - 0.1)
    assert not taking.done()
    await clock().advance(0.2)
    assert await taking is None
    assert [stream.calls[-1] for stream in server.streams[:2]] == ["close", "close"]


async def test_one_that_is_reset_when_it_is_asked_makes_way_for_a_new_connection_at_once() -> None:
    found, server = await filled()
    server.alive.clear()
    taking = asyncio.create_task(found.take())
    await clock().advance(0.01)
    server.streams[1].lose(ConnectionResetError())
    await clock().advance(0.01)
    assert await taking is None
    assert server.streams[0].calls[-1] == "close"


async def test_giving_up_while_the_server_is_asked_closes_the_connection() -> None:
    found, server = await filled()
    server.alive.clear()
    taking = asyncio.create_task(found.take())
    await clock().advance(0.01)
    taking.cancel()
    await settle()
    assert taking.cancelled()
    assert server.streams[1].calls[-1] == "close"
    assert server.streams[0].calls[-1] == "resume_reading"
    found.drop()
    await settle()


async def test_two_flows_at_once_get_two_connections() -> None:
    found, server = await filled()
    one, two = await asyncio.gather(found.take(), found.take())
    assert {one, two} == set(server.streams[:2])
    found.drop()


# -- channels for packets


class PacketServer(StandbyEndpoint[PacketChannel[bytes]]):
    """Opens channels at once; gives a sign of life while `alive`."""

    def __init__(self) -> None:
        self.channels: list[FakeChannel[bytes]] = []
        self.alive = True

    async def connect(self) -> PacketChannel[bytes]:
        self.channels.append(FakeChannel())
        return self.channels[-1]

    async def check(self, link: PacketChannel[bytes]) -> None:
        if not self.alive:
            raise UpstreamError("ping", "reset")


async def filled_with_channels() -> tuple[Standby[PacketChannel[bytes]], PacketServer]:
    clock().autojump = False
    server = PacketServer()
    found = Standby(server)
    found.size = 2
    assert await found.take() is None
    await clock().advance(1)
    assert len(found) == 2
    return found, server


async def test_a_channel_that_waits_is_handed_over_and_not_watched_any_more() -> None:
    found, server = await filled_with_channels()
    taken, sink = await found.take(), RecordingPacketSink[bytes]()
    assert taken is server.channels[1]
    server.channels[1].feed(b"for nobody yet")
    taken.set_sink(sink)
    server.channels[1].feed(b"hello")
    await clock().advance(2 * MAX_AGE)
    assert sink.packets == [b"hello"]
    assert not server.channels[1].closed
    server.channels[1].lose()
    assert sink.lost.is_set()
    found.drop()


async def test_a_channel_that_is_lost_or_speaks_while_it_waits_is_given_up() -> None:
    found, server = await filled_with_channels()
    one, two = server.channels
    one.lose(ConnectionResetError())
    assert (len(found), one.closed) == (1, False)
    two.feed(b"?")
    assert (len(found), two.closed) == (0, True)
    await clock().advance(2 * MAX_AGE)


async def test_a_channel_that_grows_old_or_is_dropped_is_closed() -> None:
    found, server = await filled_with_channels()
    await clock().advance(MAX_AGE + 1)
    assert [channel.closed for channel in server.channels] == [True, True]
    await found.take()
    await clock().advance(1)
    found.drop()
    assert [channel.closed for channel in server.channels] == [True] * 4
    await settle()


async def test_a_channel_that_does_not_answer_is_not_handed_over() -> None:
    found, server = await filled_with_channels()
    server.alive = False
    assert await found.take() is None
    assert [channel.closed for channel in server.channels] == [True, True]
    found.drop()
    await settle()


async def test_a_channel_that_ends_on_its_way_to_the_flow_tells_the_flow() -> None:
    found, server = await filled_with_channels()
    taken, sink = await found.take(), RecordingPacketSink[bytes]()
    assert taken is not None
    server.channels[1].lose(ConnectionResetError())
    taken.set_sink(sink)
    await settle()
    assert isinstance(sink.error, ConnectionResetError)
    found.drop()
    await settle()
