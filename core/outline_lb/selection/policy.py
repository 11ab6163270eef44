"""The contract of a selection policy, and what it may look at."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..base.flow import Flow, Network


class Outcome(enum.Enum):
    """How a flow went for the candidate that it was given."""

    FAILED = "failed"
    """It could not open a stream."""
    UNUSED = "unused"
    """Not its fault: another candidate was faster, nobody waited any more, or the target itself was the trouble."""
    CLOSED = "closed"
    """The flow was carried, and is over."""


class Candidate(ABC):
    """A live, read-only view of one upstream in one pool; the same object for as long as the upstream is in it."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the upstream."""

    @property
    @abstractmethod
    def weight(self) -> float:
        """How much this upstream is preferred in this pool; above 0, usually 1."""

    @property
    @abstractmethod
    def active(self) -> int:
        """Flows that it carries now."""

    @abstractmethod
    def latency(self, network: Network) -> float | None:
        """Usual seconds that it takes to get a stream open; None before the first sample."""

    @abstractmethod
    def deviation(self, network: Network) -> float:
        """Usual difference of a sample from `latency`, in seconds; 0 before the second sample."""

    @abstractmethod
    def failures(self, network: Network) -> int:
        """Failures in a row, 0 after a success."""

    @abstractmethod
    def checked(self, network: Network) -> float | None:
        """The loop's time of the last evidence, good or bad; None before the first."""

    @abstractmethod
    def check_interval(self) -> float | None:
        """Seconds between probes, so that a policy can tell old evidence; None where there are no probes."""


class Policy(ABC):
    """Chooses one candidate for each flow.

    One object per pool, called from the event loop only. It must be fast, must not block, and gives the same answers for the same calls.
    """

    @abstractmethod
    def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
        """Choose. The balancer asks again, without the one that failed, as long as the flow has time.

        :param candidates: at least one, all of the same tier and all usable now (or all that there are, when none is)
        :param flow: what it is for
        :param now: the loop's time in seconds
        :return: one of `candidates`
        """

    def done(self, candidate: Candidate, flow: Flow, outcome: Outcome, now: float) -> None:  # noqa: B027 - optional
        """Hear how it went: once for each candidate that `pick` returned."""


class OnlyPolicy(Policy):
    """Takes the first: for a pool of one."""

    def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
        return candidates[0]
