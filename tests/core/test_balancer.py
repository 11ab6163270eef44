from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from channels import PacketPool, packets
from structlog.testing import capture_logs

from outline_lb.base.dialer import StreamDialer
from outline_lb.base.errors import DialError, OutlineLBError, ProtocolError, Reason, StreamError, TargetError, UpstreamError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.stream import Stream
from outline_lb.datapath.balancer import MAX_PATIENCE, MIN_PATIENCE, Balancer, FlowListeners, Member
from outline_lb.datapath.transport import Endpoint
from outline_lb.datapath.upstream import Upstream
from outline_lb.datapath.way import DirectWay, ServerWay, Way
from outline_lb.selection.health import Health, HealthOptions, State
from outline_lb.selection.policy import Candidate, Outcome, Policy
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.dialers import Dial, FakeDialer
from outline_lb.testing.streams import FakeStream, RecordingSink

pytestmark = pytest.mark.fake_clock

BUDGET = 10.0
REFUSED = UpstreamError("connect", ConnectionRefusedError(111, "refused"))


class Server(Endpoint[Stream]):
    """A server whose connections the test makes."""

    def __init__(self, dialer: FakeDialer) -> None:
        self.dialer: StreamDialer = dialer

    async def connect(self) -> Stream:
        return await self.dialer.dial_stream(fake_flow())


class InOrder(Policy):
    """Takes the first, and keeps account of what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.picked: list[tuple[str, int]] = []
        self.told: list[tuple[str, int, Outcome]] = []

    def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
        self.asked.append(" ".join(candidate.name for candidate in candidates))
        self.picked.append((candidates[0].name, flow.id))
        return candidates[0]

    def done(self, candidate: Candidate, flow: Flow, outcome: Outcome, now: float) -> None:
        self.told.append((candidate.name, flow.id, outcome))

    @property
    def outcomes(self) -> dict[str, str]:
        return {name: outcome.value for name, _, outcome in self.told}


class Pool:
    """A balancer over upstreams a, b, c … whose dials the test answers, and all that it tells."""

    def __init__(self, *tiers: int, direct: bool = False, fail_threshold: int = 2, budget: float = BUDGET) -> None:
        self.dialers: dict[str, FakeDialer] = {}
        self.servers: dict[str, Server] = {}
        self.upstreams: dict[str, Upstream] = {}
        self.policy = InOrder()
        self.opened: list[str] = []
        self.closed: list[tuple[str, int, int, Exception | None]] = []
        self.changes: list[tuple[str, bool, str]] = []
        options = HealthOptions(fail_threshold=fail_threshold)
        members = []
        for name, tier in zip("abcdef", tiers, strict=False):
            self.dialers[name] = FakeDialer()
            self.servers[name] = Server(self.dialers[name])
            health = Health(options)
            way: Way[Any, Any] = DirectWay(health, self.dialers[name].dial_stream)
            if not direct:
                way = ServerWay(health, self.servers[name], lambda stream, _flow: stream)
            self.upstreams[name] = Upstream(name, {Network.TCP: way}, lambda name, _, up, why: self.changes.append((name, up, why)))
            members.append(Member(self.upstreams[name], tier=tier))
        listeners = FlowListeners(
            lambda _, name: self.opened.append(name),
            lambda _, name, sent, received, exc: self.closed.append((name, sent, received, exc)),
        )
        self.balancer = Balancer("pool", members, self.policy, budget, listeners)

    def dial(self, first: bytes = b"", flow: Flow | None = None) -> asyncio.Task[Stream]:
        return asyncio.create_task(self.balancer.dial_stream(flow or fake_flow(), first))

    def health(self, name: str) -> Health:
        return self.upstreams[name].health[Network.TCP]

    def dials(self) -> str:
        """Return who was asked to dial, and how often."""
        return " ".join(name for name, dialer in self.dialers.items() for _ in dialer.dials)

    async def asked(self, name: str, count: int = 1) -> Dial:
        await settle()
        dials = self.dialers[name].dials
        assert len(dials) == count
        return dials[-1]

    async def fails(self, name: str, error: BaseException = REFUSED, count: int = 1) -> None:
        (await self.asked(name, count)).answer.set_exception(error)
        await settle()

    async def answers(self, name: str, count: int = 1) -> FakeStream:
        stream = FakeStream()
        (await self.asked(name, count)).answer.set_result(stream)
        await settle()
        return stream

    def finish(self) -> None:
        """Check that nothing is left: each pick was answered once, no flow counts as active."""
        assert sorted(self.policy.picked) == sorted((name, number) for name, number, _ in self.policy.told)
        assert [upstream.active for upstream in self.upstreams.values()] == [0] * len(self.upstreams)


def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop


async def advance(seconds: float) -> None:
    clock().autojump = False
    await clock().advance(seconds)


async def over(stream: Stream) -> None:
    stream.abort()
    await settle()


# -- one upstream


async def test_the_payload_goes_over_the_stream_that_was_opened() -> None:
    pool = Pool(0)
    flow = pool.dial(b"hello")
    dial = await pool.asked("a")
    assert dial.first == b""
    lower = await pool.answers("a")
    stream = await flow
    assert lower.writes == [b"hello"]
    assert lower.paused
    assert pool.opened == ["a"]
    assert pool.upstreams["a"].active == 1
    await over(stream)
    pool.finish()


async def test_bytes_are_counted_and_told_at_the_end() -> None:
    pool, sink = Pool(0), RecordingSink()
    flow = pool.dial(b"12345")
    lower = await pool.answers("a")
    stream = await flow
    stream.set_sink(sink)
    stream.resume_reading()
    stream.write(b"678")
    stream.room[:2] = b"90"
    stream.commit(2)
    lower.feed(b"answer!")
    assert lower.take() == b"1234567890"
    assert bytes(sink.data) == b"answer!"
    assert pool.closed == []
    lower.feed_eof()
    stream.write_eof()
    lower.lose()
    assert pool.closed == [("a", 10, 7, None)]
    assert sink.events == ["data", "eof", "lost"]
    assert pool.policy.outcomes == {"a": "closed"}
    pool.finish()


async def test_a_stream_that_nobody_took_ends_like_any_other() -> None:
    pool = Pool(0)
    flow = pool.dial()
    lower = await pool.answers("a")
    stream = await flow
    cause = StreamError("gone")
    lower.lose(cause)
    assert pool.closed == [("a", 0, 0, cause)]
    sink = RecordingSink()
    stream.set_sink(sink)
    await settle()
    assert sink.error is cause
    pool.finish()


async def test_opening_is_evidence() -> None:
    pool = Pool(0)
    flow = pool.dial()
    await pool.asked("a")
    await advance(0.5)
    await pool.answers("a")
    assert pool.health("a").latency == pytest.approx(0.5)
    assert pool.changes == [("a", True, "traffic succeeded")]
    await over(await flow)


async def test_a_direct_connection_measures_the_target() -> None:
    pool = Pool(0, direct=True)
    flow = pool.dial()
    await advance(0.5)
    await pool.answers("a")
    assert pool.health("a").latency is None
    assert pool.health("a").state is State.UP
    await over(await flow)


# -- the next one


async def test_a_failure_goes_on_to_the_next_upstream_at_once() -> None:
    pool, before = Pool(0, 0), clock().time()
    flow = pool.dial(b"hello")
    await pool.fails("a")
    lower = await pool.answers("b")
    stream = await flow
    assert clock().time() - before < 0.1
    assert lower.writes == [b"hello"]
    assert pool.opened == ["b"]
    assert pool.policy.asked == ["a b", "b"]
    assert pool.policy.outcomes == {"a": "failed"}
    assert pool.health("a").failures == 1
    assert not pool.health("a").available(clock().time())
    assert [pool.upstreams[name].active for name in "ab"] == [0, 1]
    await over(stream)
    pool.finish()


async def test_all_fail() -> None:
    pool = Pool(0, 0)
    flow = pool.dial()
    await pool.fails("a")
    await pool.fails("b", UpstreamError("upgrade", "503 Service Unavailable"))
    with pytest.raises(UpstreamError) as caught:
        await flow
    assert str(caught.value) == "dial: no upstream could be reached; a: connect: Connection refused; b: upgrade: 503 Service Unavailable"
    assert pool.opened == []
    pool.finish()


async def test_no_upstream_carries_such_traffic() -> None:
    pool = Pool(0)
    with pytest.raises(UpstreamError, match="no upstream could be reached"):
        await pool.balancer.dial_stream(fake_flow(Network.UDP))
    pool.finish()


async def test_trouble_with_the_target_ends_at_once_and_blames_nobody() -> None:
    pool = Pool(0, 0, direct=True)
    flow = pool.dial()
    error = TargetError("connect", ConnectionRefusedError(111, "refused"))
    await pool.fails("a", error)
    with pytest.raises(TargetError) as caught:
        await flow
    assert caught.value is error
    assert pool.dials() == "a"
    assert (pool.health("a").failures, pool.health("a").state) == (0, State.UNKNOWN)
    assert pool.health("a").available(clock().time())
    assert pool.policy.outcomes == {"a": "unused"}
    pool.finish()


async def test_a_dial_that_sent_something_is_not_repeated() -> None:
    pool = Pool(0, 0)
    flow = pool.dial(b"x")
    error = UpstreamError("write", "reset", sent=True)
    await pool.fails("a", error)
    with pytest.raises(UpstreamError) as caught:
        await flow
    assert caught.value is error
    assert pool.dials() == "a"
    pool.finish()


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError(5, "a leak"), TimeoutError(), asyncio.CancelledError()], ids=repr)
async def test_a_dialer_that_breaks_its_contract_is_one_more_failure(error: BaseException) -> None:
    pool = Pool(0, 0)
    flow = pool.dial()
    dial = await pool.asked("a")
    with capture_logs() as logs:
        if isinstance(error, asyncio.CancelledError):
            dial.answer.cancel()
        else:
            dial.answer.set_exception(error)
        await pool.answers("b")
    assert [entry["log_level"] for entry in logs if entry["event"] == "upstream failed a flow"] == ["error"]
    assert pool.health("a").failures == (0 if isinstance(error, asyncio.CancelledError) else 1)
    await over(await flow)
    pool.finish()


async def test_a_plain_dial_error_counts_against_the_upstream() -> None:
    pool = Pool(0, 0)
    flow = pool.dial()
    await pool.fails("a", DialError("connect", "odd"))
    await pool.answers("b")
    assert pool.health("a").failures == 1
    await over(await flow)


# -- the budget


async def test_the_budget_ends_everything() -> None:
    pool = Pool(0, 0, 0)
    flow, before = pool.dial(), clock().time()
    await pool.fails("a")
    with pytest.raises(UpstreamError) as caught:
        await flow
    assert clock().time() - before == pytest.approx(BUDGET, abs=0.1)
    assert str(caught.value) == "dial: no answer within 10 s; a: connect: Connection refused; b: silent; c: silent"
    assert caught.value.reason is Reason.TIMEOUT
    await settle()
    assert all(dial.answer.cancelled() for name in "bc" for dial in pool.dialers[name].dials)
    assert pool.policy.outcomes == {"a": "failed", "b": "unused", "c": "unused"}
    pool.finish()


async def test_a_single_black_hole_is_found_out_by_traffic() -> None:
    pool = Pool(0)
    for failures in (1, 2):
        with pytest.raises(UpstreamError):
            await pool.balancer.dial_stream(fake_flow())
        await settle()
        assert pool.health("a").failures == failures
    assert pool.health("a").state is State.DOWN
    assert pool.changes == [("a", False, "dial: silent for too long")]
    pool.finish()


async def test_after_the_budget_a_late_stream_is_closed() -> None:
    class Stubborn(StreamDialer):
        async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(1)  # too late to stop
            return late

    pool, late = Pool(0), FakeStream()
    pool.servers["a"].dialer = Stubborn()
    with pytest.raises(UpstreamError):
        await pool.balancer.dial_stream(fake_flow())
    await advance(2)
    assert late.calls == ["close"]
    assert late.written == b""
    pool.finish()


# -- hedging


async def test_a_silent_upstream_gets_company() -> None:
    pool = Pool(0, 0)
    flow = pool.dial(b"hello")
    await pool.asked("a")
    await advance(MAX_PATIENCE * 0.99)
    assert pool.dials() == "a"
    await advance(MAX_PATIENCE * 0.02)
    assert pool.dials() == "a b"
    lower = await pool.answers("b")
    stream = await flow
    await settle()
    assert pool.dialers["a"].dials[0].answer.cancelled()
    assert lower.writes == [b"hello"]
    assert pool.health("a").failures == 1
    assert pool.health("a").cooldown_left(clock().time()) == 0  # one lost packet is not worth a cooldown
    assert pool.policy.outcomes == {"a": "unused"}
    await over(stream)
    pool.finish()


@pytest.mark.parametrize(("latency", "patience"), [(0.01, MIN_PATIENCE), (0.2, 0.6), (5.0, MAX_PATIENCE)])
async def test_patience_depends_on_what_is_usual(latency: float, patience: float) -> None:
    pool = Pool(0, 0)
    pool.upstreams["a"].probed(Network.TCP, latency, None)
    flow = pool.dial()
    await pool.asked("a")
    await advance(patience - 0.001)
    assert pool.dials() == "a"
    await advance(0.001)
    assert pool.dials() == "a b"
    await pool.answers("a")
    await over(await flow)


async def test_the_first_one_may_still_win() -> None:
    pool = Pool(0, 0)
    flow = pool.dial(b"hello")
    await pool.asked("a")
    await advance(MAX_PATIENCE + 0.1)
    lower = await pool.answers("a")
    stream = await flow
    await settle()
    assert lower.writes == [b"hello"]
    assert pool.dialers["b"].dials[0].answer.cancelled()
    assert pool.policy.outcomes == {"b": "unused"}
    assert pool.health("b").failures == 0  # it had no time to show what it can
    assert pool.health("a").failures == 0
    await over(stream)
    pool.finish()


async def test_both_answer_in_the_same_moment() -> None:
    pool = Pool(0, 0)
    flow = pool.dial(b"hello")
    await pool.asked("a")
    await advance(MAX_PATIENCE + 0.1)
    one, two = FakeStream(), FakeStream()
    pool.dialers["a"].dials[0].answer.set_result(one)
    pool.dialers["b"].dials[0].answer.set_result(two)
    stream = await flow
    await settle()
    assert sorted((bytes(one.written), bytes(two.written))) == [b"", b"hello"]
    loser = two if one.written else one
    assert loser.calls == ["close"]
    assert pool.health("a").failures == pool.health("b").failures == 0
    await over(stream)
    pool.finish()


async def test_a_failure_and_an_answer_in_the_same_moment() -> None:
    pool = Pool(0, 0, 0)
    flow = pool.dial()
    await pool.asked("a")
    await advance(MAX_PATIENCE + 0.1)
    pool.dialers["b"].dials[0].answer.set_result(FakeStream())
    pool.dialers["a"].dials[0].answer.set_exception(REFUSED)
    stream = await flow
    assert pool.dials() == "a b"
    assert pool.opened == ["b"]
    assert pool.policy.outcomes == {"a": "failed"}
    await over(stream)
    pool.finish()


async def test_all_silent_get_company_one_after_the_other() -> None:
    pool = Pool(0, 0, 0)
    flow = pool.dial()
    await pool.asked("a")
    await advance(MAX_PATIENCE)
    assert pool.dials() == "a b"
    await advance(MAX_PATIENCE)
    assert pool.dials() == "a b c"
    await pool.fails("b")
    await pool.fails("c")
    await pool.answers("a")
    await over(await flow)
    assert pool.opened == ["a"]
    pool.finish()


async def test_a_failure_gives_the_next_one_its_whole_time() -> None:
    pool = Pool(0, 0, 0, 0)
    flow = pool.dial()
    await pool.asked("a")
    await advance(MAX_PATIENCE + 0.5)
    await pool.fails("a")
    assert pool.dials() == "a b c"
    await advance(MAX_PATIENCE - 0.1)
    assert pool.dials() == "a b c"
    await advance(0.1)
    assert pool.dials() == "a b c d"
    await pool.answers("c")
    await over(await flow)
    assert [pool.health(name).failures for name in "abcd"] == [1, 1, 0, 0]
    pool.finish()


async def test_flows_that_wait_together_say_it_once() -> None:
    pool = Pool(0, 0)
    flows = [pool.dial() for _ in range(10)]
    await pool.asked("a", 10)
    await advance(MAX_PATIENCE)
    await pool.asked("b", 10)
    for dial in pool.dialers["b"].dials:
        dial.answer.set_result(FakeStream())
    for flow in flows:
        await over(await flow)
    assert pool.health("a").failures == 1
    assert pool.health("a").state is not State.DOWN
    pool.finish()


async def test_a_silent_target_is_not_a_direct_connections_fault() -> None:
    pool = Pool(0, 0, direct=True)
    flow = pool.dial()
    await pool.asked("a")
    await advance(MAX_PATIENCE)
    await pool.answers("b")
    await over(await flow)
    assert pool.health("a").failures == 0
    pool.finish()


# -- cancelling


@pytest.mark.parametrize("moment", ["at once", "dialling", "hedging", "answered"])
async def test_cancelling_leaves_nothing(moment: str) -> None:
    pool = Pool(0, 0)
    tasks = asyncio.all_tasks()
    flow, late = pool.dial(b"hello"), FakeStream()
    if moment != "at once":
        await pool.asked("a")
    if moment == "hedging":
        await advance(MAX_PATIENCE)
    if moment == "answered":
        pool.dialers["a"].dials[0].answer.set_result(late)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    flow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flow
    await settle()
    assert asyncio.all_tasks() == tasks
    assert all(dial.answer.done() for dialer in pool.dialers.values() for dial in dialer.dials)
    assert late.written == b""
    assert late.calls == (["close"] if moment == "answered" else [])
    assert pool.opened == []
    assert not [handle for handle in clock()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    pool.finish()


async def test_every_moment_of_an_answer_may_be_the_one_of_a_cancellation() -> None:
    for rounds in range(12):
        pool, lower = Pool(0), FakeStream()
        flow = pool.dial(b"hello")
        (await pool.asked("a")).answer.set_result(lower)
        for _ in range(rounds):
            await asyncio.sleep(0)
        if flow.cancel():
            with pytest.raises(asyncio.CancelledError):
                await flow
            await settle()
            assert lower.over
            assert lower.written == b""
        else:
            await over(await flow)
        pool.finish()


async def test_an_impatient_client_is_no_evidence() -> None:
    pool = Pool(0)
    flow = pool.dial()
    await pool.asked("a")
    await advance(MAX_PATIENCE / 2)
    flow.cancel()
    await settle()
    assert pool.health("a").failures == 0
    assert flow.cancelled()


# -- whom to choose from


async def test_the_best_tier_that_is_usable_comes_first() -> None:
    pool = Pool(1, 0, 0, 2)
    flow = pool.dial()
    for name in "bcad":
        await pool.fails(name)
    with pytest.raises(UpstreamError):
        await flow
    assert pool.policy.asked == ["b c", "c", "a", "d"]


async def test_who_is_not_usable_is_left_out() -> None:
    pool = Pool(0, 0, 1)
    pool.upstreams["a"].dialled(Network.TCP, None, REFUSED)
    flow = pool.dial()
    await pool.answers("b")
    assert pool.policy.asked == ["b"]
    await over(await flow)
    pool.upstreams["b"].dialled(Network.TCP, None, REFUSED)
    flow = pool.dial()
    await pool.answers("c")
    assert pool.policy.asked == ["b", "c"]
    await over(await flow)


async def test_when_all_are_down_all_are_tried() -> None:
    pool = Pool(0, 1, fail_threshold=1)
    for upstream in pool.upstreams.values():
        upstream.dialled(Network.TCP, None, REFUSED)
    flow = pool.dial()
    await pool.fails("a")
    await pool.answers("b")
    assert pool.policy.asked == ["a", "b"]
    assert pool.health("b").state is State.UP
    assert pool.health("b").available(clock().time())
    await over(await flow)
    pool.finish()


async def test_a_panic_does_not_prolong_cooldowns() -> None:
    pool = Pool(0, fail_threshold=1)
    for number in range(1, 11):
        flow = pool.dial()
        await pool.fails("a", count=number)
        with pytest.raises(UpstreamError):
            await flow
    assert pool.health("a").cooldown_left(clock().time()) <= 20


async def test_after_a_cooldown_one_flow_tries_and_the_others_go_elsewhere() -> None:
    pool = Pool(0, 0, fail_threshold=1)
    pool.upstreams["a"].dialled(Network.TCP, None, REFUSED)
    pool.upstreams["b"].probed(Network.TCP, 0.1, None)
    await advance(20)
    trial, other = pool.dial(), pool.dial()  # in the same moment
    await pool.asked("a")
    await pool.answers("b")
    await over(await other)
    assert pool.dials() == "a b"
    await pool.answers("a")
    await over(await trial)
    assert pool.health("a").state is State.UP
    again = pool.dial()
    await pool.answers("a", 2)
    await over(await again)
    pool.finish()


async def test_a_trial_that_was_cancelled_does_not_block_the_next() -> None:
    pool = Pool(0, 0, fail_threshold=1)
    pool.upstreams["a"].dialled(Network.TCP, None, REFUSED)
    await advance(20)
    for number in (1, 2):
        trial = pool.dial()
        await pool.asked("a", number)
        trial.cancel()
        await settle()
        assert trial.cancelled()
    trial = pool.dial()
    trial.cancel()  # before its first step
    await settle()
    assert trial.cancelled()
    assert pool.health("a").available(clock().time())
    pool.finish()


async def test_without_probes_a_black_hole_comes_back_by_traffic() -> None:
    pool = Pool(0, 0)
    for number in (1, 2):
        flow = pool.dial()
        await pool.asked("a", number)
        await advance(MAX_PATIENCE)
        await pool.answers("b", number)
        await over(await flow)
    assert pool.health("a").state is State.DOWN
    await advance(19.9)
    flow = pool.dial()
    await pool.answers("b", 3)
    await over(await flow)
    await advance(0.1)
    flow = pool.dial()
    await pool.answers("a", 3)
    await over(await flow)
    assert pool.health("a").latency is not None
    assert pool.changes[-1] == ("a", True, "traffic succeeded")
    pool.finish()


# -- flows in progress


async def carried(pool: Pool) -> tuple[Stream, FakeStream, RecordingSink]:
    flow, sink = pool.dial(), RecordingSink()
    lower = await pool.answers("a", len(pool.dialers["a"].dials) + 1)
    stream = await flow
    stream.set_sink(sink)
    stream.resume_reading()
    return stream, lower, sink


async def test_a_flow_that_the_upstream_cuts_counts_against_it() -> None:
    pool = Pool(0)
    for failures in (1, 2):
        flows = [await carried(pool) for _ in range(failures)]
        for _, lower, sink in flows:
            lower.lose(ProtocolError("bad frame"))
            assert sink.events == ["lost: ProtocolError"]
        assert pool.health("a").failures == failures
    assert pool.changes[-1] == ("a", False, "bad frame")
    pool.finish()


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_a_flow_that_we_end_does_not(end: str) -> None:
    pool = Pool(0)
    stream, lower, _ = await carried(pool)
    if end == "abort":
        stream.abort(StreamError("the application went away"))
    else:
        stream.close()
        lower.over = False
        lower.lose(StreamError("reset while closing"))
    await settle()
    assert pool.health("a").failures == 0
    assert len(pool.closed) == 1
    pool.finish()


async def test_what_the_upstream_does_after_its_clean_end_does_not() -> None:
    pool = Pool(0)
    _, lower, sink = await carried(pool)
    lower.feed_eof()
    lower.lose(ConnectionResetError(104, "reset"))
    assert sink.events == ["eof", "lost: ConnectionResetError"]
    assert pool.health("a").failures == 0
    pool.finish()


async def test_a_reset_by_a_direct_target_does_not() -> None:
    pool = Pool(0, direct=True)
    for _ in range(3):
        _, lower, sink = await carried(pool)
        lower.lose(ConnectionResetError(104, "reset"))
        assert sink.lost.is_set()
    assert (pool.health("a").failures, pool.health("a").state) == (0, State.UP)
    pool.finish()


# -- packets


async def test_what_can_be_carried_is_what_one_member_can() -> None:
    assert Pool(0, 0).balancer.networks == {Network.TCP}
    assert PacketPool("ab").balancer.networks == {Network.UDP}
    assert PacketPool("Ab").balancer.networks == {Network.TCP, Network.UDP}


async def test_a_way_for_packets_is_dialled_and_told_like_a_stream() -> None:
    pool = PacketPool("Ab")
    flow, _ = pool.flow()
    with capture_logs() as log:
        carried = await pool.balancer.carry_packets(flow.flow, flow)
    assert carried.member.name == "b"
    assert pool.opened == ["b"]
    assert pool.changes == [("b", Network.UDP, True)]
    assert [(line["network"], line["upstream"]) for line in log if line["event"] == "flow opened"] == [("udp", "b")]
    carried.send(packets("12", "345"))
    pool.servers["b"].channel.feed(*packets("6"))
    pool.servers["b"].channel.lose()
    assert pool.closed == [("b", 5, 1, None)]


async def test_a_plain_upstream_is_not_known_to_be_up_because_a_way_was_opened() -> None:
    pool = PacketPool("a", answers=False)
    flow, _ = pool.flow()
    await pool.balancer.carry_packets(flow.flow, flow)
    assert (pool.health("a").state, pool.changes) == (State.UNKNOWN, [])
    assert pool.health("a").available(clock().time())
    pool.servers["a"].channel.close()


async def test_an_upstream_for_packets_only_is_not_asked_for_streams() -> None:
    pool = PacketPool("aBc")
    with pytest.raises(UpstreamError) as caught:
        await pool.balancer.dial_stream(fake_flow())
    assert str(caught.value) == "dial: no upstream could be reached; B: connect: no server for streams"
    assert [pool.servers[name].asked for name in "ac"] == [0, 0]


async def test_no_way_for_packets() -> None:
    pool = PacketPool("ab")
    for server in pool.servers.values():
        server.error = REFUSED
    flow, _ = pool.flow()
    with pytest.raises(UpstreamError, match="no upstream could be reached; a: connect: Connection refused; b:"):
        await pool.balancer.carry_packets(flow.flow, flow)
    assert pool.opened == []
    assert pool.balancer.dialling == 0


@pytest.mark.parametrize(
    ("a", "b", "leaves"),
    [
        *(("up", "up", False), ("failed once", "up", False), ("unknown", "up", False)),
        *(("down", "up", True), ("down", "unknown", True), ("down", "down", False), ("down", "cooling", False)),
        *(("cooling", "up", True), ("cooling", "down", False)),
        *(("half-open", "up", False), ("half-open", "half-open", False), ("down", "half-open", True)),
    ],
)
async def test_a_flow_leaves_an_upstream_that_is_no_good_for_one_that_may_be(a: str, b: str, leaves: bool) -> None:
    pool = PacketPool("ab")
    flow, _ = pool.flow()
    carried = await pool.balancer.carry_packets(flow.flow, flow)
    for name, state in (("a", a), ("b", b)):
        if state == "half-open":
            pool.goes_down(name)
    await advance(25)
    for name, state in (("a", a), ("b", b)):
        upstream = pool.upstreams[name]
        if state == "up":
            upstream.probed(Network.UDP, 0.1, None)
        elif state == "failed once":
            upstream.probed(Network.UDP, None, REFUSED)
        elif state == "down":
            pool.goes_down(name)
        elif state == "cooling":
            upstream.dialled(Network.UDP, None, REFUSED)
    assert carried.should_leave() is leaves
    carried.close()


async def test_streams_of_an_upstream_that_is_down_say_nothing_about_its_packets() -> None:
    pool = PacketPool("aB")
    flow, _ = pool.flow()
    carried = await pool.balancer.carry_packets(flow.flow, flow)
    pool.goes_down("a")
    assert not carried.should_leave(), "the other one is for streams only"
    carried.close()


# -- what is left


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("how", ["success", "refused", "target", "cancelled", "silent"])
async def test_no_reference_circle_holds_a_flow(without_gc: None, how: str) -> None:
    class Watched:
        """In the place of the payload's owner: held by the frame that awaits the dial."""

    async def run(owner: Watched) -> None:
        try:
            stream = await pool.balancer.dial_stream(fake_flow())
        except OutlineLBError:
            assert how in {"refused", "target", "silent"}
        else:
            stream.abort()

    pool, owner = Pool(0), Watched()
    gone = weakref.ref(owner)
    task = asyncio.create_task(run(owner))
    del owner
    dial = await pool.asked("a")
    if how == "success":
        dial.answer.set_result(FakeStream())
    elif how == "refused":
        dial.answer.set_exception(UpstreamError("connect", "refused"))
    elif how == "target":
        dial.answer.set_exception(TargetError("connect", "refused"))
    elif how == "cancelled":
        task.cancel()
    elif how == "silent":
        await advance(BUDGET)
    await settle()
    assert task.done()
    pool.dialers["a"].dials.clear()
    del task, dial
    await settle()
    assert gone() is None


async def test_members_are_live_views() -> None:
    pool = Pool(0)
    member = Member(pool.upstreams["a"], weight=2.5, tier=1, interval=5.0)
    assert (member.name, member.weight, member.tier, member.active, member.check_interval()) == ("a", 2.5, 1, 0, 5.0)
    assert (member.latency(Network.TCP), member.failures(Network.TCP), member.checked(Network.TCP)) == (None, 0, None)
    pool.upstreams["a"].probed(Network.TCP, 0.25, None)
    assert (member.latency(Network.TCP), member.checked(Network.TCP)) == (0.25, clock().time())
    assert repr(member) == "<Member a>"
