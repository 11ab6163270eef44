from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.selection.health import MAX_COOLDOWN, Health, HealthOptions, State


def health(fail_threshold: int = 2, success_threshold: int = 1, cooldown: float = 20.0) -> Health:
    return Health(HealthOptions(fail_threshold=fail_threshold, success_threshold=success_threshold, cooldown=cooldown))


def down_since(now: float) -> Health:
    """Down by probes alone."""
    found = health(fail_threshold=1)
    found.failed(now)
    return found


def test_unknown_is_usable() -> None:
    new = health()
    assert new.state is State.UNKNOWN
    assert new.available(0.0)
    assert (new.latency, new.checked, new.failures, new.cooldown_left(0.0)) == (None, None, 0, 0.0)


def test_failures_in_a_row_make_it_down() -> None:
    found = health(fail_threshold=3)
    assert not found.failed(1)
    assert not found.failed(2)
    assert found.available(2)
    assert found.failed(3)
    assert found.state is State.DOWN
    assert not found.available(3)
    assert not found.failed(4)  # told once


def test_a_success_between_starts_the_count_again() -> None:
    found = health(fail_threshold=2)
    found.failed(1)
    found.succeeded(2, 0.1)
    assert found.failures == 0
    assert not found.failed(3)
    assert found.state is State.UP
    assert found.failures == 1


def test_successes_in_a_row_make_it_up() -> None:
    found = health(fail_threshold=1, success_threshold=3)
    found.failed(0)
    assert not found.succeeded(1, 0.1)
    assert not found.succeeded(2, 0.1)
    found.failed(3)
    assert [found.succeeded(now, 0.1) for now in (4, 5, 6, 7)] == [False, False, True, False]
    assert found.state is State.UP


def test_the_first_success_is_news_only_to_the_unknown() -> None:
    found = health()
    assert found.succeeded(0, None)
    assert not found.succeeded(1, None)
    assert found.latency is None


def test_latency_is_averaged() -> None:
    found = health()
    found.succeeded(0.0, 0.100)
    assert found.latency == pytest.approx(0.100)
    found.succeeded(5.0, 0.200)
    assert found.latency == pytest.approx(0.120)
    found.succeeded(6.0, None)
    assert found.latency == pytest.approx(0.120)
    found.succeeded(10.0, 0.020)
    assert found.latency == pytest.approx(0.100)


def test_samples_of_one_moment_count_as_one() -> None:
    found = health()
    found.succeeded(0.0, 0.100)
    for sample in range(100):
        found.succeeded(10 + sample / 1000, 1.100)
    assert found.latency == pytest.approx(0.300, abs=0.01)
    for _ in range(100):
        found.succeeded(10.099, 2.0)
    assert found.latency == pytest.approx(0.300, abs=0.01)


def test_failures_keep_the_latency() -> None:
    found = health()
    found.succeeded(0, 0.1)
    found.failed(1)
    found.dial_failed(2)
    assert found.latency == 0.1


def test_the_last_evidence_has_a_time() -> None:
    found = health()
    for now, report in enumerate((found.failed, found.dial_failed)):
        report(float(now))
        assert found.checked == now
    found.succeeded(7, 0.1)
    assert found.checked == 7
    found.dial_succeeded(8, None)
    assert found.checked == 8


def test_a_failed_flow_starts_a_cooldown() -> None:
    found = health(cooldown=20)
    found.succeeded(99, 0.1)
    assert not found.dial_failed(100)  # not down yet
    assert found.state is State.UP
    assert not found.available(119.9)
    assert found.cooldown_left(110) == 10
    assert found.available(120)
    assert found.cooldown_left(120) == 0


def test_a_probe_does_not_shorten_a_cooldown() -> None:
    found = health(cooldown=20)
    found.dial_failed(100)
    found.dial_failed(100)
    assert found.state is State.DOWN
    assert found.succeeded(105, 0.1)  # up
    assert not found.available(119.9)
    assert found.available(120)


def test_a_flow_that_gets_through_ends_a_cooldown() -> None:
    found = health(cooldown=20)
    found.dial_failed(100)
    found.dial_succeeded(101, 0.1)
    assert found.available(101)
    assert found.cooldown_left(101) == 0


def test_cooldowns_in_a_row_grow() -> None:
    found, now, lengths = health(cooldown=20), 0.0, []
    for _ in range(20):
        found.dial_failed(now)
        lengths.append(found.cooldown_left(now))
        now += lengths[-1]
    assert lengths[:4] == [20, 40, 60, 80]
    assert lengths[14:] == [MAX_COOLDOWN] * 6


def test_a_success_makes_the_next_cooldown_short_again() -> None:
    found = health(cooldown=20)
    found.dial_failed(0)
    found.dial_failed(20)
    found.dial_succeeded(60, 0.1)
    found.dial_failed(61)
    assert found.cooldown_left(61) == 20


def test_flows_that_fail_together_make_one_cooldown() -> None:
    found = health(cooldown=20)
    for i in range(10):
        found.dial_failed(100 + i / 10)
    assert found.cooldown_left(100) == 20
    assert found.failures == 10


def test_after_a_cooldown_one_flow_tries_first() -> None:
    found = health(fail_threshold=2, cooldown=20)
    found.succeeded(0, 0.1)
    found.dial_failed(100)
    assert found.state is State.UP
    assert found.available(120)
    found.dialling()
    assert not found.available(120)
    found.dial_succeeded(121, 0.1)
    assert found.available(121)
    found.dialling()
    assert found.available(121)  # nothing is left of it


@pytest.mark.parametrize("end", ["given up", "failed"])
def test_a_trial_without_success_lets_the_next_one_try(end: str) -> None:
    found = down_since(100)
    assert not found.available(119.9)
    assert found.available(120)
    found.dialling()
    assert not found.available(120)
    if end == "given up":
        found.dial_given_up()
        assert found.available(121)
    else:
        found.dial_failed(121)
        assert not found.available(140.9)
        assert found.available(141)


def test_while_probes_fail_no_flow_tries() -> None:
    found = down_since(0)
    for now in range(5, 300, 5):
        found.failed(now)
        assert not found.available(now)
        assert not found.available(now + 4.9)


def test_while_it_is_up_flows_do_not_wait_for_each_other() -> None:
    found = health()
    found.succeeded(0, 0.1)
    for _ in range(5):
        assert found.available(1)
        found.dialling()


def test_without_probes_traffic_alone_brings_it_back() -> None:
    found = health(fail_threshold=2, cooldown=20)
    found.dial_failed(0)
    found.dial_failed(20)
    assert found.state is State.DOWN
    assert not found.available(59.9)
    assert found.available(60)
    found.dialling()
    assert found.dial_succeeded(60.1, 0.1)  # up
    assert found.available(60.1)


def test_without_a_cooldown_it_is_half_open_at_once() -> None:
    found = health(fail_threshold=1, cooldown=0)
    found.dial_failed(1)
    assert found.state is State.DOWN
    assert found.available(1)
    found.dialling()
    assert not found.available(1)


events = st.lists(
    st.tuples(
        st.sampled_from(["failed", "succeeded", "dialling", "dial_given_up", "dial_failed", "dial_succeeded"]), st.floats(0, 30, allow_nan=False)
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(events, st.integers(1, 3), st.integers(1, 3))
def test_whatever_happens_it_becomes_usable_again(history: list[tuple[str, float]], fail_threshold: int, success_threshold: int) -> None:
    found, now = health(fail_threshold, success_threshold), 0.0
    for event, later in history:
        now += later
        if event in {"failed", "dial_failed"}:
            getattr(found, event)(now)
        elif event in {"succeeded", "dial_succeeded"}:
            getattr(found, event)(now, 0.1)
        else:
            getattr(found, event)()
        assert found.cooldown_left(now) <= MAX_COOLDOWN
        assert (found.state is State.DOWN) <= (found.successes < success_threshold)
    found.dial_given_up()  # what was under way ends some time
    assert found.available(now + MAX_COOLDOWN)


def test_a_refusal_by_the_server_itself_makes_it_down_at_once_for_as_long_as_it_says() -> None:
    found = health(fail_threshold=5)
    assert found.refused(100, 120)
    assert found.state is State.DOWN
    assert not found.available(219)
    assert found.available(220)
    assert not found.refused(230, 1)  # told once
    assert not found.available(240), "half-open only after a cooldown"


def test_a_refusal_for_ever_ends_after_the_longest_cooldown() -> None:
    found = health()
    found.refused(100, 1e9)
    assert found.cooldown_left(100) == MAX_COOLDOWN


def test_a_refusal_shortens_no_cooldown() -> None:
    found = health(cooldown=60)
    found.dial_failed(100)
    found.refused(100, 1)
    assert found.cooldown_left(100) == 60


def test_a_flow_that_is_opened_ends_a_refusal() -> None:
    found = health()
    found.refused(100, 300)
    assert found.dial_succeeded(110, 0.1)
    assert found.available(110)


def test_ejected_means_a_cooldown_and_one_failure_and_not_more_for_many_flows_at_once() -> None:
    found = health(fail_threshold=2)
    found.succeeded(99, 0.1)
    assert not found.ejected(100)
    assert not found.available(119)
    assert found.ejected(100)
    assert found.cooldown_left(100) == 20


def test_a_doubt_lasts_until_there_is_evidence() -> None:
    found = health()
    found.doubt()
    assert found.doubted
    found.succeeded(100, 0.1)
    assert not found.doubted
    found.doubt()
    found.failed(101)
    assert not found.doubted
    assert found.available(101)


def test_flows_that_break_in_a_row_eject_it_though_they_can_be_opened() -> None:
    found = health(fail_threshold=2)
    found.flow_broken(100)
    found.dial_succeeded(101, 0.1)
    assert found.available(101)
    found.flow_broken(102)
    assert (found.available(102), found.cooldown_left(102)) == (False, 20)


def test_a_flow_that_ends_well_in_between_is_an_excuse() -> None:
    found = health(fail_threshold=2)
    for now in range(100, 110):
        found.flow_broken(now)
        found.flow_ended_well()
        found.dial_succeeded(now, 0.1)
    assert found.available(110)


def test_the_deviation_is_the_average_distance_of_samples_from_the_latency() -> None:
    found = health()
    found.succeeded(0, 0.1)
    assert found.deviation == 0
    for now in range(2, 202, 4):
        found.succeeded(now, 0.3)
        found.succeeded(now + 2, 0.1)
    assert found.latency is not None
    assert 0.18 < found.latency < 0.22
    assert 0.09 < found.deviation < 0.13
    for now in range(202, 402, 2):
        found.succeeded(now, None)
        found.succeeded(now, 0.1)
    assert found.deviation < 0.001


def test_it_is_sound_until_it_is_down_or_had_a_cooldown() -> None:
    found = Health(HealthOptions(fail_threshold=2))
    assert found.sound
    found.failed(0)
    assert found.sound
    found.failed(1)
    assert not found.sound
    found.succeeded(2, None)
    assert found.sound
    found.dial_failed(3)
    found.succeeded(4, None)
    assert not found.sound
    found.dial_succeeded(500, None)
    assert found.sound
