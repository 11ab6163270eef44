from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from outline_lb.api import Candidate, Network, Outcome, Policy
from outline_lb.testing.candidates import FakeCandidate, fake_flow
from outline_lb.testing.conformance.policy import PolicySuite
from outline_lb_policy_fastest.options import Options
from outline_lb_policy_fastest.policy import FastestPolicy

UDP = fake_flow(Network.UDP)


class TestConformance(PolicySuite):
    def make_policy(self) -> Policy:
        return FastestPolicy(Options())


@pytest.fixture
def policy() -> FastestPolicy:
    return FastestPolicy(Options(sticky_ttl=60.0, min_switch=0.020))


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


def pick(policy: FastestPolicy, now: float, *candidates: FakeCandidate) -> Candidate:
    return policy.pick(candidates, fake_flow(), now)


def test_the_fastest_is_picked(policy: FastestPolicy) -> None:
    far, near, middle = FakeCandidate("far", seconds=0.150), FakeCandidate("near", seconds=0.020), FakeCandidate("middle", seconds=0.060)
    assert {pick(policy, now, far, near, middle) for now in (0.0, 1.0, 59.0, 61.0)} == {near}


def test_weight_makes_a_slower_one_win(policy: FastestPolicy) -> None:
    light, heavy = FakeCandidate("light", seconds=0.030), FakeCandidate("heavy", seconds=0.040, weight=2)
    assert pick(policy, 0, light, heavy) is heavy


def test_inside_the_ttl_it_stays_whatever_the_others_do(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.001
    assert pick(policy, 59.9, a, b) is a


def test_after_the_ttl_10_ms_are_not_enough_and_50_ms_are(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.090
    assert pick(policy, 60, a, b) is a
    b.seconds = 0.050
    assert pick(policy, 119.9, a, b) is a  # staying renewed it
    assert pick(policy, 120, a, b) is b


def test_exactly_min_switch_is_enough(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.050), FakeCandidate("b", seconds=0.060)
    pick(policy, 0, a, b)
    b.seconds = 0.030
    assert pick(policy, 60, a, b) is b


def test_what_varies_more_than_min_switch_must_be_faster_by_more_than_that(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.300, spread=0.060), FakeCandidate("b", seconds=0.310, spread=0.040)
    pick(policy, 0, a, b)
    b.seconds = 0.210
    assert pick(policy, 60, a, b) is a
    b.seconds = 0.190
    assert pick(policy, 120, a, b) is b


def test_use_does_not_extend_the_ttl(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    pick(policy, 0, a, b)
    b.seconds = 0.010
    assert [pick(policy, now, a, b).name for now in (20.0, 40.0, 59.0, 60.0)] == ["a", "a", "a", "b"]


def test_the_weight_decides_when_it_is_chosen_again(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.500, weight=2)
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.110  # slower, but its score is 55
    assert pick(policy, 60, a, b) is b


def test_one_that_fails_probes_is_left_after_the_ttl_however_fast_it_was(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.010), FakeCandidate("b", seconds=0.300)
    assert pick(policy, 0, a, b) is a
    a.failed = 1
    assert pick(policy, 30, a, b) is a
    assert pick(policy, 60, a, b) is b


def test_without_a_ttl_it_is_chosen_for_each_flow_and_still_not_for_a_trifle() -> None:
    policy = FastestPolicy(Options(sticky_ttl=0.0, min_switch=0.020))
    a, b = FakeCandidate("a", seconds=0.050), FakeCandidate("b", seconds=0.060)
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.040
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.020
    assert pick(policy, 0, a, b) is b


def test_one_that_fails_a_flow_is_left_at_once_and_the_next_one_holds(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.010), FakeCandidate("b", seconds=0.300)
    flow = fake_flow()
    assert policy.pick([a, b], flow, 0) is a
    a.failed = 1
    policy.done(a, flow, Outcome.FAILED, 0)
    assert policy.pick([b], flow, 0) is b
    a.failed = 0  # a probe is green again: that does not call it back before the ttl
    assert pick(policy, 59, a, b) is b
    assert pick(policy, 60, a, b) is a


@pytest.mark.parametrize("outcome", [Outcome.CLOSED, Outcome.UNUSED])
def test_other_outcomes_change_nothing(policy: FastestPolicy, outcome: Outcome) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    pick(policy, 0, a, b)
    b.seconds = 0.010
    policy.done(a, fake_flow(), outcome, 1)
    assert pick(policy, 1, a, b) is a


def test_the_failure_of_another_one_or_of_packets_changes_nothing(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    pick(policy, 0, a, b)
    b.seconds = 0.010
    policy.done(b, fake_flow(), Outcome.FAILED, 1)
    policy.done(a, UDP, Outcome.FAILED, 1)
    assert pick(policy, 1, a, b) is a


def test_one_that_is_not_usable_any_more_is_left(policy: FastestPolicy) -> None:
    a, b, c = (FakeCandidate(name, seconds=seconds) for name, seconds in [("a", 0.010), ("b", 0.100), ("c", 0.200)])
    assert pick(policy, 0, a, b, c) is a
    a.failed = 2
    assert pick(policy, 1, b, c) is b
    c.seconds = 0.001
    assert pick(policy, 2, b, c) is b


def test_a_flow_that_waits_for_the_current_one_takes_another_but_the_next_flow_does_not(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.010), FakeCandidate("b", seconds=0.100)
    slow = fake_flow()
    assert policy.pick([a, b], slow, 0) is a
    assert policy.pick([b], slow, 0.25) is b
    assert pick(policy, 0.3, a, b) is a


def test_one_that_was_removed_is_forgotten_after_the_ttl(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.010), FakeCandidate("b", seconds=0.100)
    pick(policy, 0, a, b)
    assert pick(policy, 60, b) is b
    assert pick(policy, 61, a, b) is b


def test_the_first_flows_do_not_get_stuck_on_an_unmeasured_one(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a"), FakeCandidate("b")
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.200
    assert pick(policy, 0.1, a, b) is b


def test_the_first_one_measured_gives_way_when_the_others_are(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.900), FakeCandidate("b")
    assert pick(policy, 0, a, b) is a
    b.seconds = 0.050
    assert pick(policy, 0.1, a, b) is b
    a.seconds = 0.001
    assert pick(policy, 0.2, a, b) is b  # now everybody is known, and it holds


def test_an_unmeasured_one_is_better_than_one_that_fails(policy: FastestPolicy) -> None:
    failing, new = FakeCandidate("failing", seconds=0.010, failed=1), FakeCandidate("new")
    assert pick(policy, 0, failing, new) is new


def test_packets_get_the_best_each_time_and_leave_streams_alone(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    assert pick(policy, 0, a, b) is a
    assert policy.pick([a, b], UDP, 0) is a
    b.seconds = 0.099
    assert policy.pick([a, b], UDP, 1) is b
    assert pick(policy, 1, a, b) is a


def test_of_equal_ones_the_first_is_picked(policy: FastestPolicy) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.100)
    assert pick(policy, 0, a, b) is a
    assert policy.pick([b, a], UDP, 0) is b


def test_each_change_is_logged_once_with_its_reason(policy: FastestPolicy, log: list[MutableMapping[str, Any]]) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    pick(policy, 0, a, b)
    pick(policy, 1, a, b)
    b.seconds = 0.010
    pick(policy, 60, a, b)
    policy.done(b, fake_flow(), Outcome.FAILED, 61)
    pick(policy, 61, a)
    a.failed = 2
    pick(policy, 62, b)
    pick(policy, 122, b)  # stays: no line
    assert [(line["before"], line["upstream"], line["reason"]) for line in log] == [
        (None, "a", "first choice"),
        ("a", "b", "faster"),
        ("b", "a", "failed"),
        ("a", "b", "not usable"),
    ]
    assert (log[1]["latency_before"], log[1]["latency"]) == ("100.0ms", "10.0ms")


def test_one_that_failed_a_flow_and_is_still_the_best_is_no_change(policy: FastestPolicy, log: list[MutableMapping[str, Any]]) -> None:
    a, b = FakeCandidate("a", seconds=0.100), FakeCandidate("b", seconds=0.200)
    assert pick(policy, 0, a, b) is a
    policy.done(a, fake_flow(), Outcome.FAILED, 50)
    assert pick(policy, 50, a, b) is a
    b.seconds = 0.010
    assert pick(policy, 109, a, b) is a  # chosen anew at t = 50 s
    assert len(log) == 1
