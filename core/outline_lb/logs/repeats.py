"""Sums up what is said again and again, so that trouble with every flow does not fill the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import structlog
from structlog.typing import EventDict

SHOWN: Final = 10
WINDOW: Final = 30.0
"""Of lines that say the same, so many are shown in so many seconds; one more sums up the others."""
KINDS: Final = 1000
"""Kinds of lines that are remembered at the same time."""
TELLING: Final = ("upstream", "frontend", "pool", "network", "plugin", "probe", "hook", "server", "address", "problem", "error", "reason", "source")
"""The fields that make a line another one, besides room, level and event. What differs from flow to flow is not among them."""

_Kind: TypeAlias = tuple[str, ...]


class _Count:
    """What was said of one kind, in one window."""

    __slots__ = ("began", "last", "left_out", "shown")

    def __init__(self, began: float) -> None:
        self.began = began
        self.shown = 1
        self.left_out = 0
        self.last: EventDict = {}


class Repeats:
    """A structlog processor that leaves repeated lines out. Lines of level debug pass: who asked for them wants all.

    :param tell: takes the line that sums up others: the last one of them, with their number in ``repeated``
    :param later: calls something after so many seconds, if it can; else it is summed up with the next line of the kind, or at the end
    :param clock: seconds, from anywhere
    """

    def __init__(
        self,
        tell: Callable[[EventDict], None],
        later: Callable[[float, Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._later = later
        self._clock = clock
        self._counts: dict[_Kind, _Count] = {}  # the oldest first

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Return the event.

        :raises DropEvent: if it is left out
        """
        if event["level"] == "debug":
            return event
        now, kind = self._clock(), (event["logger"], event["level"], str(event["event"]), *(str(event.get(name)) for name in TELLING))
        count = self._counts.get(kind)
        if count is not None and now - count.began >= WINDOW:
            self._end(kind, count)
            count = None
        if count is None:
            self._begin(kind, now)
        elif count.shown < SHOWN:
            count.shown += 1
        else:
            self._leave_out(kind, count, event, now)
            raise structlog.DropEvent
        return event

    def end_all(self) -> None:
        """Sum everything up."""
        for kind, count in list(self._counts.items()):
            self._end(kind, count)

    def _begin(self, kind: _Kind, now: float) -> None:
        if len(self._counts) >= KINDS:
            self._end(*next(iter(self._counts.items())))
        self._counts[kind] = _Count(now)

    def _leave_out(self, kind: _Kind, count: _Count, event: EventDict, now: float) -> None:
        count.left_out += 1
        count.last = {key: value for key, value in event.items() if key != "exc_info"}
        if count.left_out == 1:
            self._later(count.began + WINDOW - now, partial(self._end, kind, count))

    def _end(self, kind: _Kind, count: _Count) -> None:
        if self._counts.get(kind) is count:
            del self._counts[kind]
            if count.left_out:
                self._tell({**count.last, "repeated": count.left_out})
