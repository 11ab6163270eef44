"""Tells plugins what happened. It calls each implementation itself, so that one that fails harms nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

import structlog

from ..base.duration import format_duration
from ..base.errors import describe
from ..base.flow import Flow, Network
from .discovery import InstalledPlugin

log = structlog.get_logger("plugin")

MAX_FAILURES: Final = 5
"""An implementation that failed this often is not called any more."""
MAX_SECONDS: Final = 0.050
"""A call that takes longer is reported: nothing else happens meanwhile."""
REPORT_INTERVAL: Final = 60.0
"""Seconds between two reports of slow calls of one implementation, at least."""


class Implementation:
    """One plugin's implementation of one notification hook.

    :param owner: the plugin
    :param hook: name of the hook
    :param function: what the plugin wrote; it takes some of the hook's arguments, by position
    :param wanted: the positions, among the hook's arguments, of those that it takes
    :param clock: the time in seconds
    """

    __slots__ = ("_clock", "_function", "_quiet_until", "_wanted", "failures", "hook", "owner", "slow")

    def __init__(
        self,
        owner: InstalledPlugin,
        hook: str,
        function: Callable[..., object],
        wanted: Sequence[int],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.owner = owner
        self.hook = hook
        self.failures = 0
        """Calls that raised."""
        self.slow = 0
        """Calls that took longer than `MAX_SECONDS`."""
        self._function = function
        self._wanted = wanted
        self._clock = clock
        self._quiet_until = float("-inf")

    def __call__(self, *arguments: Any) -> None:
        """Call it, unless it failed too often."""
        if self.failures >= MAX_FAILURES:
            return
        began = self._clock()
        try:
            self._function(*(arguments[position] for position in self._wanted))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin decides neither that the program ends, nor that a task of others does
            self._failed(error)
        ended = self._clock()
        if ended - began > MAX_SECONDS:
            self._was_slow(ended - began, ended)

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        muted = self.failures >= MAX_FAILURES
        log.warning(
            "plugin failed, and is not told any more" if muted else "plugin failed",
            plugin=str(self.owner),
            hook=self.hook,
            error=f"{type(error).__name__}: {describe(error)}",
            failures=self.failures,
        )

    def _was_slow(self, seconds: float, now: float) -> None:
        self.slow += 1
        if now >= self._quiet_until:
            self._quiet_until = now + REPORT_INTERVAL
            log.warning("plugin held everything up", plugin=str(self.owner), hook=self.hook, took=format_duration(seconds), times=self.slow)


class Notifier:
    """The notification hooks (see `hookspecs`) as methods. Without anybody who listens, a call is an empty loop.

    :param implementations: of all active plugins, in the order in which they are to be told
    """

    __slots__ = ("_config_reloaded", "_flow_closed", "_flow_opened", "_health_changed", "_implementations")

    def __init__(self, implementations: Sequence[Implementation] = ()) -> None:
        def of(hook: str) -> tuple[Implementation, ...]:
            return tuple(implementation for implementation in implementations if implementation.hook == hook)

        self._implementations = implementations
        self._flow_opened = of("outline_lb_flow_opened")
        self._flow_closed = of("outline_lb_flow_closed")
        self._health_changed = of("outline_lb_health_changed")
        self._config_reloaded = of("outline_lb_config_reloaded")

    def only(self, modules: Container[str]) -> Notifier:
        """Return one that tells the plugins of these modules only. What is muted stays muted."""
        return Notifier([implementation for implementation in self._implementations if implementation.owner.module in modules])

    def flow_opened(self, flow: Flow, upstream: str) -> None:
        """A flow has a stream to its target."""
        for implementation in self._flow_opened:
            implementation(flow, upstream)

    def flow_closed(self, flow: Flow, upstream: str, sent: int, received: int, error: Exception | None) -> None:
        """A flow that was opened is over."""
        for implementation in self._flow_closed:
            implementation(flow, upstream, sent, received, error)

    def health_changed(self, upstream: str, network: Network, up: bool, reason: str) -> None:
        """An upstream went up or down for one kind of traffic."""
        for implementation in self._health_changed:
            implementation(upstream, network, up, reason)

    def config_reloaded(self, changes: Sequence[str]) -> None:
        """Another configuration is in force."""
        for implementation in self._config_reloaded:
            implementation(changes)
