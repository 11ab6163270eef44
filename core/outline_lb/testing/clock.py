"""An event loop whose time does not pass by itself.

Timeouts of minutes are tested in milliseconds, exactly, and on a loaded machine too. Sockets work as usual.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, Final

import anyio

SETTLE: Final = 0.005
"""Real seconds without any event after which the loop counts as idle."""


class _Selector(selectors.DefaultSelector):
    """Never waits for time: when nothing is ready, the clock jumps instead."""

    clock: ClockLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        ready = super().select(SETTLE)  # what a thread or another process is about to bring
        if not ready and timeout is not None and self.clock.autojump:
            self.clock.now += timeout
        return ready


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop with a fake clock that jumps to the next timer when nothing else is left to do.

    Set `autojump` to False to move it by `advance` only.
    """

    def __init__(self) -> None:
        selector = _Selector()
        selector.clock = self
        self.now = 1000.0
        self.autojump = True
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let time pass, running each timer at its time."""
        end = self.now + seconds
        while True:
            await settle()
            due = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
        self.now = end
        await settle()


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready run, sockets included."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def run_on_clock(function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function on a new `ClockLoop`, and return its result."""
    return anyio.run(function, *args, backend_options={"loop_factory": ClockLoop})
