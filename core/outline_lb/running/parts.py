"""The parts that run, and how settings become parts: what is equal in two configurations becomes the same object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from ..base.dialer import PacketDialer, StreamDialer
from ..base.drops import Drops
from ..base.errors import ConfigError, Problem
from ..base.flow import Network
from ..config.settings import FrontendSettings, PoolSettings, Settings, UpstreamSettings
from ..datapath.balancer import Balancer, FlowListeners, Member
from ..datapath.carrier import Carrier
from ..datapath.frontend import Frontend, FrontendDeps
from ..datapath.route import Route
from ..datapath.transport import PacketTransport, StreamTransport, Transport, TransportDeps
from ..datapath.tunnel import Tunnel
from ..datapath.upstream import HealthListener, Upstream
from ..datapath.way import DirectWay, ServerWay, Way
from ..monitoring.monitor import Monitor
from ..monitoring.pace import longest_interval
from ..net.connector import Connector
from ..net.resolver import LastGood, SystemResolver
from ..selection.health import Health, HealthOptions
from ..selection.policy import OnlyPolicy
from .sockets import HandOver

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

    def build(self, settings: Settings, sockets: HandOver) -> Parts:
        """Make the parts.

        :param settings: of what
        :param sockets: has those that frontends listen on
        :raises ConfigError: if something does not go together
        :raises OutlineLBError: if a plugin fails
        """
        judged = judges(settings)
        upstreams = {name: self._upstream(upstream, judged[name]) for name, upstream in settings.upstreams.items()}
        pools = {name: self._pool_of_one(part.upstream) for name, part in upstreams.items()}
        pools |= {name: self._pool(pool, upstreams) for name, pool in settings.pools.items()}
        frontends = {name: self._frontend(frontend, pools[frontend.to].balancer, sockets) for name, frontend in settings.frontends.items()}
        return Parts(frontends, pools, upstreams)

    def _upstream(self, settings: UpstreamSettings, judged: HealthOptions) -> UpstreamPart:
        old = self._running.upstreams.get(settings.name)
        if old and old.settings == settings:
            return old
        resolver = SystemResolver() if settings.cipher is None else LastGood(SystemResolver())
        transport = settings.transport.build(TransportDeps(Connector(settings.via, resolver)))
        ways = _to_targets(transport, judged) if settings.cipher is None else _to_server(settings, transport, judged)
        if not ways:
            raise ConfigError(Problem(f"the transport {settings.transport.type} can carry nothing here", f"/upstreams/{settings.name}"))
        return UpstreamPart(settings, Upstream(settings.name, ways, self._on_health), transport)

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

    def _frontend(self, settings: FrontendSettings, balancer: Balancer, sockets: HandOver) -> FrontendPart:
        name = settings.name
        old = self._running.frontends.get(name)
        if old and old.settings.component == settings.component:
            return FrontendPart(settings, old.frontend, old.route, old.serving)
        route = old.route if old else Route(balancer)
        deps = FrontendDeps(name, route, self._carrier, partial(sockets.bind, name), partial(sockets.bind_udp, name))
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


def _to_targets(transport: Transport, judged: HealthOptions) -> dict[Network, Way[Any, Any]]:
    """Return the ways of a transport that goes to the targets themselves."""
    ways: dict[Network, Way[Any, Any]] = {}
    if isinstance(transport, StreamDialer):
        ways[Network.TCP] = DirectWay(Health(judged), transport.dial_stream)
    if isinstance(transport, PacketDialer):
        ways[Network.UDP] = DirectWay(Health(judged), transport.dial_packets)
    return ways


def _to_server(settings: UpstreamSettings, transport: Transport, judged: HealthOptions) -> dict[Network, Way[Any, Any]]:
    """Return the ways through a tunnel: one for each URL that there is."""
    assert settings.cipher is not None
    assert settings.secret is not None
    tunnel = Tunnel(settings.cipher.build(None).client(settings.secret, settings.prefix), Drops(upstream=settings.name))
    ways: dict[Network, Way[Any, Any]] = {}
    if settings.tcp is not None and isinstance(transport, StreamTransport):
        ways[Network.TCP] = ServerWay(Health(judged), transport.stream_endpoint(settings.tcp), tunnel.stream)
    if settings.udp is not None and isinstance(transport, PacketTransport):
        ways[Network.UDP] = ServerWay(Health(judged), transport.packet_endpoint(settings.udp), tunnel.packets)
    return ways
