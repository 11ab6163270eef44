"""Tells how long the event loop did not get to run: a probe that was not looked at is not one that had no answer."""

from __future__ import annotations

import asyncio
from types import TracebackType


class LoopLag:
    """Adds up the lateness of the loop while it is entered. A blocking call, a starved process and a stopped one all count.

    :param period: seconds between two looks; blocks that are shorter may be missed
    """

    __slots__ = ("_due", "_handle", "_loop", "_period", "seconds")

    def __init__(self, period: float) -> None:
        self._period = period
        self._loop = asyncio.get_running_loop()
        self.seconds = 0.0

    def __enter__(self) -> LoopLag:
        self._look_later()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.cancel()
        self._take()

    def _look_later(self) -> None:
        self._due = self._loop.time() + self._period
        self._handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._take()
        self._look_later()

    def _take(self) -> None:
        self.seconds += max(0.0, self._loop.time() - self._due)
