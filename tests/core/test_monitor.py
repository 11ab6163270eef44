from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import cast

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.base.errors import UpstreamError
from outline_lb.base.flow import Network
from outline_lb.datapath.upstream import Upstream
from outline_lb.monitoring import monitor as module
from outline_lb.monitoring.monitor import PARALLEL, Monitor
from outline_lb.monitoring.pace import JITTER
from outline_lb.monitoring.probe import Probe
from outline_lb.selection.health import HealthOptions, State
from outline_lb.testing.clock import ClockLoop
from outline_lb.testing.upstreams import fake_upstream

pytestmark = pytest.mark.fake_clock

REFUSED = UpstreamError("connect", "refused")
TCP = Network.TCP
SLACK = 0.05


class FakeProbe(Probe):
    """Answers for streams as `down` and `takes` say; for packets only if `packets`. Keeps the time of each call."""

    def __init__(self, takes: float = 0.040, packets: bool = False) -> None:
        self.takes = takes
        self.down: set[str] = set()
        self.broken: Exception | None = None
        self.times: dict[tuple[str, Network], list[float]] = {}
        self.running = self.most = 0
        self._packets = packets

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        self.times.setdefault((upstream.name, network), []).append(loop().time())
        if network is Network.UDP and not self._packets:
            return None
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.running -= 1
        if self.broken:
            raise self.broken
        if upstream.name in self.down:
            raise REFUSED
        return self.takes

    def of(self, name: str = "a") -> list[float]:
        return self.times[name, TCP]


def loop() -> ClockLoop:
    return cast(ClockLoop, asyncio.get_running_loop())


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def state(upstream: Upstream, network: Network = TCP) -> State:
    return upstream.health[network].state


@asynccontextmanager
async def monitored(upstreams: Sequence[Upstream], probe: Probe, options: HealthOptions | None = None) -> AsyncIterator[Monitor]:
    """Run a monitor; time passes by `advance` only."""
    loop().autojump = False
    monitor = Monitor(upstreams, [probe], options or HealthOptions(), Random(1))
    async with anyio.create_task_group() as group:
        group.start_soon(monitor.run)
        yield monitor
        group.cancel_scope.cancel()


async def test_all_are_probed_at_once_at_the_start() -> None:
    upstreams, probe = [fake_upstream(None, name=name) for name in "abc"], FakeProbe()
    async with monitored(upstreams, probe):
        start = loop().time()
        await loop().advance(0.1)
        assert [probe.of(name) for name in "abc"] == [[start]] * 3
        assert [state(upstream) for upstream in upstreams] == [State.UP] * 3
        assert upstreams[0].health[TCP].latency == pytest.approx(0.040)


async def test_one_that_works_is_probed_less_and_less_with_jitter() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(300)
        delays = gaps(probe.of())
        assert delays[:3] == pytest.approx([6.0, 7.2, 8.7], abs=JITTER + SLACK)
        assert delays[:3] != pytest.approx([6.0, 7.2, 8.7], abs=0.01)
        assert 29.0 < delays[-1] < 30 + JITTER + SLACK


async def test_death_is_confirmed_soon_and_return_is_found_within_one_interval() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(1)
        probe.down.add("a")
        await loop().advance(7.5)
        assert state(upstream) is State.DOWN
        await loop().advance(600)
        assert max(gaps(probe.of())[-20:]) <= 5.0 + JITTER + SLACK
        probe.down.clear()
        await loop().advance(5.0 + JITTER + SLACK)
        assert state(upstream) is State.UP


async def test_a_success_threshold_is_reached_soon() -> None:
    upstream, probe = fake_upstream(None, HealthOptions(success_threshold=3), name="a"), FakeProbe()
    async with monitored([upstream], probe, HealthOptions(success_threshold=3)):
        await loop().advance(2 * (1 + JITTER) + 3 * SLACK)
        assert state(upstream) is State.UP


async def test_a_hanging_one_is_given_up_after_the_time_limit() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe(takes=1e9)
    async with monitored([upstream], probe, HealthOptions(timeout=2.0)):
        await loop().advance(1.9)
        assert upstream.health[TCP].failures == 0
        await loop().advance(0.2)
        assert upstream.health[TCP].failures == 1
        assert probe.running == 0


async def test_streams_and_packets_are_watched_apart() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(60)
        assert [state(upstream, network) for network in Network] == [State.UP, State.UNKNOWN]
        assert upstream.health[Network.UDP].checked is None
        assert gaps(probe.times["a", Network.UDP]) == pytest.approx([5.0] * 11, abs=JITTER + SLACK)


@pytest.mark.parametrize("failing", Network)
async def test_one_kind_of_traffic_that_fails_leaves_the_other_up(failing: Network) -> None:
    class Half(FakeProbe):
        """Fails for one kind, while `failing`."""

        failing = True

        async def measure(self, upstream: Upstream, network: Network) -> float | None:
            seconds = await super().measure(upstream, network)
            if self.failing and network is failing:
                raise REFUSED
            return seconds

    [other] = set(Network) - {failing}
    told: list[tuple[Network, bool]] = []
    upstream, probe = Upstream("a", fake_upstream(None).ways, lambda _name, network, up, _reason: told.append((network, up))), Half(packets=True)
    async with monitored([upstream], probe):
        await loop().advance(60)
        assert [state(upstream, network) for network in (failing, other)] == [State.DOWN, State.UP]
        assert upstream.health[other].failures == 0
        assert max(gaps(probe.times["a", failing])) <= 5.0 + JITTER + SLACK, "what is down is looked at each interval"
        assert max(gaps(probe.times["a", other])) > 8.0, "and what works less and less"
        probe.failing = False
        await loop().advance(6)
        assert [state(upstream, network) for network in Network] == [State.UP, State.UP]
    assert sorted(told, key=str) == sorted([(other, True), (failing, False), (failing, True)], key=str)


async def test_a_kind_of_traffic_that_an_upstream_does_not_carry_is_not_probed() -> None:
    upstream, probe = Upstream("a", {Network.UDP: fake_upstream(None).ways[Network.UDP]}), FakeProbe(packets=True)
    async with monitored([upstream], probe):
        await loop().advance(20)
    assert set(probe.times) == {("a", Network.UDP)}
    assert state(upstream, Network.UDP) is State.UP


async def test_probes_are_bounded_and_those_that_hang_keep_nobody_for_ever() -> None:
    upstreams, probe = [fake_upstream(None, name=str(i)) for i in range(40)], FakeProbe(takes=1e9)
    async with monitored(upstreams, probe, HealthOptions(timeout=3.0)):
        await loop().advance(3.0 * 40 / PARALLEL + 1)
        assert probe.most == PARALLEL
        assert all(upstream.health[TCP].failures for upstream in upstreams)


async def test_probe_now_does_not_wait_for_the_plan() -> None:
    upstreams, probe = [fake_upstream(None, name=name) for name in "ab"], FakeProbe()
    async with monitored(upstreams, probe) as monitor:
        await loop().advance(60)
        before = len(probe.of("a")), len(probe.of("b"))
        monitor.probe_now()
        await loop().advance(JITTER + SLACK)
        assert (len(probe.of("a")), len(probe.of("b"))) == (before[0] + 1, before[1] + 1)
        assert probe.of("a")[-1] != probe.of("b")[-1], "not in one moment"


async def test_a_failing_flow_brings_the_next_probe_forward() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(200)
        probe.down.add("a")
        upstream.dialled(TCP, None, REFUSED)
        await loop().advance(module.LOOK + JITTER + SLACK)
        assert state(upstream) is State.DOWN


async def test_an_upstream_in_two_pools_gets_the_evidence_of_both_and_they_do_not_chase_each_other() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    probe.down.add("a")
    async with monitored([upstream], probe), monitored([upstream], probe):
        await loop().advance(100)
        assert state(upstream) is State.DOWN
        seen = len(probe.of())
        await loop().advance(50)
        assert len(probe.of()) - seen == pytest.approx(2 * 10, abs=2)
        probe.down.clear()
        await loop().advance(5.5)
        assert state(upstream) is State.UP


async def test_a_stopped_process_probes_everything_when_it_goes_on_and_blames_nobody() -> None:
    upstreams, probe = [fake_upstream(None, name=name) for name in "abcd"], FakeProbe(takes=0.5)
    async with monitored(upstreams, probe):
        await loop().advance(200)
        await loop().advance(probe.of("a")[-1] + 30.25 - loop().time())  # it is just being probed
        seen = [len(probe.of(name)) for name in "abcd"]
        loop().now += 60
        await loop().advance(2.5)
        assert all(len(probe.of(name)) > count for name, count in zip("abcd", seen, strict=True))
        assert len({probe.of(name)[-1] for name in "abcd"}) == 4, "not in one moment"
        assert not any(upstream.health[TCP].failures for upstream in upstreams)


async def test_a_machine_that_slept_probes_everything_when_it_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(200)
        seen = len(probe.of())
        clock_gettime = time.clock_gettime  # the clock that goes on, while the loop's stands still
        monkeypatch.setattr(time, "clock_gettime", lambda clock: clock_gettime(clock) + 3600)
        with capture_logs() as log:
            await loop().advance(module.LOOK + JITTER + SLACK)
        assert len(probe.of()) == seen + 1
        assert [line["event"] for line in log if line["log_level"] != "debug"] == ["was asleep, probing everything"]


async def test_a_stuck_loop_makes_no_failures_and_the_probe_is_repeated_soon() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe(takes=1e9)
    async with monitored([upstream], probe, HealthOptions(timeout=3.0, fail_threshold=1)):
        await loop().advance(0.5)
        probe.takes = 0.040
        loop().now += 4
        await loop().advance(0.1)
        assert (state(upstream), upstream.health[TCP].failures) == (State.UNKNOWN, 0)
        await loop().advance(1 + JITTER + SLACK)
        assert state(upstream) is State.UP


async def test_a_broken_probe_does_not_end_the_monitor() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    probe.broken = RuntimeError("oops")
    with capture_logs() as log:
        async with monitored([upstream], probe):
            await loop().advance(30)
            assert state(upstream) is State.UNKNOWN
            probe.broken = None
            await loop().advance(6)
            assert state(upstream) is State.UP
    assert [line["event"] for line in log if line["log_level"] == "warning"] == ["probe says nothing, its result is left out"]


async def test_going_down_and_up_is_told_once_each() -> None:
    told: list[tuple[str, Network, bool]] = []
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    upstream = Upstream("a", upstream.ways, lambda name, network, up, _reason: told.append((name, network, up)))
    async with monitored([upstream], probe):
        await loop().advance(1)
        probe.down.add("a")
        await loop().advance(60)
        probe.down.clear()
        await loop().advance(60)
    assert told == [("a", TCP, up) for up in (True, False, True)]


async def test_without_probes_nothing_is_watched() -> None:
    upstream = fake_upstream(None, name="a")
    with anyio.move_on_after(100):
        await Monitor([upstream], [], HealthOptions()).run()
    assert state(upstream) is State.UNKNOWN


async def test_cancelling_ends_everything_also_probes_under_way() -> None:
    upstreams, probe = [fake_upstream(None, name=str(i)) for i in range(20)], FakeProbe(takes=1e9)
    before = asyncio.all_tasks()
    async with monitored(upstreams, probe):
        await loop().advance(1)
        assert probe.running == PARALLEL
    assert probe.running == 0
    assert asyncio.all_tasks() == before


async def test_a_doubt_hurries_the_probe_once_the_last_evidence_is_an_interval_old() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    async with monitored([upstream], probe):
        await loop().advance(200)  # probed every half minute now
        while loop().time() - probe.of()[-1] > 1:
            await loop().advance(0.5)
        last = probe.of()[-1]
        upstream.health[TCP].doubt()
        await loop().advance(4.5)
        assert probe.of()[-1] == last
        await loop().advance(2.5)
        assert probe.of()[-1] == pytest.approx(last + 6, abs=1 + JITTER + SLACK)
        assert not upstream.health[TCP].doubted


async def test_a_server_that_says_when_to_come_again_is_not_asked_before() -> None:
    upstream, probe = fake_upstream(None, name="a"), FakeProbe()
    probe.broken = UpstreamError("upgrade", "503", retry_after=120)
    async with monitored([upstream], probe):
        await loop().advance(119)
        assert len(probe.of()) == 1
        await loop().advance(2)
        assert len(probe.of()) == 2
