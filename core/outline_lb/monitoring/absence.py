"""Tells how long nobody was there: the process was stopped, or the machine asleep."""

from __future__ import annotations

import asyncio
import time
from typing import Final

ASLEEP: Final = 5.0
"""Seconds between two looks, made each second or so, after which all connections may be dead."""

_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps, as the loop's does not


class Absence:
    """Measures from one look to the next."""

    __slots__ = ("_awake", "_loop", "_real")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awake, self._real = self._loop.time(), time.clock_gettime(_CLOCK)

    def seconds(self) -> float:
        """Return the seconds since the last look, those asleep among them."""
        awake, real = self._awake, self._real
        self._awake, self._real = self._loop.time(), time.clock_gettime(_CLOCK)
        return max(self._awake - awake, self._real - real)
