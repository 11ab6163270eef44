from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import pytest
from channels import REFUSED, PacketPool, SlowChannel, packets
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.errors import GoingAwayError, StreamError, TruncatedError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet
from outline_lb.datapath.packet_flow import FRUITLESS, MAX_WAITING, PAUSE, PacketFlow
from outline_lb.selection.health import State
from outline_lb.selection.policy import Candidate, Policy
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import ClockLoop, run_on_clock, settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink

pytestmark = pytest.mark.fake_clock

CUT = StreamError("the server closed the WebSocket with 1011")


async def advance(seconds: float) -> None:
    clock = cast(ClockLoop, asyncio.get_running_loop())
    clock.autojump = False
    await clock.advance(seconds)


async def begun(pool: PacketPool, server: str = "a") -> tuple[PacketFlow, RecordingPacketSink[Packet], FakeChannel[Packet]]:
    """Return a flow with a way, over which a question and an answer went."""
    flow, sink = pool.flow()
    flow.send(packets("question"))
    await settle()
    channel = pool.servers[server].channel
    channel.feed(*packets("answer"))
    return flow, sink, channel


# -- opening


async def test_a_way_is_opened_with_the_first_packet_and_what_waited_goes_in_order() -> None:
    pool = PacketPool()
    flow, sink = pool.flow()
    await settle()
    assert pool.servers["a"].asked == 0
    flow.send(packets("one", "two"))
    flow.send(packets("three"))
    await settle()
    channel = pool.servers["a"].channel
    assert channel.batches == [packets("one", "two", "three")]
    flow.send(packets("four"))
    channel.feed(*packets("answer", "another"))
    assert channel.batches[1:] == [packets("four")]
    assert sink.batches == [packets("answer", "another")]
    assert (pool.servers["a"].asked, pool.servers["b"].asked, pool.opened) == (1, 0, ["a"])
    flow.close()


async def test_what_waits_is_bounded_and_the_rest_is_counted() -> None:
    pool = PacketPool("a")
    pool.servers["a"].ready.clear()
    flow, _ = pool.flow()
    for _ in range(10):
        flow.send([*packets("x" * 30_000), *packets("y" * 40_000)])
    pool.servers["a"].ready.set()
    await settle()
    sent = pool.servers["a"].channel.sent
    size = sum(len(packet.data) for packet in sent)
    assert MAX_WAITING - 30_000 < size <= MAX_WAITING
    assert pool.balancer.drops.counts == {"too much before a way was open": 20 - len(sent)}
    assert pool.servers["a"].asked == 1
    flow.close()


async def test_empty_packets_that_wait_are_bounded_too() -> None:
    pool = PacketPool("a")
    pool.servers["a"].ready.clear()
    flow, _ = pool.flow()
    flow.send(packets("") * 100_000)
    pool.servers["a"].ready.set()
    await settle()
    sent = len(pool.servers["a"].channel.sent)
    assert 1000 < sent < 10_000
    assert pool.balancer.drops.counts == {"too much before a way was open": 100_000 - sent}
    flow.close()


async def test_what_waited_counts_no_more_when_it_was_sent() -> None:
    pool = PacketPool("a")
    flow, _ = pool.flow()
    for _ in range(3):
        pool.servers["a"].ready.clear()
        flow.send(packets(*["x" * 60_000] * 8))
        pool.servers["a"].ready.set()
        await settle()
        assert len(pool.servers["a"].channel.sent) == 8
        pool.servers["a"].channel.feed(*packets("answer"))
        pool.servers["a"].channel.lose()
    assert not pool.balancer.drops.counts


async def test_nothing_opens_so_packets_are_dropped_and_it_is_tried_again_after_a_pause() -> None:
    pool = PacketPool()
    for server in pool.servers.values():
        server.error = REFUSED
    flow, _ = pool.flow()
    with capture_logs() as log:
        flow.send(packets("one", "two"))
        await advance(0)
        for _ in range(10):
            flow.send(packets("more"))
            await advance(PAUSE / 20)
        assert [server.asked for server in pool.servers.values()] == [1, 1], "no storm of dials"
        await advance(PAUSE)
        flow.send(packets("again"))
        await advance(0)
        assert [server.asked for server in pool.servers.values()] == [2, 2]
    assert pool.balancer.drops.counts == {"no upstream carries it": 13}
    assert [line["event"] for line in log].count("flow failed") == 2, "once for each try, and not for each packet"
    assert [line["event"] for line in log].count("packets dropped") == 1
    pool.servers["a"].error = None
    await advance(PAUSE)
    flow.send(packets("at last"))
    await settle()
    assert pool.servers["a"].channel.sent == packets("at last")
    flow.close()


@pytest.mark.parametrize("whose", ["transport", "policy"])
async def test_a_defect_of_a_plugin_ends_the_attempt_and_no_more(whose: str) -> None:
    class Broken(Policy):
        def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
            raise ZeroDivisionError("a defect")

    pool = PacketPool("a")
    if whose == "transport":
        pool.servers["a"].error = ZeroDivisionError("a defect")
    else:
        pool.balancer = pool.over(pool.upstreams.values(), Broken())
    flow, _ = pool.flow()
    with capture_logs() as log:
        flow.send(packets("one"))
        await advance(0)
    assert "error" in {line["log_level"] for line in log}
    pool.servers["a"].error = None
    pool.balancer = pool.over(pool.upstreams.values())
    await advance(PAUSE)
    flow.send(packets("two"))
    await settle()
    assert pool.servers["a"].channel.sent == packets("two")


async def test_the_next_upstream_is_taken_when_the_first_one_fails() -> None:
    pool = PacketPool()
    pool.servers["a"].error = REFUSED
    flow, _ = pool.flow()
    flow.send(packets("one"))
    await settle()
    assert pool.servers["b"].channel.sent == packets("one")
    assert pool.health("a").failures == 1


async def test_an_upstream_for_streams_only_is_not_asked_for_packets() -> None:
    pool = PacketPool("Ab")
    flow, _ = pool.flow()
    flow.send(packets("one"))
    await settle()
    assert pool.servers["b"].channel.sent == packets("one")
    only_streams = PacketPool("A")
    flow, _ = only_streams.flow()
    flow.send(packets("one"))
    await settle()
    assert only_streams.balancer.drops.counts == {"no upstream carries it": 1}


# -- the end of a way


QUERY: Final = Packet(Address("192.0.2.53", 53), b"query")
ANSWER: Final = Packet(Address("192.0.2.54", 53), b"answer")


async def test_with_the_answer_to_a_lone_query_the_way_is_left_as_the_server_leaves_it() -> None:
    pool = PacketPool("a")
    flow, sink = pool.flow()
    flow.send([QUERY])
    await settle()
    pool.servers["a"].channel.feed(ANSWER)
    assert sink.packets == [ANSWER]
    assert pool.servers["a"].channel.closed
    flow.send([QUERY])
    await settle()
    assert [channel.sent for channel in pool.servers["a"].channels] == [[QUERY], [QUERY]]
    assert pool.health("a").failures == 0
    flow.close()
    await settle()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [([[QUERY], [QUERY]], ANSWER), ([[QUERY, QUERY]], ANSWER), ([packets("1")], ANSWER), ([[QUERY]], packets("not from a name server")[0])],
)
async def test_after_anything_else_it_stays(sent: list[list[Packet]], answer: Packet) -> None:
    pool = PacketPool("a")
    flow, sink = pool.flow()
    for batch in sent:
        flow.send(batch)
        await settle()
    pool.servers["a"].channel.feed(answer)
    assert sink.packets == [answer]
    assert not pool.servers["a"].channel.closed
    flow.close()
    await settle()


async def test_after_a_clean_end_the_next_packet_opens_another_way_and_nobody_is_blamed() -> None:
    pool = PacketPool()
    flow, sink, first = await begun(pool)
    before = pool.health("a").failures, pool.health("a").state
    first.lose(None)
    await advance(600)
    assert pool.servers["a"].asked == 1, "nothing is opened before there is something to send"
    flow.send(packets("again"))
    await settle()
    second = pool.servers["a"].channel
    assert second is not first
    assert second.sent == packets("again")
    second.feed(*packets("yes"))
    assert sink.packets == packets("answer", "yes")
    assert (pool.health("a").failures, pool.health("a").state) == before == (0, State.UP)
    assert not sink.lost.is_set()
    flow.close()


async def test_an_end_with_a_cause_is_evidence_and_the_next_packets_go_elsewhere() -> None:
    pool = PacketPool()
    flow, sink, channel = await begun(pool)
    channel.lose(GoingAwayError("1012"))
    assert pool.health("a").failures == 1
    flow.send(packets("again"))
    await settle()
    assert pool.servers["b"].channel.sent == packets("again")
    assert not sink.lost.is_set()
    assert pool.closed == [("a", 8, 6, channel._cause)]


async def test_a_cut_without_a_word_is_a_doubt_and_the_next_packet_opens_again() -> None:
    pool = PacketPool()
    flow, _, channel = await begun(pool)
    channel.lose(TruncatedError("no Close"))
    assert (pool.health("a").failures, pool.health("a").doubted) == (0, True)
    flow.send(packets("again"))
    await settle()
    assert pool.servers["a"].channel.sent == packets("again")


async def test_breaking_one_flow_after_the_other_sends_the_next_ones_elsewhere() -> None:
    pool = PacketPool()
    flow, _ = pool.flow()
    for number in (1, 2):
        flow.send(packets("question"))
        await settle()
        assert pool.servers["a"].asked == number
        pool.servers["a"].channel.lose(CUT)
    flow.send(packets("again"))
    await settle()
    assert pool.servers["b"].channel.sent == packets("again")


@pytest.mark.parametrize("cause", [None, CUT])
async def test_a_server_that_takes_ways_and_ends_them_at_once_is_not_asked_for_each_packet(cause: Exception | None) -> None:
    pool = PacketPool("a")
    flow, _ = pool.flow()
    for _ in range(100):
        flow.send(packets("question"))
        await advance(0.01)
        if not pool.servers["a"].channel.over:
            pool.servers["a"].channel.lose(cause)
    assert pool.servers["a"].asked == FRUITLESS
    await advance(PAUSE)
    flow.send(packets("question"))
    await advance(0)
    assert pool.servers["a"].asked == FRUITLESS + 1
    pool.servers["a"].channel.feed(*packets(""))  # something came, though it was empty
    pool.servers["a"].channel.lose()
    flow.send(packets("question"))
    await settle()
    assert pool.servers["a"].asked == FRUITLESS + 2


# -- an upstream that is down


async def test_when_the_upstream_is_down_and_another_one_is_up_the_next_packet_goes_there_at_once() -> None:
    pool = PacketPool()
    flow, sink, old = await begun(pool)
    pool.goes_down("a")
    flow.send(packets("more"))
    await settle()
    new = pool.servers["b"].channel
    assert old.closed
    assert old.sent == packets("question")
    assert new.sent == packets("more")
    new.feed(*packets("from b"))
    assert sink.packets == packets("answer", "from b")
    assert pool.closed == [("a", 8, 6, None)]
    assert not sink.lost.is_set()
    assert pool.health("a").failures == 2, "leaving is no evidence"


async def test_late_packets_of_a_way_that_was_left_are_not_delivered() -> None:
    pool = PacketPool()
    pool.servers["a"].kind = SlowChannel
    flow, sink = pool.flow()
    flow.send(packets("question"))
    await settle()
    pool.goes_down("a")
    flow.send(packets("more"))
    await settle()
    old, new = pool.servers["a"].channel, pool.servers["b"].channel
    assert old.closed
    old.feed(*packets("late"))
    assert sink.packets == []
    pool.upstreams["a"].close()  # has it leave once more
    flow.send(packets("and more"))
    assert new.sent == packets("more", "and more")
    flow.close()
    await settle()
    assert not sink.lost.is_set(), "one of its ways is not over"
    old.lose(CUT)
    assert sink.lost.is_set()
    assert pool.health("a").failures == 2, "how it ends is no evidence"
    assert pool.closed == [("b", 12, 0, None), ("a", 8, 0, CUT)]


async def test_one_upstream_that_is_down_is_still_used() -> None:
    pool = PacketPool("aB")
    flow, _, channel = await begun(pool)
    pool.goes_down("a")
    flow.send(packets("more"))
    assert channel.sent == packets("question", "more")
    channel.lose()
    flow.send(packets("again"))
    await settle()
    assert pool.servers["a"].channel.sent == packets("again")


async def test_with_all_upstreams_down_a_flow_does_not_go_to_and_fro() -> None:
    pool = PacketPool(answers=False)
    flow, _, _ = await begun(pool)
    for name in "ab":
        pool.goes_down(name)
    flow.send(packets("more"))
    assert pool.servers["a"].asked == 1
    await advance(30)  # both may be tried again
    for _ in range(10):
        flow.send(packets("more"))
        await settle()
    assert (pool.servers["a"].asked, pool.servers["b"].asked) == (1, 0)


async def test_a_flow_that_tries_an_upstream_again_stays_until_there_is_evidence() -> None:
    pool = PacketPool(answers=False)
    pool.goes_down("a")
    await advance(21)
    flow, _ = pool.flow()
    for _ in range(3):
        flow.send(packets("question"))
        await settle()
    assert (pool.servers["a"].asked, pool.servers["b"].asked) == (1, 0)
    pool.upstreams["a"].probed(Network.UDP, None, REFUSED)
    flow.send(packets("question"))
    await settle()
    assert pool.servers["b"].channel.sent == packets("question")


async def test_where_opening_shows_nothing_the_first_answer_shows_that_the_server_is_there() -> None:
    pool = PacketPool("a", answers=False)
    pool.goes_down("a")
    flow, _ = pool.flow()
    flow.send(packets("question"))
    await settle()
    assert pool.health("a").state is State.DOWN
    pool.servers["a"].channel.feed(*packets("answer"))
    assert pool.health("a").state is State.UP
    assert pool.health("a").latency is None, "the target's time is not the server's"
    assert pool.changes == [("a", Network.UDP, False), ("a", Network.UDP, True)]
    pool.goes_down("a")
    pool.servers["a"].channel.feed(*packets("answer"))
    assert pool.health("a").state is State.DOWN, "once for each way"


# -- a removed upstream


@pytest.mark.parametrize("sends", ["at once", "later"])
async def test_a_removed_upstream_is_left_and_the_next_packet_goes_over_the_new_balancer(sends: str) -> None:
    pool = PacketPool()
    flow, sink, old = await begun(pool)
    pool.balancer = pool.over([pool.upstreams["b"]])
    flow.send(packets("still"))
    assert old.sent == packets("question", "still"), "another balancer alone is no reason to leave"
    pool.upstreams["a"].close()
    assert old.closed
    if sends == "at once":
        flow.send(packets("more"))
    await settle()
    assert pool.upstreams["a"].active == 0
    if sends == "later":
        assert pool.servers["b"].asked == 0
        flow.send(packets("more"))
        await settle()
    assert pool.servers["b"].channel.sent == packets("more")
    assert not sink.lost.is_set()


# -- closing


async def test_a_flow_that_was_closed_is_over_when_its_way_is() -> None:
    pool = PacketPool()
    flow, sink, channel = await begun(pool)
    flow.close()
    flow.close()
    assert channel.closed
    assert not sink.lost.is_set(), "only from the loop"
    flow.send(packets("late"))
    assert pool.closed == []
    await settle()
    assert (sink.lost.is_set(), sink.error) == (True, None)
    assert channel.sent == packets("question")
    assert pool.closed == [("a", 8, 6, None)]
    assert pool.upstreams["a"].active == 0


async def test_a_flow_is_not_over_before_its_way_is() -> None:
    pool = PacketPool()
    pool.servers["a"].kind = SlowChannel
    flow, first = pool.flow()
    flow.send(packets("question"))
    await settle()
    channel = pool.servers["a"].channel
    flow.close()
    await settle()
    assert channel.closed
    assert not first.lost.is_set()
    flow.set_sink(second := RecordingPacketSink[Packet]())
    channel.feed(*packets("late"))
    await settle()
    assert not second.lost.is_set()
    channel.lose()
    assert (first.lost.is_set(), second.lost.is_set(), second.packets) == (False, True, [])


@pytest.mark.parametrize("moment", ["at once", "opening", "opened"])
async def test_closing_while_a_way_is_opened_leaves_nothing(moment: str) -> None:
    pool = PacketPool()
    server, tasks = pool.servers["a"], asyncio.all_tasks()
    server.ready.clear()
    flow, sink = pool.flow()
    flow.send(packets("one", "two"))
    if moment != "at once":
        await settle()
        assert server.waiting == 1
    if moment == "opened":
        server.ready.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    flow.close()
    await settle()
    assert asyncio.all_tasks() == tasks
    assert server.waiting == 0
    assert [(channel.closed, channel.sent) for channel in server.channels] == ([(True, [])] if moment == "opened" else [])
    assert pool.balancer.drops.counts == {"the flow was closed before a way was open": 2}
    assert (pool.opened, pool.closed) == ([], [])
    assert sink.lost.is_set()


async def test_every_moment_of_an_opening_may_be_the_one_of_the_end() -> None:
    for rounds in range(12):
        pool = PacketPool("a")
        flow, sink = pool.flow()
        flow.send(packets("one"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        flow.close()
        await settle()
        assert sink.lost.is_set()
        assert all(channel.closed for channel in pool.servers["a"].channels)
        assert len(pool.opened) == len(pool.closed)
        assert pool.upstreams["a"].active == 0


async def test_a_flow_without_any_packets_ends_too() -> None:
    flow, sink = PacketPool().flow()
    flow.close()
    assert not sink.lost.is_set()
    await settle()
    assert sink.lost.is_set()


async def test_a_sink_that_comes_after_the_end_is_told() -> None:
    flow, first = PacketPool().flow()
    flow.close()
    second, third = RecordingPacketSink[Packet](), RecordingPacketSink[Packet]()
    flow.set_sink(second)  # in the place of the first one, before that was told
    await settle()
    flow.set_sink(third)
    await settle()
    assert [sink.lost.is_set() for sink in (first, second, third)] == [False, True, True]


@pytest.mark.parametrize("call", ["send", "close"])
async def test_a_sink_may_send_and_close_while_it_is_told(call: str) -> None:
    class Lively(RecordingPacketSink[Packet]):
        def packets_received(self, packets: list[Packet]) -> None:
            super().packets_received(packets)
            flow.send(packets) if call == "send" else flow.close()

    pool = PacketPool()
    flow, _ = pool.flow()
    flow.set_sink(sink := Lively())
    flow.send(packets("question"))
    await settle()
    channel = pool.servers["a"].channel
    channel.feed(*packets("ping"))
    channel.feed(*packets("pong"))
    await settle()
    if call == "send":
        assert channel.sent == packets("question", "ping", "pong")
    else:
        assert (sink.packets, sink.lost.is_set()) == (packets("ping"), True)


async def test_a_sink_may_send_after_the_upstream_went_down_while_it_is_told() -> None:
    class Lively(RecordingPacketSink[Packet]):
        def packets_received(self, packets: list[Packet]) -> None:
            super().packets_received(packets)
            flow.send(packets)

    pool = PacketPool()
    flow, _ = pool.flow()
    flow.set_sink(sink := Lively())
    flow.send(packets("question"))
    await settle()
    pool.goes_down("a")
    pool.servers["a"].channel.feed(*packets("ping"))
    await settle()
    assert pool.servers["b"].channel.sent == sink.packets == packets("ping")
    flow.close()


# -- who hears


async def test_listeners_hear_of_each_way_with_its_bytes() -> None:
    pool = PacketPool()
    flow, _, first = await begun(pool)
    first.lose()
    flow.send(packets("12", "345"))
    await settle()
    second = pool.servers["a"].channel
    second.feed(*packets("1", "2", "3"))
    second.lose(CUT)
    assert pool.opened == ["a", "a"]
    assert pool.closed == [("a", 8, 6, None), ("a", 5, 3, CUT)]


async def test_a_way_counts_as_a_flow_of_its_upstream_and_its_bytes_as_moving() -> None:
    pool = PacketPool()
    _, _, channel = await begun(pool)
    upstream = pool.upstreams["a"]
    assert (upstream.active, upstream.ways[Network.UDP].received) == (1, 6)
    for carried in upstream.ways[Network.UDP].carried:
        carried.keep_alive(doubt=True)
    assert channel.kept_alive == [True]
    channel.lose()
    assert (upstream.active, upstream.ways[Network.UDP].received) == (0, 0)


# -- whatever happens


class Story:
    """One flow to which anything may happen, and an account of its packets."""

    def __init__(self) -> None:
        self.pool = PacketPool("abC")
        self.flow, self.sink = self.pool.flow()
        self.sent = 0
        self.fed = 0

    def do(self, what: str) -> None:
        """Let one thing happen."""
        verb, _, name = what.partition(" ")
        if verb == "send":
            self.flow.send(packets(str(self.sent), str(self.sent + 1)))
            self.sent += 2
        elif verb == "close":
            self.flow.close()
        elif verb == "fail":
            self.pool.servers[name].error = REFUSED
        elif verb == "mend":
            self.pool.servers[name].error = None
        elif verb == "down":
            self.pool.goes_down(name)
        elif verb == "up":
            self.pool.upstreams[name].probed(Network.UDP, 0.1, None)
        elif verb == "remove":
            self.pool.upstreams[name].close()
        elif verb == "slow":
            self.pool.servers[name].ready.clear()
        elif verb == "fast":
            self.pool.servers[name].ready.set()
        else:
            self._channel(verb, name)

    def _channel(self, verb: str, name: str) -> None:
        """Let something happen to the last channel."""
        for channel in self.pool.servers[name].channels[-1:]:
            if verb == "answer":
                channel.feed(*packets("answer"))
            else:
                channel.lose({"end": None, "break": CUT, "cut": ConnectionResetError()}[verb])

    async def finish(self) -> None:
        """Check the account."""
        for server in self.pool.servers.values():
            server.ready.set()
        await settle()
        self.flow.close()
        await settle()
        assert self.sink.lost.is_set()
        channels = [channel for server in self.pool.servers.values() for channel in server.channels]
        assert all(channel.over for channel in channels)
        carried = sorted(int(packet.data) for channel in channels for packet in channel.sent)
        assert len(carried) == len(set(carried)), "none twice"
        assert all(batch == sorted(batch, key=lambda packet: int(packet.data)) for channel in channels for batch in channel.batches)
        assert len(carried) + self.pool.balancer.drops.counts.total() + self.ignored == self.sent
        used = [channel for channel in channels if channel.batches]  # not those of two that were opened at a time, and came second
        assert len(self.pool.opened) == len(self.pool.closed) == len(used)
        assert sum(sent for _, sent, _, _ in self.pool.closed) == sum(len(packet.data) for channel in channels for packet in channel.sent)
        assert [upstream.active for upstream in self.pool.upstreams.values()] == [0, 0, 0]

    ignored = 0  # sent after the end


VERBS = ["answer", "end", "break", "cut", "fail", "mend", "down", "up", "remove", "slow", "fast"]
THINGS = ["send"] * 6 + [f"{verb} {name}" for verb in VERBS for name in "ab"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(THINGS), st.sampled_from([None, 0.0, 0.3, 3.0, 30.0])), max_size=40), st.integers(0, 40))
def test_each_packet_goes_once_or_is_counted_and_nothing_is_left(story: list[tuple[str, float | None]], end: int) -> None:
    async def run() -> None:
        told = Story()
        tasks = asyncio.all_tasks()
        for number, (what, pause) in enumerate(story):
            if number == end:
                before = told.sent
                told.do("close")
            told.do(what)
            if pause is not None:
                await advance(pause)
        told.ignored = told.sent - before if len(story) > end else 0
        await told.finish()
        assert asyncio.all_tasks() == tasks

    run_on_clock(run)


# -- what is left


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Watched(PacketFlow):
    """Can be watched disappearing."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("how", ["unused", "carried", "refused", "opening", "left", "lost"])
@pytest.mark.usefixtures("without_gc")
async def test_nothing_is_left_for_the_collector(how: str) -> None:
    class Owner(RecordingPacketSink[Packet]):
        def __init__(self, flow: PacketFlow) -> None:
            super().__init__()
            self.flow = flow

    pool = PacketPool()
    flow = Watched(fake_flow(Network.UDP), lambda: pool.balancer)
    flow.set_sink(Owner(flow))
    if how == "refused":
        pool.servers["a"].error = pool.servers["b"].error = REFUSED
    if how == "opening":
        pool.servers["a"].ready.clear()
    if how != "unused":
        flow.send(packets("question"))
        await settle()
    if how == "left":
        pool.goes_down("a")
        flow.send(packets("more"))
        await settle()
    if how == "lost":
        pool.servers["a"].channel.lose(CUT)
    pool.servers["a"].channels.clear()
    pool.servers["b"].channels.clear()
    pool.servers["a"].error = pool.servers["b"].error = None
    pool.closed.clear()
    REFUSED.__traceback__ = None
    flow.close()
    await settle()
    gone: Any = weakref.ref(flow)
    del flow
    assert gone() is None
