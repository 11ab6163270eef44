"""One access point: a name, the ways of its kinds of traffic, and who judges what is heard of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from ..base.duration import format_duration
from ..base.errors import GoingAwayError, TruncatedError, UpstreamError, describe
from ..base.flow import Network
from ..selection.health import Health, HealthOptions
from .way import Way

log = structlog.get_logger("health")

HealthListener = Callable[[str, Network, bool, str], None]
"""Hears that an upstream (name) went up or down for a kind of traffic, and why."""


class Upstream:
    """A way to targets, with what is known about it.

    :param name: its name in the configuration
    :param ways: how it carries each kind of traffic that it can carry; at least one
    :param on_change: hears that it went up or down
    """

    def __init__(self, name: str, ways: Mapping[Network, Way[Any, Any]], on_change: HealthListener = lambda *_: None) -> None:
        self.name = name
        self.ways = ways
        self.health: Mapping[Network, Health] = {network: way.health for network, way in ways.items()}
        self._on_change = on_change

    @property
    def active(self) -> int:
        """Flows under way."""
        return sum(len(way.carried) for way in self.ways.values())

    def judge_by(self, options: HealthOptions) -> None:
        """Judge what is known, and what comes, by other options."""
        for health in self.health.values():
            health.options = options

    def keep_ready(self, count: int) -> None:
        """Have so many connections wait for flows, for each kind of traffic, while there are any."""
        for way in self.ways.values():
            if way.standby is not None:
                way.standby.size = count

    def drop_standbys(self) -> None:
        """Close the connections that wait."""
        for way in self.ways.values():
            if way.standby is not None:
                way.standby.drop()

    def close(self) -> None:
        """Take no new flows: close the connections that wait, and have those flows leave that can go on elsewhere."""
        self.keep_ready(0)
        self.drop_standbys()
        for way in self.ways.values():
            for flow in list(way.carried):
                flow.leave()

    def probed(self, network: Network, seconds: float | None, error: Exception | None) -> None:
        """Take the result of a probe: the seconds that it took, or why it failed."""
        log.debug("upstream probed", upstream=self.name, network=network.value, rtt=seconds and format_duration(seconds), error=error)
        now, health = asyncio.get_running_loop().time(), self.health[network]
        if isinstance(error, UpstreamError) and error.retry_after is not None:
            changed = health.refused(now, error.retry_after)
        else:
            changed = health.failed(now) if error else health.succeeded(now, seconds)
        self._judged(changed, network, "probe", seconds, error)

    def dialled(self, network: Network, seconds: float | None, error: Exception | None) -> None:
        """Take the result of opening a flow."""
        now, health = asyncio.get_running_loop().time(), self.health[network]
        if isinstance(error, UpstreamError) and error.retry_after is not None:
            changed = health.refused(now, error.retry_after)
        else:
            changed = health.dial_failed(now) if error else health.dial_succeeded(now, seconds)
        self._judged(changed, network, "traffic", seconds, error)

    def answered(self, network: Network, fresh: bool) -> None:
        """Take the news that the first packets came over a way.

        :param fresh: whether opening the way showed already that the server is there; where it does not (plain UDP), this does
        """
        health = self.health[network]
        health.flow_ended_well()
        if not fresh:
            self._judged(health.dial_succeeded(asyncio.get_running_loop().time(), None), network, "traffic", None, None)

    def broke(self, network: Network, error: Exception) -> None:
        """Take the news that a flow in progress ended before its time.

        Without a server in between, that was the target. With one, a cut without a word need not be the server's fault, since a good one passes
        on what the target does: only a probe can tell. A defect of ours (any exception but those of connections) says nothing about the server.
        """
        if not self.ways[network].has_server or not isinstance(error, OSError):
            return
        now, health = asyncio.get_running_loop().time(), self.health[network]
        if isinstance(error, GoingAwayError):
            self._judged(health.ejected(now), network, "traffic", None, error)
        elif isinstance(error, (TruncatedError, ConnectionResetError, BrokenPipeError)):
            health.doubt()
        else:
            self._judged(health.flow_broken(now), network, "traffic", None, error)

    def silent(self, network: Network, since: float) -> None:
        """Take the news that nobody waits any more for a flow which it was opening, because that took too long. Without a server in between, the
        target was silent. One packet lost on the way does it, so this is evidence, but no reason for a cooldown; and of flows that wait at
        the same time, the first one says it all.

        :param since: the loop's time when the opening began
        """
        checked = self.health[network].checked
        if self.ways[network].has_server and (checked is None or checked <= since):
            error = UpstreamError("dial", "silent for too long")
            self._judged(self.health[network].failed(asyncio.get_running_loop().time()), network, "traffic", None, error)

    def _judged(self, changed: bool, network: Network, source: str, seconds: float | None, error: Exception | None) -> None:
        standby = self.ways[network].standby
        if error and standby is not None:
            standby.drop()
        if changed:
            self._tell(network, source, seconds, error)

    def _tell(self, network: Network, source: str, seconds: float | None, error: Exception | None) -> None:
        if error:
            reason = describe(error) if not isinstance(error, UpstreamError) else str(error)
            log.warning("upstream down", upstream=self.name, network=network.value, by=source, reason=reason)
        else:
            reason = f"{source} succeeded"
            rtt = None if seconds is None else format_duration(seconds)
            log.info("upstream up", upstream=self.name, network=network.value, by=source, rtt=rtt)
        self._on_change(self.name, network, error is None, reason)
