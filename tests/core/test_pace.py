from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.monitoring.pace import JITTER, MAX_INTERVAL, MIN_INTERVAL, Pace, jittered, longest_interval


def test_a_working_upstream_is_probed_less_and_less_up_to_the_limit() -> None:
    pace = Pace(5.0)
    delays = [pace.worked(None, up=True) for _ in range(15)]
    assert delays[:3] == pytest.approx([6.0, 7.2, 8.64])
    assert delays == sorted(delays)
    assert delays[-1] == MAX_INTERVAL == longest_interval(5.0)


def test_a_quarter_of_the_latency_is_added() -> None:
    assert Pace(5.0).worked(0.400, up=True) == pytest.approx(6.1)


def test_the_first_failure_is_confirmed_soon_and_the_interval_is_the_limit() -> None:
    pace = Pace(5.0)
    for _ in range(20):
        pace.worked(None, up=True)
    assert [pace.failed() for _ in range(5)] == pytest.approx([1.6, 2.56, 4.096, 5.0, 5.0])


def test_after_a_failure_trust_grows_again_from_where_it_fell_to() -> None:
    pace = Pace(5.0)
    pace.failed()
    assert [pace.worked(None, up=True) for _ in range(2)] == pytest.approx([1.92, 2.304])
    assert pace.failed() == pytest.approx(1.6)


def test_success_that_is_not_enough_yet_is_confirmed_soon() -> None:
    pace = Pace(5.0)
    pace.failed()
    assert [pace.worked(None, up=False), pace.worked(None, up=False)] == [MIN_INTERVAL, MIN_INTERVAL]


def test_an_interval_below_the_shortest_or_above_the_longest_is_taken_as_it_is() -> None:
    assert Pace(0.1).soon() == 0.1
    assert Pace(0.1).failed() == 0.1
    assert Pace(60.0).worked(None, up=True) == 60.0 == longest_interval(60.0)
    assert [Pace(60.0).soon(), Pace(60.0).silent()] == [1.0, 60.0]


@settings(deadline=None, max_examples=200)
@given(interval=st.floats(0.05, 3600), steps=st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 30)), max_size=60))
def test_delays_stay_in_bounds_and_a_failing_upstream_waits_no_longer_than_the_interval(
    interval: float, steps: list[tuple[bool, bool, float]]
) -> None:
    pace = Pace(interval)
    for works, up, latency in steps:
        delay = pace.worked(latency, up) if works else pace.failed()
        assert min(MIN_INTERVAL, interval) <= delay <= longest_interval(interval)
        assert works or delay <= interval


def test_jitter_goes_both_ways_and_is_bounded() -> None:
    random = Random(1)
    delays = [jittered(5.0, random) for _ in range(1000)]
    assert 5.0 - JITTER <= min(delays) < 5.0 - 0.9 * JITTER
    assert 5.0 + 0.9 * JITTER < max(delays) <= 5.0 + JITTER
    assert min(jittered(0.1, random) for _ in range(1000)) >= 0.05
