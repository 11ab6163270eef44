from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from structlog import DropEvent

from outline_lb.logs.repeats import KINDS, SHOWN, WINDOW, Repeats


class Desk:
    """Repeats with a clock and timers in our hand; `lines` is what is shown."""

    def __init__(self, timers: bool = True) -> None:
        self.now = 100.0
        self.lines: list[Any] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self._has_timers = timers
        self.repeats = Repeats(self.lines.append, self._later, lambda: self.now)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        if self._has_timers:
            self.timers.append((self.now + seconds, call))

    def log(self, event: str = "flow failed", level: str = "info", **fields: object) -> None:
        with contextlib.suppress(DropEvent):
            self.lines.append(self.repeats(None, level, {"event": event, "level": level, "logger": "datapath", **fields}))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = [call for when, call in self.timers if when <= self.now], [timer for timer in self.timers if timer[0] > self.now]
        for call in due:
            call()


def test_the_first_ones_are_shown_and_one_line_sums_up_the_others() -> None:
    desk = Desk()
    for flow in range(SHOWN + 123):
        desk.log(flow=flow, error="refused")
    assert [line["flow"] for line in desk.lines] == list(range(SHOWN))
    desk.advance(WINDOW)
    assert len(desk.lines) == SHOWN + 1
    summary = desk.lines[-1]
    assert (summary["event"], summary["flow"], summary["error"], summary["repeated"]) == ("flow failed", SHOWN + 122, "refused", 123)
    desk.log(flow=-1, error="refused")
    assert desk.lines[-1]["flow"] == -1


def test_few_lines_are_never_summed_up() -> None:
    desk = Desk()
    for _ in range(SHOWN):
        desk.log()
    desk.advance(WINDOW)
    desk.repeats.end_all()
    assert len(desk.lines) == SHOWN
    assert not any("repeated" in line for line in desk.lines)


@pytest.mark.parametrize("field", ["upstream", "frontend", "network", "plugin", "server", "error", "reason"])
def test_no_flood_hides_what_is_about_something_else(field: str) -> None:
    desk = Desk()
    for _ in range(100):
        desk.log(**{field: "one"})
    desk.log(**{field: "other"})
    assert desk.lines[-1][field] == "other"


def test_no_flood_hides_another_event_or_level() -> None:
    desk = Desk()
    for _ in range(100):
        desk.log()
    desk.log("upstream down")
    desk.log(level="error")
    assert [(line["event"], line["level"]) for line in desk.lines[-2:]] == [("upstream down", "info"), ("flow failed", "error")]


def test_debug_lines_are_all_shown() -> None:
    desk = Desk()
    for _ in range(100):
        desk.log(level="debug")
    assert len(desk.lines) == 100


def test_without_timers_it_is_summed_up_with_the_next_of_its_kind() -> None:
    desk = Desk(timers=False)
    for _ in range(SHOWN + 5):
        desk.log()
    desk.advance(WINDOW)
    assert len(desk.lines) == SHOWN
    desk.log()
    assert [line.get("repeated") for line in desk.lines[SHOWN:]] == [5, None]


def test_the_end_sums_everything_up_once() -> None:
    desk = Desk()
    for _ in range(SHOWN + 1):
        desk.log(upstream="a")
        desk.log(upstream="b")
    desk.repeats.end_all()
    assert [(line["upstream"], line["repeated"]) for line in desk.lines[-2:]] == [("a", 1), ("b", 1)]
    desk.advance(WINDOW)
    assert len(desk.lines) == 2 * SHOWN + 2


def test_memory_is_bounded_and_nothing_is_forgotten() -> None:
    desk = Desk()
    for _ in range(SHOWN + 7):
        desk.log(upstream="first")
    for number in range(3 * KINDS):
        desk.log(upstream=str(number))
    assert len(desk.repeats._counts) == KINDS
    assert [line["repeated"] for line in desk.lines if "repeated" in line] == [7]


def test_a_summary_holds_no_exception() -> None:
    desk = Desk()
    for _ in range(SHOWN + 1):
        desk.log(exc_info=ValueError("holds frames"))
    desk.repeats.end_all()
    assert "exc_info" not in desk.lines[-1]
