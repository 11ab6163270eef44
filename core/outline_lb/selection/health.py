"""What is known about one upstream and one kind of traffic, and whether it may be used now.

Evidence comes from probes and from real traffic. Thresholds turn it into *up* and *down*; a flow that could not be opened also sends the upstream
into a cooldown that no probe shortens, longer each time. After a cooldown, and when it was down for so long without evidence, one flow at a time may
try (*half-open*) until one gets through. Without any evidence an upstream is *unknown*, which is as good as up.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.2
"""Weight of a new sample in the average latency."""
SPELL: Final = 2.0
"""Seconds whose samples together have the weight of one: a hundred flows that open in one second have seen one moment, and not a hundred."""
MAX_COOLDOWN: Final = 300.0
"""Seconds that a cooldown grows to, and the most that a server may ask for."""


class State(enum.Enum):
    """What the evidence says."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """How evidence is judged and gathered.

    :param interval: seconds between probes at first; longer while an upstream works (see `outline_lb.monitoring.pace`), never longer while it is down
    :param timeout: seconds that one probe may take
    :param fail_threshold: failures in a row that make an upstream down
    :param success_threshold: successes in a row that make it up again
    :param cooldown: seconds without new flows after a flow could not be opened; n times as long after the nth cooldown in a row, up to 5 minutes
    """

    interval: float = 5.0
    timeout: float = 3.0
    fail_threshold: int = 2
    success_threshold: int = 1
    cooldown: float = 20.0


class Health:
    """The health of one upstream for one kind of traffic. Times are the loop's, in seconds.

    :param options: how evidence is judged
    """

    __slots__ = (
        "_cooldowns",
        "_ejected_until",
        "_measured_at",
        "_trial",
        "broken",
        "checked",
        "deviation",
        "doubted",
        "failures",
        "latency",
        "options",
        "state",
        "successes",
    )

    def __init__(self, options: HealthOptions) -> None:
        self.options = options
        self._cooldowns = 0  # in a row, without a flow that could be opened
        self._ejected_until = 0.0
        self._measured_at = 0.0
        self._trial = False
        self.state = State.UNKNOWN
        self.latency: float | None = None
        self.deviation = 0.0
        self.failures = 0
        self.successes = 0
        self.checked: float | None = None
        self.doubted = False
        self.broken = 0

    @property
    def sound(self) -> bool:
        """Whether it is available at any time: not down, and there was no cooldown since a flow was opened."""
        return self.state is not State.DOWN and not self._ejected_until

    def available(self, now: float) -> bool:
        """Tell whether new flows may come: not in a cooldown, and up, or half-open with no flow that tries."""
        if now < self._ejected_until:
            return False
        if self.state is State.DOWN:
            assert self.checked is not None
            return not self._trial and now >= self.checked + self.options.cooldown
        return not (self._trial and self._cooldowns)

    def cooldown_left(self, now: float) -> float:
        """Return the seconds until the cooldown ends; 0 if there is none."""
        return max(0.0, self._ejected_until - now)

    def dialling(self) -> None:
        """A flow is being opened; `dial_given_up`, `dial_failed` or `dial_succeeded` follows. Half-open, it is the only one."""
        self._trial = True

    def dial_given_up(self) -> None:
        """The flow that was being opened is not wanted any more."""
        self._trial = False

    def dial_failed(self, now: float) -> bool:
        """A flow could not be opened: evidence, and a cooldown, unless there is one already (flows come, and fail, by the dozen).

        :return: whether the state changed
        """
        self._trial = False
        return self.ejected(now)

    def ejected(self, now: float) -> bool:
        """It should have no new flows for a while: evidence, and a cooldown, unless there is one already.

        :return: whether the state changed
        """
        if now >= self._ejected_until:
            self._cooldowns += 1
            self._ejected_until = now + min(self.options.cooldown * self._cooldowns, MAX_COOLDOWN)
        return self.failed(now)

    def refused(self, now: float, seconds: float) -> bool:
        """The server itself said that it will not serve: down at once, with a cooldown that is as long as it says.

        :param seconds: how long it is no use to try again; more than 5 minutes count as 5 minutes
        :return: whether the state changed
        """
        self._trial = False
        self._ejected_until = max(self._ejected_until, now + min(seconds, MAX_COOLDOWN))
        return self.failed(now) or self._become(State.DOWN)

    def flow_broken(self, now: float) -> bool:
        """The server broke a flow that was open. Flows that can be opened are no excuse: after as many as `fail_threshold`, with no good one between
        them, new flows go elsewhere for a cooldown.

        :return: whether the state changed
        """
        self.broken += 1
        if self.broken < self.options.fail_threshold:
            return self.failed(now)
        self.broken = 0
        return self.ejected(now)

    def flow_ended_well(self) -> None:
        """A flow had its whole answer."""
        self.broken = 0

    def doubt(self) -> None:
        """Something happened that need not be its fault, such as a flow that was cut off: worth a probe. `doubted` until there is evidence."""
        self.doubted = True

    def dial_succeeded(self, now: float, seconds: float | None) -> bool:
        """A flow was opened.

        :param seconds: what it took; None if that says nothing about the upstream
        :return: whether the state changed
        """
        self._trial = False
        self._cooldowns = 0
        self._ejected_until = 0.0
        return self.succeeded(now, seconds)

    def failed(self, now: float) -> bool:
        """Take evidence that it does not work.

        :return: whether the state changed
        """
        self.checked = now
        self.doubted = False
        self.successes = 0
        self.failures += 1
        return self.failures >= self.options.fail_threshold and self._become(State.DOWN)

    def succeeded(self, now: float, seconds: float | None) -> bool:
        """Take evidence that it works.

        :param seconds: what it took; None if nobody measured
        :return: whether the state changed
        """
        self.checked = now
        self.doubted = False
        self.failures = 0
        self.successes += 1
        if seconds is not None:
            self._measured(now, seconds)
        return self.successes >= self.options.success_threshold and self._become(State.UP)

    def _measured(self, now: float, seconds: float) -> None:
        """Average, and the average distance from it (as RFC 6298 section 2 does for round trips)."""
        if self.latency is None:
            self.latency = seconds
        else:
            weight = ALPHA * min(1.0, (now - self._measured_at) / SPELL)
            self.deviation += weight * (abs(seconds - self.latency) - self.deviation)
            self.latency += weight * (seconds - self.latency)
        self._measured_at = now

    def _become(self, state: State) -> bool:
        changed = self.state is not state
        self.state = state
        return changed
