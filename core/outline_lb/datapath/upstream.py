"""One access point: a name, its health, and the dialer that the configuration makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ..base.dialer import StreamDialer
from ..base.duration import format_duration
from ..base.errors import UpstreamError, describe
from ..base.flow import Network
from ..selection.health import Health, HealthOptions
from .transport import StreamEndpoint

log = structlog.get_logger("health")

HealthListener = Callable[[str, Network, bool, str], None]
"""Hears that an upstream (name) went up or down for a kind of traffic, and why."""


class Upstream:
    """A way to targets, with what is known about it.

    :param name: its name in the configuration
    :param dialer: opens its streams
    :param endpoint: the server behind the dialer; None where there is none (a direct connection)
    :param health: what is known, for each kind of traffic that it can carry
    :param on_change: hears that it went up or down
    """

    def __init__(
        self,
        name: str,
        dialer: StreamDialer,
        endpoint: StreamEndpoint | None,
        health: Mapping[Network, Health],
        on_change: HealthListener = lambda *_: None,
    ) -> None:
        self.name = name
        self.dialer = dialer
        self.endpoint = endpoint
        self.health = health
        self.active = 0
        self._on_change = on_change

    def judge_by(self, options: HealthOptions) -> None:
        """Judge what is known, and what comes, by other options."""
        for health in self.health.values():
            health.options = options

    async def handshake(self) -> float | None:
        """Open a stream to the server, close it politely, and measure.

        :return: seconds that it took to open; None if there is no server
        :raises UpstreamError: if it could not be opened
        """
        if self.endpoint is None:
            return None
        loop = asyncio.get_running_loop()
        started = loop.time()
        stream = await self.endpoint.connect_stream()
        took = loop.time() - started
        stream.close()
        return took

    def probed(self, network: Network, seconds: float | None, error: Exception | None) -> None:
        """Take the result of a probe: the seconds that it took, or why it failed."""
        log.debug("upstream probed", upstream=self.name, network=network.value, rtt=seconds and format_duration(seconds), error=error)
        now, health = asyncio.get_running_loop().time(), self.health[network]
        changed = health.failed(now) if error else health.succeeded(now, seconds)
        if changed:
            self._tell(network, "probe", seconds, error)

    def dialled(self, network: Network, seconds: float | None, error: Exception | None) -> None:
        """Take the result of opening a flow."""
        now, health = asyncio.get_running_loop().time(), self.health[network]
        changed = health.dial_failed(now) if error else health.dial_succeeded(now, seconds)
        if changed:
            self._tell(network, "traffic", seconds, error)

    def broke(self, network: Network, error: Exception) -> None:
        """Take the news that a flow in progress was cut off. Without a server in between, that was the target."""
        if self.endpoint is not None and self.health[network].failed(asyncio.get_running_loop().time()):
            self._tell(network, "traffic", None, error)

    def silent(self, network: Network, since: float) -> None:
        """Take the news that nobody waits any more for a flow which it was opening, because that took too long. Without a server in between, the
        target was silent. One packet lost on the way does it, so this is evidence, but no reason for a cooldown; and of flows that wait at
        the same time, the first one says it all.

        :param since: the loop's time when the opening began
        """
        checked = self.health[network].checked
        if checked is None or checked <= since:
            self.broke(network, UpstreamError("dial", "silent for too long"))

    def _tell(self, network: Network, source: str, seconds: float | None, error: Exception | None) -> None:
        if error:
            reason = describe(error) if not isinstance(error, UpstreamError) else str(error)
            log.warning("upstream down", upstream=self.name, network=network.value, by=source, reason=reason)
        else:
            reason = f"{source} succeeded"
            rtt = None if seconds is None else format_duration(seconds)
            log.info("upstream up", upstream=self.name, network=network.value, by=source, rtt=rtt)
        self._on_change(self.name, network, error is None, reason)
