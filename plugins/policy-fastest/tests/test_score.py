from __future__ import annotations

import pytest

from outline_lb.api import Network
from outline_lb.testing.candidates import FakeCandidate
from outline_lb_policy_fastest.score import score


def score_of(candidate: FakeCandidate, now: float = 1000.0) -> float:
    return score(candidate, Network.TCP, now)


def test_the_score_is_the_latency_in_milliseconds() -> None:
    assert score_of(FakeCandidate(seconds=0.042)) == pytest.approx(42)


def test_an_unknown_latency_counts_as_a_second() -> None:
    assert score_of(FakeCandidate()) == 1000


def test_weight_divides() -> None:
    assert score_of(FakeCandidate(seconds=0.040, weight=2)) == pytest.approx(20)
    assert score_of(FakeCandidate(seconds=0.040, weight=2)) < score_of(FakeCandidate(seconds=0.030, weight=1))


def test_one_failure_costs_1000_and_each_more_500() -> None:
    good = score_of(FakeCandidate(seconds=0.030))
    assert score_of(FakeCandidate(seconds=0.030, failed=1)) - good == pytest.approx(1000)
    assert score_of(FakeCandidate(seconds=0.030, failed=3)) - good == pytest.approx(2000)


def test_penalties_are_divided_by_the_weight_too() -> None:
    assert score_of(FakeCandidate(seconds=0.030, failed=1, weight=2)) == pytest.approx(515)


def test_evidence_is_stale_after_two_of_its_own_intervals() -> None:
    candidate = FakeCandidate(seconds=0.030, checked_at=1000.0, interval=30.0)
    assert score_of(candidate, now=1000.0) == pytest.approx(30)
    assert score_of(candidate, now=1060.0) == pytest.approx(30)
    assert score_of(candidate, now=1061.0) == pytest.approx(30 + 0.2 * 61_000)


def test_nothing_is_stale_without_probes_or_without_evidence() -> None:
    assert score_of(FakeCandidate(seconds=0.030, checked_at=0.0, interval=None), now=1e6) == pytest.approx(30)
    assert score_of(FakeCandidate(checked_at=None, interval=5.0), now=1e6) == 1000


def test_a_bonus_makes_it_faster() -> None:
    assert score(FakeCandidate(seconds=0.050, weight=2), Network.TCP, 0.0, bonus=0.020) == pytest.approx(15)


def test_kinds_of_traffic_are_kept_apart() -> None:
    class Split(FakeCandidate):
        def latency(self, network: Network) -> float | None:
            return {Network.TCP: 0.010, Network.UDP: 0.080}[network]

        def failures(self, network: Network) -> int:
            return {Network.TCP: 0, Network.UDP: 2}[network]

    assert score(Split(), Network.TCP, 0.0) == pytest.approx(10)
    assert score(Split(), Network.UDP, 0.0) == pytest.approx(1580)
