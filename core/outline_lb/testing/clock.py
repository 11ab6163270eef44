"""An event loop whose time does not pass by itself.

Timeouts of minutes are tested in milliseconds, exactly, and on a loaded machine too. Sockets work as usual.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple

import anyio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SETTLE: Final = 0.005
"""Real seconds without any event after which the loop counts as idle."""
MANY: Final = 1000
"""Rounds of the loop after which `settle` gives up: somebody runs in circles, or polls."""


class _Selector(selectors.DefaultSelector):
    """Never waits for time: when nothing is ready, the clock jumps instead."""

    clock: ClockLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        ready = super().select(SETTLE)  # what another process is about to bring
        if not ready and timeout is not None and self.clock.autojump and not self.clock.threads:
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
        self.threads = 0
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run a function in a thread, as usual; no time passes by itself until it has ended."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _future: asyncio.Future[Any]) -> None:
        self.threads -= 1

    def idle(self) -> bool:
        """Tell whether nothing is left to do now but what called this."""
        return not self._ready and not self._selector.select(0)  # type: ignore[attr-defined]

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
    """Let everything that is ready run, sockets included.

    :param rounds: of the loop, at least; on a `ClockLoop` as many more as it takes until nothing is left to do (or `MANY`)
    """
    for _ in range(rounds):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    if isinstance(loop, ClockLoop):
        for _ in range(MANY):
            if loop.idle():
                break
            await asyncio.sleep(0)


def run_on_clock(function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function on a new `ClockLoop`, and return its result."""
    return anyio.run(function, *args, backend_options={"loop_factory": ClockLoop})
