from __future__ import annotations

import pytest
from outline_lb_example.options import Options
from outline_lb_example.policy import CheapestPolicy

from outline_lb.api import Policy
from outline_lb.testing.candidates import FakeCandidate, fake_flow
from outline_lb.testing.conformance.policy import PolicySuite

OPTIONS = Options({"cheap": 0.01, "dear": 0.2, "dear too": 0.2}, other_price=0.1)


class TestConformance(PolicySuite):
    def make_policy(self) -> Policy:
        return CheapestPolicy(OPTIONS)


def pick(*candidates: FakeCandidate) -> str:
    return CheapestPolicy(OPTIONS).pick(candidates, fake_flow(), 0.0).name


@pytest.mark.parametrize(
    ("names", "picked"),
    [(["dear", "cheap"], "cheap"), (["dear", "unlisted"], "unlisted"), (["unlisted", "cheap"], "cheap")],
)
def test_the_lowest_price_wins_whatever_the_latency(names: list[str], picked: str) -> None:
    assert pick(*(FakeCandidate(name, seconds=0.5 if name == picked else 0.01) for name in names)) == picked


def test_among_equal_prices_the_fastest_wins_and_the_unmeasured_is_last() -> None:
    assert pick(FakeCandidate("dear", seconds=0.2), FakeCandidate("dear too", seconds=0.1)) == "dear too"
    assert pick(FakeCandidate("dear"), FakeCandidate("dear too", seconds=30.0)) == "dear too"


def test_one_that_failed_waits_until_the_others_failed_too() -> None:
    assert pick(FakeCandidate("cheap", failed=1), FakeCandidate("dear", seconds=0.1)) == "dear"
    assert pick(FakeCandidate("cheap", failed=1), FakeCandidate("dear", failed=2)) == "cheap"
