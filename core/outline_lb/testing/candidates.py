"""Candidates and flows for the tests of policies."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.address import Address
from ..base.flow import Flow, Network
from ..selection.policy import Candidate


@dataclass(eq=False)
class FakeCandidate(Candidate):
    """A candidate that the test changes as it likes. What it knows, it knows for streams and packets alike.

    :param name: name of the upstream
    :param weight: how much it is preferred
    :param active: flows that it carries
    :param seconds: its latency; None before the first sample
    :param spread: the usual difference of a sample from that
    :param failed: failures in a row
    :param checked_at: time of the last evidence, in seconds; None before the first
    :param interval: seconds between probes; None where there are none
    """

    name: str = "fake"
    weight: float = 1.0
    active: int = 0
    seconds: float | None = None
    spread: float = 0.0
    failed: int = 0
    checked_at: float | None = None
    interval: float | None = None

    def latency(self, network: Network) -> float | None:
        return self.seconds

    def deviation(self, network: Network) -> float:
        return self.spread

    def failures(self, network: Network) -> int:
        return self.failed

    def checked(self, network: Network) -> float | None:
        return self.checked_at

    def check_interval(self) -> float | None:
        return self.interval


def fake_flow(network: Network = Network.TCP, target: str = "example.com:443", started: float = 0.0) -> Flow:
    """Return a new flow.

    :param network: streams or packets
    :param target: where it wants to go, as ``host:port``
    :param started: the loop's time in seconds
    """
    return Flow("test", network, None, "", Address.parse(target), started)
