from __future__ import annotations

import json
from pathlib import Path

import pytest
from outline_lb_example.meter import Meter, Totals
from structlog.testing import capture_logs


def test_totals_are_kept_for_each_upstream() -> None:
    meter = Meter(None)
    for upstream, sent, received in (("a", 1, 10), ("b", 5, 50), ("a", 2, 20)):
        meter.count(upstream, sent, received, 0.5)
    assert meter.totals == {"a": Totals(2, 3, 30, 1.0), "b": Totals(1, 5, 50, 0.5)}


def test_each_flow_is_a_line_with_the_totals_of_its_upstream(tmp_path: Path) -> None:
    file = tmp_path / "meter.jsonl"
    for meter in (Meter(str(file)), Meter(str(file))):  # the second one goes on in the same file
        meter.count("a", 1, 10, 0.25)
        meter.count("a", 2, 20, 0.25)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first, second = (
        {"upstream": "a", "flows": 1, "sent": 1, "received": 10, "seconds": 0.25},
        {"upstream": "a", "flows": 2, "sent": 3, "received": 30, "seconds": 0.5},
    )
    assert lines == [first, second, first, second]


def test_without_a_file_the_lines_go_to_the_log() -> None:
    with capture_logs() as lines:
        Meter(None).count("a", 1, 10, 0.25)
    assert lines == [{"event": "metered", "log_level": "info", "upstream": "a", "flows": 1, "sent": 1, "received": 10, "seconds": 0.25}]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        Meter(str(tmp_path)).count("a", 1, 10, 0.25)
