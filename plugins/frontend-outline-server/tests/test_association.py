from __future__ import annotations

from collections.abc import Callable

import pytest

from outline_lb.api import Address, Packet
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink
from outline_lb_frontend_outline_server.association import DNS_TIMEOUT, Association

QUERY = Packet(Address("192.0.2.1", 53), b"query")
OTHER = Packet(Address("192.0.2.1", 443), b"other")
TIMEOUT = 300.0

pytestmark = pytest.mark.fake_clock


class Desk:
    """An association between a client's channel and a carrier's sink."""

    def __init__(self, first: Packet = OTHER, timeout: float = TIMEOUT) -> None:
        self.lower = FakeChannel[Packet](Address("192.0.2.7", 4000))
        self.sink = RecordingPacketSink[Packet]()
        self.used: list[Association] = []
        self.over: list[Association] = []
        self.association = Association(self.lower, first, timeout, self.used.append, self.over.append)
        self.association.set_sink(self.sink)

    def answer(self, *packets: Packet) -> None:
        self.association.send(list(packets))

    async def lasts(self, clock: ClockLoop, seconds: float) -> None:
        """See it end after exactly that time."""
        await clock.advance(seconds - 0.001)
        assert not self.lower.closed
        await clock.advance(0.001)
        assert self.lower.closed
        assert self.sink.lost.is_set()
        assert self.sink.error is None


async def test_packets_cross_both_ways(clock: ClockLoop) -> None:
    desk = Desk()
    desk.lower.feed(OTHER, QUERY)
    desk.answer(QUERY, OTHER)
    assert desk.sink.batches == [[OTHER, QUERY]]
    assert desk.lower.batches == [[QUERY, OTHER]]
    assert desk.used == [desk.association]
    assert desk.association.peer_address == Address("192.0.2.7", 4000)
    desk.association.keep_alive(True)
    assert desk.lower.kept_alive == [True]


@pytest.mark.parametrize("timeout", [TIMEOUT, 1.5])
async def test_it_ends_when_no_packet_came_for_some_time(clock: ClockLoop, timeout: float) -> None:
    await Desk(timeout=timeout).lasts(clock, timeout)


async def test_each_packet_of_the_client_moves_the_end_and_answers_do_not(clock: ClockLoop) -> None:
    desk = Desk()
    await clock.advance(200)
    desk.lower.feed(OTHER)
    await clock.advance(200)
    desk.lower.feed(QUERY, OTHER)
    await clock.advance(200)
    desk.answer(OTHER)
    await desk.lasts(clock, TIMEOUT - 200)


async def test_one_that_was_used_for_queries_only_ends_soon(clock: ClockLoop) -> None:
    desk = Desk(QUERY)
    await clock.advance(10)
    desk.lower.feed(QUERY, QUERY)
    desk.answer(QUERY)
    await desk.lasts(clock, DNS_TIMEOUT)


async def test_a_query_waits_no_longer_than_other_packets(clock: ClockLoop) -> None:
    await Desk(QUERY, timeout=2).lasts(clock, 2)


async def test_a_query_does_not_bring_the_end_closer(clock: ClockLoop) -> None:
    desk = Desk(OTHER)
    await clock.advance(TIMEOUT - 10)
    desk.lower.feed(OTHER)
    await clock.advance(1)
    desk.lower.feed(QUERY)
    await desk.lasts(clock, TIMEOUT - 1)


async def test_a_query_is_waited_for_although_other_packets_are_long_ago(clock: ClockLoop) -> None:
    desk = Desk(OTHER)
    await clock.advance(TIMEOUT - 1)
    desk.lower.feed(QUERY)
    await desk.lasts(clock, DNS_TIMEOUT)


async def test_other_packets_after_queries_move_the_end_far_away(clock: ClockLoop) -> None:
    desk = Desk(QUERY)
    await clock.advance(16)
    desk.lower.feed(OTHER)
    await desk.lasts(clock, TIMEOUT)


async def test_the_answer_to_the_only_query_is_the_end(clock: ClockLoop) -> None:
    desk = Desk(QUERY)
    desk.answer(QUERY)
    assert desk.lower.closed
    assert desk.lower.sent == [QUERY]
    assert desk.over
    await settle()
    assert desk.sink.lost.is_set()


@pytest.mark.parametrize(
    "before",
    [
        lambda desk: desk.lower.feed(QUERY),  # a second query
        lambda desk: desk.lower.feed(OTHER),
        lambda desk: desk.answer(OTHER),  # an answer from somewhere else, as the real server has it
    ],
)
async def test_after_anything_else_an_answer_is_not_the_end(clock: ClockLoop, before: Callable[[Desk], None]) -> None:
    desk = Desk(QUERY)
    before(desk)
    desk.answer(QUERY)
    desk.answer(QUERY)
    await settle()
    assert not desk.lower.closed


async def test_an_answer_from_port_53_does_not_end_what_began_elsewhere(clock: ClockLoop) -> None:
    desk = Desk(OTHER)
    desk.answer(QUERY)
    assert not desk.lower.closed


async def test_packets_do_no_work_on_timers(clock: ClockLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    timers: list[object] = []
    monkeypatch.setattr(clock, "call_at", lambda *args: timers.append(args))
    for _ in range(100):
        desk.lower.feed(OTHER)
        desk.answer(OTHER)
    assert timers == []


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_the_end_of_the_channel_is_passed_on(clock: ClockLoop, error: Exception | None) -> None:
    desk = Desk()
    desk.lower.lose(error)
    assert desk.sink.error is error
    assert desk.sink.lost.is_set()
    assert desk.over == [desk.association]
    await clock.advance(2 * TIMEOUT)
    assert not desk.lower.closed


async def test_nothing_is_left_of_one_that_was_closed(clock: ClockLoop) -> None:
    desk = Desk()
    desk.association.close()
    assert desk.over
    await settle()
    assert desk.sink.lost.is_set()
    assert [handle for handle in clock._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]
