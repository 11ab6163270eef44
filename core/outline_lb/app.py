"""The program while it runs: start, reload, stop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import structlog

from .base.errors import ConfigError, OutlineLBError, describe
from .base.flow import Flow, Network
from .config.settings import Settings
from .datapath.balancer import FlowListeners
from .datapath.carrier import Carrier
from .datapath.frontend import Frontend
from .monitoring.keeper import Keeper
from .net.service_manager import notify, notify_reloading
from .plugin.notifier import Notifier
from .running.changes import compare
from .running.system import System
from .running.watch import ConfigFile

log = structlog.get_logger("app")

STATUS: Final = "STATUS="


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the configuration is from, for those that come later.

    :param load: reads it again, as at the start; runs in a thread
    :param file: watched; None: nothing is
    :param applied: called with settings that are in force now
    """

    load: Callable[[], tuple[Settings, Notifier]]
    file: ConfigFile | None = None
    applied: Callable[[Settings], object] = lambda _: None


class App:
    """One running program.

    Life cycle: constructed (no side effects), `run`: prepare everything that can fail, serve, drain, close.

    :param settings: what to run
    :param notifier: tells the plugins what happens
    :param origin: where other settings come from; None: these are for ever
    """

    def __init__(self, settings: Settings, notifier: Notifier, origin: Origin | None = None) -> None:
        self._settings = settings
        self._notifier = notifier
        self._origin = origin
        self._system: System | None = None
        self._stop = asyncio.Event()
        self._stopped_by = ""
        self._reload = asyncio.Event()
        self._reload_by: dict[str, None] = {}
        self._patience: anyio.CancelScope | None = None

    @property
    def frontends(self) -> dict[str, Frontend]:
        """The frontends that run, by name."""
        return self._system.frontends if self._system else {}

    def stop(self, by: str) -> None:
        """Accept nothing more and let the flows end; the second time, end at once.

        :param by: who wants it, for the log
        """
        if self._stop.is_set() and self._patience:
            log.info("stopping now", by=by)
            self._patience.cancel()
        self._stopped_by = by
        self._stop.set()

    def reload(self, by: str) -> None:
        """Load the configuration again. Nothing changes if anything is wrong with it.

        :param by: who wants it, for the log
        """
        self._reload_by[by] = None
        self._reload.set()

    async def run(self, started: Callable[[App], None] = lambda _: None) -> None:
        """Run until `stop`, or until cancelled: flows that are still there then are aborted.

        :param started: called once when everything serves
        :raises OutlineLBError: if the settings do not go together, or something from the system is not to be had; nothing was started then
        """
        async with anyio.create_task_group() as tasks:
            self._patience = anyio.CancelScope()
            carrier = Carrier(tasks)
            self._system = system = System(tasks, carrier, FlowListeners(self._flow_opened, self._flow_closed), self._health_changed)
            tasks.start_soon(Keeper(system.upstreams).run)
            try:
                await system.apply(self._settings)
                self._freeze()
                notify("READY=1", self._status())
                started(self)
                async with anyio.create_task_group() as listening:
                    listening.start_soon(self._reload_when_told)
                    listening.start_soon(self._watch)
                    await self._stop.wait()
                    system.stop_accepting()
                    listening.cancel_scope.cancel()
                await self._drain(carrier, self._patience)
            finally:
                carrier.abort_all()
                await system.close()
            tasks.cancel_scope.cancel()

    async def _drain(self, carrier: Carrier, patience: anyio.CancelScope) -> None:
        seconds = self._settings.drain_timeout
        log.info("stopping", by=self._stopped_by, flows=carrier.streams, drain_timeout=f"{seconds:g}s")
        notify("STOPPING=1", f"{STATUS}waiting for {carrier.streams} flows")
        patience.deadline = anyio.current_time() + seconds
        with patience:
            await carrier.drained()
        if carrier.streams:
            log.warning("aborting flows", flows=carrier.streams)
        log.info("stopped")

    async def _watch(self) -> None:
        if self._origin and self._origin.file:
            await self._origin.file.watch(lambda: self.reload("file"))

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            by = ", ".join(self._reload_by)
            self._reload_by.clear()
            if self._origin:
                await self._load_again(self._origin, by)

    async def _load_again(self, origin: Origin, by: str) -> None:
        log.debug("reloading", by=by)
        notify_reloading()
        try:
            await self._apply(origin, by)
        except OutlineLBError as error:
            for problem in error.problems if isinstance(error, ConfigError) else (error,):
                log.error("reload refused", by=by, problem=str(problem))
            notify("READY=1", f"{STATUS}reload refused: {str(error).splitlines()[0]}")
        except Exception as error:  # a defect of a plugin: what runs goes on
            log.exception("reload refused", by=by, problem=describe(error))
            notify("READY=1", f"{STATUS}reload refused: {type(error).__name__}")

    async def _apply(self, origin: Origin, by: str) -> None:
        if origin.file:
            await anyio.to_thread.run_sync(origin.file.look)  # this content is not news any more
        settings, notifier = await anyio.to_thread.run_sync(origin.load, abandon_on_cancel=True)
        assert self._system is not None
        await self._system.apply(settings)
        changes = compare(self._settings, settings)
        self._settings, self._notifier = settings, notifier
        origin.applied(settings)
        log.info("reloaded", by=by, added=changes.added, removed=changes.removed, changed=changes.changed)
        if changes.all:
            notifier.config_reloaded(changes.all)
        notify("READY=1", self._status())

    def _status(self) -> str:
        return f"{STATUS}serving {len(self._settings.frontends)} frontends over {len(self._settings.upstreams)} upstreams"

    # -- events go to the plugins that are active when they happen

    def _flow_opened(self, flow: Flow, upstream: str) -> None:
        self._notifier.flow_opened(flow, upstream)

    def _flow_closed(self, flow: Flow, upstream: str, sent: int, received: int, error: Exception | None) -> None:
        self._notifier.flow_closed(flow, upstream, sent, received, error)

    def _health_changed(self, upstream: str, network: Network, up: bool, reason: str) -> None:
        self._notifier.health_changed(upstream, network, up, reason)

    @staticmethod
    def _freeze() -> None:
        """Take what start-up made out of the collector's sight: it stays, and each full collection would look at it."""
        gc.collect()
        gc.freeze()
