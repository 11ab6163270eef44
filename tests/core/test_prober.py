from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.base.errors import DialError, Reason, TargetError, UpstreamError
from outline_lb.base.flow import Network
from outline_lb.datapath.upstream import Upstream
from outline_lb.monitoring.probe import Probe
from outline_lb.monitoring.prober import Finding, Prober
from outline_lb.testing.clock import ClockLoop
from outline_lb.testing.upstreams import fake_upstream

pytestmark = pytest.mark.fake_clock

TIMEOUT = 3.0
REFUSED = UpstreamError("connect", "refused")
STUCK = Finding(doubtful="the event loop was stuck")


class Says(Probe):
    """Gives one answer, after some seconds; `calls` counts."""

    def __init__(self, answer: float | BaseException | None, after: float = 0.0, then: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._after = after
        self._then = then
        self.calls = 0

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        self.calls += 1
        await asyncio.sleep(self._after)
        self._then()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


async def run(*probes: Probe) -> Finding:
    return await Prober(probes, TIMEOUT).run(fake_upstream(None), Network.TCP)


def block(seconds: float) -> None:
    cast(ClockLoop, asyncio.get_running_loop()).now += seconds


async def test_the_time_is_that_of_the_last_probe_that_measured() -> None:
    assert await run(Says(0.1)) == Finding(works=True, seconds=0.1)
    assert await run(Says(0.1), Says(0.3), Says(None)) == Finding(works=True, seconds=0.3)


async def test_all_must_succeed_and_the_first_failure_ends_the_round() -> None:
    after = Says(0.1)
    assert await run(Says(0.1), Says(REFUSED), after) == Finding(works=False, error=REFUSED)
    assert not after.calls


async def test_where_all_say_nothing_there_is_no_evidence() -> None:
    assert await run(Says(None), Says(None)) == Finding()
    assert await run() == Finding()


async def test_each_probe_has_its_own_time_limit() -> None:
    assert await run(Says(0.1, after=2.9), Says(0.2, after=2.9)) == Finding(works=True, seconds=0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    finding = await run(Says(0.1, after=3.1))
    assert loop.time() - started == pytest.approx(TIMEOUT)
    assert finding.works is False
    assert finding.error is not None
    assert finding.error.reason is Reason.TIMEOUT
    assert str(finding.error) == "probe: no answer within 3.00s"


async def test_a_timeout_of_the_probe_itself_is_a_failure() -> None:
    assert (await run(Says(TimeoutError()))).works is False


async def test_any_dial_error_is_a_failure() -> None:
    error = DialError("resolve", "no such name")
    assert await run(Says(error)) == Finding(works=False, error=error)


async def test_the_upstream_is_not_to_blame_for_the_probes_own_target() -> None:
    with capture_logs() as log:
        assert await run(Says(0.1), Says(TargetError("connect", "refused"))) == Finding(works=True, seconds=0.1)
    assert [line["error"] for line in log] == ["connect: refused"]


@pytest.mark.parametrize("error", [RuntimeError("oops"), asyncio.CancelledError(), ConnectionResetError()])
async def test_a_broken_probe_says_nothing_and_is_reported_once(error: BaseException) -> None:
    prober, upstream = Prober([Says(error), Says(0.2)], TIMEOUT), fake_upstream(None)
    with capture_logs() as log:
        findings = [await prober.run(upstream, network) for network in (Network.TCP, Network.UDP)]
    assert findings == [Finding(works=True, seconds=0.2)] * 2
    [line] = log
    assert line["log_level"] == "warning"
    assert line["probe"].endswith("test_prober.Says")
    assert type(error).__name__ in line["error"]


async def test_cancelling_the_round_is_not_taken_for_a_broken_probe() -> None:
    with anyio.move_on_after(1) as scope, capture_logs() as log:
        await run(Says(0.1, after=2))
        raise AssertionError
    assert scope.cancelled_caught
    assert not log


async def test_a_failure_while_the_loop_was_stuck_is_doubtful() -> None:
    assert await run(Says(0.1, after=1, then=lambda: block(5)), Says(REFUSED, after=0.1)) == Finding(works=False, error=REFUSED)
    assert await run(Says(REFUSED, after=1, then=lambda: block(1))) == STUCK


async def test_a_time_limit_that_passed_while_the_loop_was_stuck_is_doubtful() -> None:
    async def stuck() -> None:
        await asyncio.sleep(0.5)
        block(20)

    task = asyncio.create_task(stuck())
    assert await run(Says(0.1, after=4)) == STUCK
    await task


async def test_a_success_while_the_loop_was_stuck_counts_without_its_time() -> None:
    assert await run(Says(2.0, after=0.1, then=lambda: block(2))) == Finding(works=True, seconds=None)


async def test_a_little_lag_changes_nothing() -> None:
    assert await run(Says(REFUSED, after=1, then=lambda: block(0.5))) == Finding(works=False, error=REFUSED)


class Moving:
    """A flow."""

    received = 0

    def keep_alive(self, doubt: bool = False) -> None: ...
    def leave(self) -> None: ...


async def test_no_answer_while_bytes_come_over_the_same_upstream_is_doubtful() -> None:
    upstream, flow, later = fake_upstream(None), Moving(), Says(0.1)
    upstream.ways[Network.TCP].carried.add(flow)

    async def move() -> None:
        await asyncio.sleep(1)
        flow.received += 1000

    task = asyncio.create_task(move())
    assert await Prober([Says(0.1, after=4), later], TIMEOUT).run(upstream, Network.TCP) == Finding(doubtful="flows were moving: the way is full")
    assert not later.calls
    assert (await Prober([Says(0.1, after=4)], TIMEOUT).run(upstream, Network.TCP)).works is False  # nothing moved this time
    await task


@pytest.mark.parametrize("network", Network)
async def test_bytes_of_one_kind_of_traffic_are_no_excuse_for_the_other(network: Network) -> None:
    upstream, flow = fake_upstream(None), Moving()
    upstream.ways[network].carried.add(flow)

    def move() -> None:
        flow.received += 1000

    for probed in Network:
        asyncio.get_running_loop().call_later(1, move)
        finding = await Prober([Says(0.1, after=4)], TIMEOUT).run(upstream, probed)
        assert bool(finding.doubtful) is (probed is network)
        assert (finding.works is False) is (probed is not network)


async def test_a_refusal_counts_whatever_moves() -> None:
    upstream, flow = fake_upstream(None), Moving()
    upstream.ways[Network.TCP].carried.add(flow)

    def move() -> None:
        flow.received += 1000

    assert (await Prober([Says(REFUSED, after=1, then=move)], TIMEOUT).run(upstream, Network.TCP)).works is False
