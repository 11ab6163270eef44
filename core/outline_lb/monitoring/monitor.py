"""The schedule that feeds health: each upstream of a pool, for each kind of traffic, again and again.

::

    Monitor ── one watch for each upstream and kind of traffic: probe, tell the upstream, wait as `Pace` says
       └────── looks around each second: did traffic fail since the last probe? was the whole machine asleep?

Flows never wait for any of this: probes open their own streams, and only so many at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

import anyio
import structlog

from ..base.duration import format_duration
from ..base.flow import Network
from ..datapath.upstream import Upstream
from ..selection.health import MAX_COOLDOWN, HealthOptions, State
from .absence import ASLEEP, Absence
from .pace import JITTER, Pace, jittered
from .probe import Probe
from .prober import Finding, Prober

log = structlog.get_logger("health")

PARALLEL: Final = 8
"""Upstreams of one pool that are probed at the same time. The others wait, and that time does not count against them."""
LOOK: Final = 1.0
"""Seconds between two looks around."""


class Monitor:
    """Probes the upstreams of one pool on a schedule, from the start and until it is cancelled.

    Health belongs to the upstream: one that is in two pools is watched for each, and gets the evidence of both.

    :param upstreams: whom to watch
    :param probes: how, in this order (see `Prober`); without any, nothing is watched
    :param options: the interval, and the time limit of one probe
    :param random: spreads the probes in time; None: an own one
    """

    def __init__(self, upstreams: Sequence[Upstream], probes: Sequence[Probe], options: HealthOptions, random: Random | None = None) -> None:
        random = random or Random()  # noqa: S311 - no secret
        prober = Prober(probes, options.timeout)
        networks = [(upstream, network) for upstream in upstreams for network in upstream.health] if probes else []
        self._watches = [_Watch(upstream, network, prober, Pace(options.interval), random) for upstream, network in networks]

    async def run(self) -> None:
        """Probe until cancelled. The first round begins at once."""
        slots = anyio.Semaphore(PARALLEL)
        async with anyio.create_task_group() as group:
            for watch in self._watches:
                group.start_soon(watch.run, slots)
            await self._look_around()

    def probe_now(self) -> None:
        """Probe all upstreams within `JITTER` seconds, whatever the schedule says; the ones that are being probed are left alone."""
        for watch in self._watches:
            watch.hurry()

    async def _look_around(self) -> None:
        loop, absence = asyncio.get_running_loop(), Absence()
        while True:
            await anyio.sleep(LOOK)
            away = absence.seconds()
            if away > ASLEEP:
                log.info("was asleep, probing everything", seconds=format_duration(away))
                self.probe_now()
            for watch in self._watches:
                watch.look(loop.time())


class _Watch:
    """Keeps one upstream under observation, for one kind of traffic."""

    __slots__ = ("_called", "_failures", "_health", "_network", "_pace", "_prober", "_random", "_upstream")

    def __init__(self, upstream: Upstream, network: Network, prober: Prober, pace: Pace, random: Random) -> None:
        self._upstream = upstream
        self._network = network
        self._health = upstream.health[network]
        self._prober = prober
        self._pace = pace
        self._random = random
        self._failures = 0  # in a row, when the last probe ended
        self._called = anyio.Event()

    async def run(self, slots: anyio.Semaphore) -> None:
        while True:
            async with slots:
                finding = await self._prober.run(self._upstream, self._network)
            delay = self._take(finding)
            self._failures = self._health.failures
            await self._wait(jittered(delay, self._random))

    def hurry(self) -> None:
        """Do not wait for the planned time."""
        self._called.set()

    def look(self, now: float) -> None:
        """Hurry if it worked at the last probe, and something else (a flow, another pool's probe) found that it does not, or that it may not. What
        is only a doubt waits until the last evidence is as old as the interval: flows may be cut off by their targets all day.
        """
        health = self._health
        old = health.checked is None or now >= health.checked + health.options.interval
        if (health.failures and not self._failures) or (health.doubted and old):
            self.hurry()

    def _take(self, finding: Finding) -> float:
        """Tell the upstream what was found, and return the seconds until the next probe."""
        if finding.doubtful:
            log.debug("probe failed, not counted", upstream=self._upstream.name, network=self._network.value, because=finding.doubtful)
            return self._pace.soon()
        if finding.works is None:
            return self._pace.silent()
        self._upstream.probed(self._network, finding.seconds, finding.error)
        if finding.works:
            return self._pace.worked(self._health.latency, self._health.state is State.UP)
        retry_after = getattr(finding.error, "retry_after", None) or 0.0
        return max(self._pace.failed(), min(retry_after, MAX_COOLDOWN))

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._called = called = anyio.Event()
        with anyio.move_on_after(seconds):
            await called.wait()
        if called.is_set() or loop.time() - due > ASLEEP:  # so are all the others: not all in one moment
            await anyio.sleep(self._random.uniform(0, JITTER))
