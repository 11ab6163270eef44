"""What every policy must do. Subclass the suite, and say which policy::

class TestConformance(PolicySuite):
    def make_policy(self) -> Policy:
        return MyPolicy()
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from ...base.flow import Flow, Network
from ...selection.policy import Outcome, Policy
from ..candidates import FakeCandidate, fake_flow

PICKS: Final = 10_000
CROWD: Final = 50
BUDGET: Final = 1.0
"""Seconds of CPU for `PICKS` picks among `CROWD` candidates: 100 us for one, far below what opening a stream takes."""


class PolicySuite(ABC):
    """Behaviour that the balancer relies on."""

    @abstractmethod
    def make_policy(self) -> Policy:
        """Return a new policy."""

    @pytest.mark.parametrize("network", Network)
    def test_the_pick_is_one_of_the_candidates(self, network: Network) -> None:
        policy = self.make_policy()
        for candidates, now in _history(seed=1, rounds=300):
            assert policy.pick(candidates, fake_flow(network), now) in candidates

    @pytest.mark.parametrize("network", Network)
    def test_the_same_calls_give_the_same_picks(self, network: Network) -> None:
        assert _names(self.make_policy(), network) == _names(self.make_policy(), network)

    def test_a_single_candidate_is_picked_whatever_its_state(self) -> None:
        for candidate in (FakeCandidate(), FakeCandidate(seconds=0.1), FakeCandidate(failed=9), FakeCandidate(weight=0.01, seconds=30.0)):
            policy = self.make_policy()
            for now in (0.0, 1.0, 1e6):
                assert policy.pick([candidate], fake_flow(), now) is candidate

    def test_a_flow_that_fails_everywhere_gets_each_candidate_once(self) -> None:
        policy, flow = self.make_policy(), fake_flow()
        left = [FakeCandidate(name, seconds=0.1) for name in "abcd"]
        while left:
            picked = policy.pick(left, flow, 1.0)
            left = [candidate for candidate in left if candidate is not picked]
            policy.done(picked, flow, Outcome.FAILED, 1.0)

    def test_a_candidate_that_left_is_not_picked(self) -> None:
        policy = self.make_policy()
        stays, leaves = FakeCandidate("stays", seconds=0.5), FakeCandidate("leaves", seconds=0.1)
        for candidates in ([stays, leaves], [stays], [leaves, stays], [stays]):
            assert policy.pick(candidates, fake_flow(), 1.0) in candidates

    def test_nothing_is_known_about_anybody(self) -> None:
        policy, candidates = self.make_policy(), [FakeCandidate(name) for name in "abc"]
        for now in range(100):
            assert policy.pick(candidates, fake_flow(), float(now)) in candidates

    def test_outcomes_may_come_late_in_any_order_or_not_at_all(self) -> None:
        policy, rng = self.make_policy(), random.Random(2)
        open_flows: list[tuple[FakeCandidate, Flow]] = []
        for candidates, now in _history(seed=3, rounds=300):
            flow = fake_flow(rng.choice(list(Network)))
            picked = policy.pick(candidates, flow, now)
            assert isinstance(picked, FakeCandidate)
            open_flows.append((picked, flow))
            rng.shuffle(open_flows)
            while open_flows and rng.random() < 0.5:
                policy.done(*open_flows.pop(), rng.choice(list(Outcome)), now)

    @pytest.mark.parametrize("network", Network)
    def test_it_is_fast(self, network: Network) -> None:
        policy, flow = self.make_policy(), fake_flow(network)
        crowd = [FakeCandidate(str(i), seconds=0.02 + i / 1000, checked_at=0.0, interval=1e9) for i in range(CROWD)]
        started = time.process_time()
        for i in range(PICKS):
            policy.done(policy.pick(crowd, flow, i / 100), flow, Outcome.CLOSED, i / 100)
        assert time.process_time() - started < BUDGET


def _history(seed: int, rounds: int) -> Iterator[tuple[Sequence[FakeCandidate], float]]:
    """Yield candidates and times: some come, some go, all change."""
    rng = random.Random(seed)
    everybody = [FakeCandidate(f"upstream-{i}", weight=rng.choice([0.5, 1.0, 2.0]), interval=5.0) for i in range(8)]
    now = 0.0
    for _ in range(rounds):
        now += rng.choice([0.0, 0.01, 1.0, 100.0])
        candidate = rng.choice(everybody)
        candidate.seconds = rng.choice([candidate.seconds, rng.uniform(0.001, 2.0)])
        candidate.failed = rng.choice([0, 0, 1, 5])
        candidate.active = rng.randrange(100)
        candidate.checked_at = now
        yield tuple(rng.sample(everybody, rng.randint(1, len(everybody)))), now


def _names(policy: Policy, network: Network) -> list[str]:
    names: list[str] = []
    for candidates, now in _history(seed=4, rounds=300):
        flow = fake_flow(network)
        picked = policy.pick(candidates, flow, now)
        policy.done(picked, flow, list(Outcome)[len(names) % 3], now)
        names.append(picked.name)
    return names
