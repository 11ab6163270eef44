"""Tells plugins what happened. It calls each implementation itself, so that one that fails harms nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from ..base.errors import describe
from ..base.flow import Flow, Network

log = structlog.get_logger("plugin")

MAX_FAILURES: Final = 5
"""An implementation that failed this often is not called any more."""


class Implementation:
    """One plugin's implementation of one notification hook.

    :param owner: the plugin, for people
    :param hook: name of the hook
    :param function: what the plugin wrote; it takes some of the hook's arguments, by position
    :param wanted: the positions, among the hook's arguments, of those that it takes
    """

    __slots__ = ("_function", "_wanted", "failures", "hook", "owner")

    def __init__(self, owner: str, hook: str, function: Callable[..., object], wanted: Sequence[int]) -> None:
        self.owner = owner
        self.hook = hook
        self.failures = 0
        self._function = function
        self._wanted = wanted

    def __call__(self, *arguments: Any) -> None:
        """Call it, unless it failed too often."""
        if self.failures >= MAX_FAILURES:
            return
        try:
            self._function(*(arguments[position] for position in self._wanted))
        except Exception as error:
            self.failures += 1
            muted = self.failures >= MAX_FAILURES
            log.warning(
                "plugin failed, and is not told any more" if muted else "plugin failed",
                plugin=self.owner,
                hook=self.hook,
                error=f"{type(error).__name__}: {describe(error)}",
                failures=self.failures,
            )


class Notifier:
    """The notification hooks (see `hookspecs`) as methods. Without anybody who listens, a call is an empty loop.

    :param implementations: of all active plugins, in the order in which they are to be told
    """

    __slots__ = ("_flow_closed", "_flow_opened", "_health_changed")

    def __init__(self, implementations: Sequence[Implementation] = ()) -> None:
        def of(hook: str) -> tuple[Implementation, ...]:
            return tuple(implementation for implementation in implementations if implementation.hook == hook)

        self._flow_opened = of("outline_lb_flow_opened")
        self._flow_closed = of("outline_lb_flow_closed")
        self._health_changed = of("outline_lb_health_changed")

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
