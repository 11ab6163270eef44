"""The parts that run, and how settings become parts: what is equal in two configurations becomes the same object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from ..base.address import Address
from ..base.dialer import StreamDialer
from ..base.errors import ConfigError, Problem
from ..base.flow import Network
from ..config.settings import FrontendSettings, PoolSettings, Settings, UpstreamSettings
from ..datapath.balancer import Balancer, FlowListeners, Member
from ..datapath.carrier import Carrier
from ..datapath.frontend import Frontend, FrontendDeps
from ..datapath.route import Route
from ..datapath.transport import StreamEndpoint, StreamTransport, Transport, TransportDeps
from ..datapath.tunnel import Tunnel
from ..datapath.upstream import HealthListener, Upstream
from ..monitoring.monitor import Monitor
from ..monitoring.pace import longest_interval
from ..net.connector import Connector
from ..net.listener import SocketListener
from ..net.resolver import LastGood, SystemResolver
from ..selection.health import Health, HealthOptions
from ..selection.policy import OnlyPolicy

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that a flow may take to open where no pool says it."""


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamPart:
    """An upstream, with the transport that is only its own."""

    settings: UpstreamSettings
    upstream: Upstream
    transport: Transport


@dataclass(frozen=True, slots=True, eq=False)
class PoolPart:
    """A balancer, and who watches its upstreams.

    :param settings: None: the pool of one upstream, for frontends whose flows all go to it
    """

    settings: PoolSettings | None
    balancer: Balancer
    monitor: Monitor | None = None
    watching: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(frozen=True, slots=True, eq=False)
class FrontendPart:
    """A frontend, and the route that it holds.

    :param serving: ends it
    """

    settings: FrontendSettings
    frontend: Frontend
    route: Route
    serving: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Everything that runs, by name; pools and upstreams share their names, and `pools` has one for each of both."""

    frontends: Mapping[str, FrontendPart] = field(default_factory=dict)
    pools: Mapping[str, PoolPart] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamPart] = field(default_factory=dict)


class Builder:
    """Makes parts of settings. Nothing begins, and nothing that runs is touched.

    :param running: equal parts are taken from here
    :param carrier: takes the flows
    :param listeners: who hears about flows
    :param on_health: hears that an upstream went up or down
    """

    def __init__(self, running: Parts, carrier: Carrier, listeners: FlowListeners, on_health: HealthListener) -> None:
        self._running = running
        self._carrier = carrier
        self._listeners = listeners
        self._on_health = on_health

    def build(self, settings: Settings, bind: Callable[[str, Address], SocketListener]) -> Parts:
        """Make the parts.

        :param settings: of what
        :param bind: returns the listening socket of a frontend (name) and an address
        :raises ConfigError: if something does not go together
        :raises OutlineLBError: if a plugin fails
        """
        judged = judges(settings)
        upstreams = {name: self._upstream(upstream, judged[name]) for name, upstream in settings.upstreams.items()}
        pools = {name: self._pool_of_one(part.upstream) for name, part in upstreams.items()}
        pools |= {name: self._pool(pool, upstreams) for name, pool in settings.pools.items()}
        frontends = {name: self._frontend(frontend, pools[frontend.to].balancer, bind) for name, frontend in settings.frontends.items()}
        return Parts(frontends, pools, upstreams)

    def _upstream(self, settings: UpstreamSettings, judged: HealthOptions) -> UpstreamPart:
        old = self._running.upstreams.get(settings.name)
        if old and old.settings == settings:
            return old
        resolver = SystemResolver() if settings.tcp is None else LastGood(SystemResolver())
        transport = settings.transport.build(TransportDeps(Connector(settings.via, resolver)))
        dialer, endpoint = _dialer(settings, transport)
        return UpstreamPart(settings, Upstream(settings.name, dialer, endpoint, {Network.TCP: Health(judged)}, self._on_health), transport)

    def _pool_of_one(self, upstream: Upstream) -> PoolPart:
        members = [Member(upstream)]
        return self._equal_pool(upstream.name, None, members) or PoolPart(
            None, Balancer(upstream.name, members, OnlyPolicy(), CONNECT_TIMEOUT, self._listeners)
        )

    def _pool(self, settings: PoolSettings, upstreams: Mapping[str, UpstreamPart]) -> PoolPart:
        interval = longest_interval(settings.health.interval) if settings.probes else None
        members = [Member(upstreams[member.name].upstream, member.weight, member.tier, interval) for member in settings.members]
        if old := self._equal_pool(settings.name, settings, members):
            return old
        probes = [probe.build(None) for probe in settings.probes]
        balancer = Balancer(settings.name, members, settings.policy.build(None), settings.connect_timeout, self._listeners)
        monitor = Monitor([member.upstream for member in members], probes, settings.health) if probes else None
        return PoolPart(settings, balancer, monitor)

    def _equal_pool(self, name: str, settings: PoolSettings | None, members: list[Member]) -> PoolPart | None:
        old = self._running.pools.get(name)
        same = old and old.settings == settings and [member.upstream for member in old.balancer.members] == [member.upstream for member in members]
        return old if same else None

    def _frontend(self, settings: FrontendSettings, dialer: StreamDialer, bind: Callable[[str, Address], SocketListener]) -> FrontendPart:
        name = settings.name
        old = self._running.frontends.get(name)
        if old and old.settings.component == settings.component:
            return FrontendPart(settings, old.frontend, old.route, old.serving)
        route = old.route if old else Route(dialer)
        deps = FrontendDeps(name=name, dialer=route, carrier=self._carrier, bind=partial(bind, name))
        return FrontendPart(settings, settings.component.build(deps), route)


def judges(settings: Settings) -> dict[str, HealthOptions]:
    """Return by which options the health of each upstream is judged: its pool's."""
    options = {name: HealthOptions() for name in settings.upstreams}
    return options | {member.name: pool.health for pool in settings.pools.values() for member in pool.members}


def standbys(settings: Settings) -> dict[str, int]:
    """Return how many connections of each upstream should wait: what the most demanding of its pools says."""
    counts = dict.fromkeys(settings.upstreams, 0)
    for pool in settings.pools.values():
        for member in pool.members:
            counts[member.name] = max(counts[member.name], pool.standby)
    return counts


def _dialer(settings: UpstreamSettings, transport: Transport) -> tuple[StreamDialer, StreamEndpoint | None]:
    if settings.cipher is None:
        if not isinstance(transport, StreamDialer):
            raise _wrong(settings, f"the transport {settings.transport.type} needs a secret that it shares with the server")
        return transport, None
    if not isinstance(transport, StreamTransport) or settings.tcp is None or settings.secret is None:
        raise _wrong(settings, f"the transport {settings.transport.type} cannot carry a cipher")
    endpoint = transport.stream_endpoint(settings.tcp)
    return Tunnel(endpoint, settings.cipher.build(None).client(settings.secret, settings.prefix)), endpoint


def _wrong(upstream: UpstreamSettings, message: str) -> ConfigError:
    return ConfigError(Problem(message, f"/upstreams/{upstream.name}"))
