"""Everything that runs: prepared as a whole, then exchanged in one moment, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from ..config.settings import Settings
from ..datapath.balancer import FlowListeners
from ..datapath.carrier import Carrier
from ..datapath.frontend import Frontend
from ..datapath.upstream import HealthListener, Upstream
from .parts import Builder, FrontendPart, Parts, PoolPart, UpstreamPart, judges, standbys
from .sockets import HandOver, ListeningSockets

log = structlog.get_logger("app")

PartT = TypeVar("PartT", PoolPart, UpstreamPart)

LINGER: Final = 60.0
"""Seconds that a frontend which was replaced has for the handshakes under way: no handshake takes longer."""
LOOK: Final = 0.5
"""Seconds between two looks whether the last flow over a removed upstream is over."""


class System:
    """The parts that run, and their change.

    :param tasks: where they run; ending it ends them
    :param carrier: takes the flows
    :param listeners: who hears about flows
    :param on_health: hears that an upstream went up or down
    """

    def __init__(self, tasks: TaskGroup, carrier: Carrier, listeners: FlowListeners, on_health: HealthListener) -> None:
        self._tasks = tasks
        self._carrier = carrier
        self._listeners = listeners
        self._on_health = on_health
        self._sockets = ListeningSockets()
        self._leaving: set[Upstream] = set()  # removed, with flows under way
        self.parts = Parts()

    @property
    def frontends(self) -> dict[str, Frontend]:
        """The frontends, by name."""
        return {name: part.frontend for name, part in self.parts.frontends.items()}

    async def apply(self, settings: Settings) -> None:
        """Make this what runs. If anything is raised, nothing has changed.

        :param settings: complete
        :raises OutlineLBError: if something does not go together, cannot be had, or a plugin fails
        """
        old = self.parts
        equal = {
            name
            for name, frontend in settings.frontends.items()
            if name in old.frontends and old.frontends[name].settings.component == frontend.component
        }
        sockets = self._sockets.hand_over(equal)
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(sockets.roll_back)
            parts = Builder(old, self._carrier, self._listeners, self._on_health).build(settings, sockets)
            for upstream in _new(parts.upstreams.values(), old.upstreams.values()):
                undo.push_async_callback(_close, upstream)
                await upstream.transport.prepare()
            for frontend in parts.frontends.values():
                if frontend.settings.name not in equal:
                    await frontend.frontend.prepare()
                    undo.push_async_callback(_close, frontend)
            undo.pop_all()
        for name, options in judges(settings).items():
            parts.upstreams[name].upstream.judge_by(options)
        for name, count in standbys(settings).items():
            parts.upstreams[name].upstream.keep_ready(count)
        self._commit(parts, sockets, equal)

    def upstreams(self) -> Iterator[Upstream]:
        """Yield the upstreams, and those that were removed but still have flows."""
        for part in self.parts.upstreams.values():
            yield part.upstream
        yield from self._leaving

    def stop_accepting(self) -> None:
        """Give all ports back."""
        self._sockets.close()

    async def close(self) -> None:
        """End everything but the flows, which the carrier has."""
        self._sockets.close()
        for frontend in self.parts.frontends.values():
            frontend.serving.cancel()
        for pool in self.parts.pools.values():
            pool.watching.cancel()
        for upstream in self.parts.upstreams.values():
            await _close(upstream)
        self.parts = Parts()

    def _commit(self, parts: Parts, sockets: HandOver, equal: set[str]) -> None:
        """Exchange the parts. Nothing here fails or waits."""
        old, self.parts = self.parts, parts
        sockets.commit()
        for name, frontend in parts.frontends.items():
            frontend.route.to = parts.pools[frontend.settings.to].balancer
            if name not in equal:
                self._tasks.start_soon(self._serve, frontend)
                log.info("listening", frontend=name, addresses=[str(address) for address in frontend.frontend.addresses])
        for name, frontend in old.frontends.items():
            if name not in parts.frontends:
                frontend.serving.cancel()
                log.info("listening no more", frontend=name)
            elif name not in equal:
                frontend.serving.deadline = anyio.current_time() + LINGER
        self._commit_upstreams(old, parts)

    def _commit_upstreams(self, old: Parts, parts: Parts) -> None:
        gone = _new(old.pools.values(), parts.pools.values())
        for pool in gone:
            pool.watching.cancel()
        for pool in _new(parts.pools.values(), old.pools.values()):
            if pool.monitor:
                self._tasks.start_soon(_watch, pool)
        for upstream in _new(old.upstreams.values(), parts.upstreams.values()):
            self._tasks.start_soon(self._let_go, upstream, gone)

    async def _let_go(self, part: UpstreamPart, pools: Sequence[PoolPart]) -> None:
        """Close a removed upstream when nothing uses it any more.

        :param part: the upstream
        :param pools: which went with it; flows that they are opening may still take it
        """
        upstream = part.upstream
        balancers = [pool.balancer for pool in pools if any(member.upstream is upstream for member in pool.balancer.members)]
        self._leaving.add(upstream)
        upstream.close()
        try:
            if upstream.active:
                log.info("upstream draining", upstream=upstream.name, flows=upstream.active)
            while upstream.active or any(balancer.dialling for balancer in balancers):
                await anyio.sleep(LOOK)
                upstream.close()  # for flows that were being opened, and could go on elsewhere
            log.info("upstream closed", upstream=upstream.name)
        finally:
            self._leaving.discard(upstream)
            await _close(part)

    @staticmethod
    async def _serve(part: FrontendPart) -> None:
        try:
            with part.serving:
                await part.frontend.serve()
        finally:
            await _close(part)


async def _watch(part: PoolPart) -> None:
    assert part.monitor is not None
    with part.watching:
        await part.monitor.run()


async def _close(part: FrontendPart | UpstreamPart) -> None:
    if isinstance(part, UpstreamPart):
        part.upstream.close()
    with anyio.CancelScope(shield=True):
        await (part.frontend if isinstance(part, FrontendPart) else part.transport).close()


def _new(ones: Iterable[PartT], others: Iterable[PartT]) -> list[PartT]:
    """Return the ones that are not among the others."""
    known = set(others)
    return [one for one in ones if one not in known]
