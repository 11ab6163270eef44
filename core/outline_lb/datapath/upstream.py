"""One access point: a name, its health, and the dialer that the configuration makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from ..base.dialer import StreamDialer
from ..base.duration import format_duration
from ..base.errors import GoingAwayError, TruncatedError, UpstreamError, describe
from ..base.flow import Flow, Network
from ..base.stream import Stream
from ..selection.health import Health, HealthOptions
from .standby import Standby
from .transport import StandbyEndpoint, StreamEndpoint
from .tunnel import Tunnel

log = structlog.get_logger("health")

HealthListener = Callable[[str, Network, bool, str], None]
"""Hears that an upstream (name) went up or down for a kind of traffic, and why."""


class Carried(Protocol):
    """A flow's stream over an upstream."""

    @property
    def received(self) -> int:
        """Bytes that came."""

    def keep_alive(self, doubt: bool = False) -> None:
        """As `Stream.keep_alive`."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What was opened for a flow, before anything was sent.

    :param stream: to the server if the upstream is a tunnel, else to the target
    :param seconds: what it took; None if that says nothing about the upstream
    :param fresh: whether it was opened just now, which shows that new ones can be
    """

    stream: Stream
    seconds: float | None
    fresh: bool = True


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
        self.carried: set[Carried] = set()
        self._tunnel = dialer if isinstance(dialer, Tunnel) else None
        self.standby = Standby(endpoint) if self._tunnel and isinstance(endpoint, StandbyEndpoint) else None
        self._on_change = on_change

    @property
    def active(self) -> int:
        """Flows under way."""
        return len(self.carried)

    @property
    def received(self) -> int:
        """Bytes that came for the flows under way."""
        return sum(stream.received for stream in self.carried)

    def judge_by(self, options: HealthOptions) -> None:
        """Judge what is known, and what comes, by other options."""
        for health in self.health.values():
            health.options = options

    def keep_ready(self, count: int) -> None:
        """Have so many connections wait for flows while there are any."""
        if self.standby is not None:
            self.standby.size = count

    async def open(self, flow: Flow) -> Opening:
        """Open what a flow needs: take a connection that waits, or make one. Nothing of the flow is sent.

        :raises DialError: if it cannot be opened
        """
        if self.standby is not None and (waiting := await self.standby.take()) is not None:
            return Opening(waiting, None, fresh=False)
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self.endpoint is None or self._tunnel is None:
            stream = await self.dialer.dial_stream(flow)
        else:
            stream = await self.endpoint.connect_stream()
        return Opening(stream, loop.time() - started if self.endpoint else None)

    def begin(self, opening: Opening, flow: Flow) -> Stream:
        """Make the flow's stream of what was opened for it."""
        return opening.stream if self._tunnel is None else self._tunnel.over(opening.stream, flow.target)

    def give_back(self, opening: Opening) -> None:
        """Take what was opened for a flow that does not want it any more."""
        if self.standby is None:
            opening.stream.close()
        else:
            self.standby.keep(opening.stream)

    def close(self) -> None:
        """Close the connections that wait."""
        if self.standby is not None:
            self.standby.size = 0
            self.standby.drop()

    async def handshake(self) -> float | None:
        """Open a stream to the server, and measure; close it politely, unless a place is free among those that wait.

        :return: seconds that it took to open; None if there is no server
        :raises UpstreamError: if it could not be opened
        """
        if self.endpoint is None:
            return None
        loop = asyncio.get_running_loop()
        started = loop.time()
        stream = await self.endpoint.connect_stream()
        took = loop.time() - started
        self.give_back(Opening(stream, took))
        return took

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

    def broke(self, network: Network, error: Exception) -> None:
        """Take the news that a flow in progress ended before its time.

        Without a server in between, that was the target. With one, a cut without a word need not be the server's fault, since a good one passes
        on what the target does: only a probe can tell. A defect of ours (any exception but those of connections) says nothing about the server.
        """
        if self.endpoint is None or not isinstance(error, OSError):
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
        if self.endpoint is not None and (checked is None or checked <= since):
            error = UpstreamError("dial", "silent for too long")
            self._judged(self.health[network].failed(asyncio.get_running_loop().time()), network, "traffic", None, error)

    def _judged(self, changed: bool, network: Network, source: str, seconds: float | None, error: Exception | None) -> None:
        if error and self.standby is not None:
            self.standby.drop()
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
