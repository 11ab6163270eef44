"""How often an upstream is probed: less and less while it works, soon again when it fails.

::

    works                  delay × 1.2 + 0.25 × latency           5 s → 6 → 7.2 → 8.6 → ... 30 s
    fails for the first    1.6 s, whatever it was before          a failure is confirmed, or forgotten, soon
    time, and again        delay × 1.6, up to the interval        1.6 s → 2.6 → 4.1 → 5 → 5: it is found again within one interval
    works, is not up yet   1 s                                    until `success_threshold` is reached

(with an interval of 5 s). So `interval` is the longest time that a server which came back waits to be found, and what a working one begins with.
"""

from __future__ import annotations

from random import Random
from typing import Final

MIN_INTERVAL: Final = 1.0
"""Seconds between two probes at least; a shorter configured interval is taken as it is."""
MAX_INTERVAL: Final = 30.0
"""Seconds between two probes at most; a longer configured interval is taken as it is."""
JITTER: Final = 0.2
"""Seconds that each delay is made longer or shorter by, at random, so that probes do not fall into step."""

_GROWTH = 1.2
_LATENCY_SHARE = 0.25
_BACKOFF = 1.6


def longest_interval(interval: float) -> float:
    """Return the seconds that may lie between two probes of an upstream that works: what evidence is old by.

    :param interval: the configured one, in seconds
    """
    return max(interval, MAX_INTERVAL)


class Pace:
    """The delays of one upstream, for one kind of traffic.

    :param interval: the configured one, in seconds
    """

    __slots__ = ("_delay", "_failing", "_interval")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._delay = interval
        self._failing = False

    def worked(self, latency: float | None, up: bool) -> float:
        """Return the seconds until the next probe, after one that succeeded.

        :param latency: usual seconds of this upstream, if known
        :param up: whether it counts as up now
        """
        self._failing = False
        if not up:
            return self.soon()
        self._delay = min(self._delay * _GROWTH + (latency or 0.0) * _LATENCY_SHARE, longest_interval(self._interval))
        return self._delay

    def failed(self) -> float:
        """Return the seconds until the next probe, after one that failed."""
        base = self._delay if self._failing else MIN_INTERVAL
        self._failing = True
        self._delay = min(base * _BACKOFF, self._interval)
        return self._delay

    def silent(self) -> float:
        """Return the seconds until the next probe, after one that said nothing about this upstream."""
        return self._interval

    def soon(self) -> float:
        """Return the seconds until the next probe, when the answer is wanted before its time."""
        return min(MIN_INTERVAL, self._interval)


def jittered(delay: float, random: Random) -> float:
    """Return a delay, made longer or shorter by up to `JITTER` (and by no more than half)."""
    return delay + random.uniform(-1, 1) * min(JITTER, delay / 2)
