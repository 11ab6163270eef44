from __future__ import annotations

from outline_lb.base.flow import Network
from outline_lb.selection.policy import OnlyPolicy, Outcome
from outline_lb.testing.candidates import FakeCandidate, fake_flow


def test_the_only_one_is_taken_whatever_happens() -> None:
    policy, only = OnlyPolicy(), FakeCandidate("only")
    for outcome in Outcome:
        flow = fake_flow(Network.TCP)
        assert policy.pick([only], flow, 1.0) is only
        policy.done(only, flow, outcome, 2.0)
