"""The composition root: settings become objects, and the objects one running program."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from .base.dialer import StreamDialer
from .base.errors import ConfigError, Problem
from .base.flow import Network
from .config.settings import PoolSettings, Settings, UpstreamSettings
from .datapath.balancer import Balancer, FlowListeners, Member
from .datapath.carrier import Carrier
from .datapath.frontend import Frontend, FrontendDeps
from .datapath.transport import StreamEndpoint, StreamTransport, Transport, TransportDeps
from .datapath.tunnel import Tunnel
from .datapath.upstream import Upstream
from .monitoring.monitor import Monitor
from .monitoring.pace import longest_interval
from .net.connector import Connector
from .net.listener import SocketListener
from .plugin.notifier import Notifier
from .selection.health import Health, HealthOptions
from .selection.policy import OnlyPolicy

log = structlog.get_logger("app")

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that a flow may take to open where no pool says it."""


class App:
    """One running configuration.

    Life cycle: constructed (no side effects), `run`: prepare everything that can fail, serve until told to stop, close.

    :param settings: what to run
    :param notifier: tells the plugins what happens
    """

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._listeners = FlowListeners(notifier.flow_opened, notifier.flow_closed)
        self._transports: list[Transport] = []
        self.frontends: dict[str, Frontend] = {}

    async def run(self, started: Callable[[App], None] = lambda _: None) -> None:
        """Run until SIGINT or SIGTERM, or until cancelled. Flows that are still there then are aborted.

        :param started: called once when everything serves
        :raises StartError: if something needed from the system is not to be had; nothing was started then
        """
        async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as closing:
            carrier = Carrier(tasks)
            monitors = self._build(carrier)
            for transport in self._transports:
                closing.push_async_callback(transport.close)
                await transport.prepare()
            for frontend in self.frontends.values():
                await frontend.prepare()
                closing.push_async_callback(frontend.close)
            closing.callback(carrier.abort_all)
            self._freeze()
            async with _stop_on_signal(tasks):
                for monitor in monitors:
                    tasks.start_soon(monitor.run)
                for frontend in self.frontends.values():
                    tasks.start_soon(frontend.serve)
                for name, frontend in self.frontends.items():
                    log.info("listening", frontend=name, addresses=[str(address) for address in frontend.addresses])
                started(self)
                await anyio.sleep_forever()

    @staticmethod
    def _freeze() -> None:
        """Take what start-up made out of the collector's sight: it stays, and each full collection would look at it."""
        gc.collect()
        gc.freeze()

    def _build(self, carrier: Carrier) -> list[Monitor]:
        settings = self._settings
        judged = {member.name: pool.health for pool in settings.pools.values() for member in pool.members}
        upstreams = {name: self._upstream(upstream, judged.get(name, HealthOptions())) for name, upstream in settings.upstreams.items()}
        dialers: dict[str, StreamDialer] = {name: self._pool_of_one(upstream) for name, upstream in upstreams.items()}
        monitors = []
        for pool in settings.pools.values():
            probes = [probe.build(None) for probe in pool.probes]
            dialers[pool.name] = self._balancer(pool, upstreams)
            if probes:
                monitors.append(Monitor([upstreams[member.name] for member in pool.members], probes, pool.health))
        for name, frontend in settings.frontends.items():
            deps = FrontendDeps(name=name, dialer=dialers[frontend.to], carrier=carrier, bind=SocketListener)
            self.frontends[name] = frontend.component.build(deps)
        return monitors

    def _upstream(self, settings: UpstreamSettings, judged: HealthOptions) -> Upstream:
        connector = Connector(settings.via)
        transport = settings.transport.build(TransportDeps(connector))
        self._transports.append(transport)
        endpoint: StreamEndpoint | None = None
        if settings.cipher is None:
            if not isinstance(transport, StreamDialer):
                raise _wrong(settings, f"the transport {settings.transport.type} needs a secret that it shares with the server")
            dialer: StreamDialer = transport
        else:
            if not isinstance(transport, StreamTransport) or settings.tcp is None or settings.secret is None:
                raise _wrong(settings, f"the transport {settings.transport.type} cannot carry a cipher")
            endpoint = transport.stream_endpoint(settings.tcp)
            dialer = Tunnel(endpoint, settings.cipher.build(None).client(settings.secret, settings.prefix))
        return Upstream(settings.name, dialer, endpoint, {Network.TCP: Health(judged)}, self._notifier.health_changed)

    def _pool_of_one(self, upstream: Upstream) -> Balancer:
        """Return the dialer of a frontend whose flows all go to one upstream."""
        return Balancer(upstream.name, [Member(upstream)], OnlyPolicy(), CONNECT_TIMEOUT, self._listeners)

    def _balancer(self, pool: PoolSettings, upstreams: dict[str, Upstream]) -> Balancer:
        interval = longest_interval(pool.health.interval) if pool.probes else None
        members = [Member(upstreams[member.name], member.weight, member.tier, interval) for member in pool.members]
        return Balancer(pool.name, members, pool.policy.build(None), pool.connect_timeout, self._listeners)


def _wrong(upstream: UpstreamSettings, message: str) -> ConfigError:
    return ConfigError(Problem(message, f"/upstreams/{upstream.name}"))


@contextlib.asynccontextmanager
async def _stop_on_signal(tasks: TaskGroup) -> AsyncIterator[None]:
    """End the task group on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("stopping", signal=name)
        tasks.cancel_scope.cancel()

    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
