from __future__ import annotations

import pytest
from menagerie import document

from outline_lb.base.errors import ConfigError
from outline_lb.config.problems import MAX_TOLD, Problems
from outline_lb.config.source import Document


def test_nothing_found_is_no_error() -> None:
    Problems(document("a: 1")).raise_if_any()


def test_everything_is_told_once_and_in_document_order() -> None:
    problems = Problems(document("a: 1\nb: {c: 2, d: 3}"))
    for pointer in ("/b/d", "/a", "/b/c", "/b/d", "/e"):
        problems.add(pointer, "wrong")
    assert problems.count == 5
    with pytest.raises(ConfigError) as raised:
        problems.raise_if_any()
    assert str(raised.value).splitlines() == [
        "conf.yaml:1:1: /a: wrong",
        "conf.yaml:1:1: /e: wrong",
        "conf.yaml:2:5: /b/c: wrong",
        "conf.yaml:2:11: /b/d: wrong",
    ]


def test_a_great_many_are_counted() -> None:
    problems = Problems(document("a: 1"))
    for index in range(MAX_TOLD + 7):
        problems.add(f"/{index}", "wrong")
    with pytest.raises(ConfigError) as raised:
        problems.raise_if_any()
    assert len(raised.value.problems) == MAX_TOLD + 1
    assert str(raised.value.problems[-1]) == "conf.yaml: and 7 more"


def test_warnings_are_no_errors_and_each_is_told_once() -> None:
    problems = Problems(document("a: 1\nb: 2"))
    problems.warn("/b", "careful")
    problems.warn("/a", "careful")
    problems.raise_if_any()
    assert list(map(str, problems.warnings)) == ["conf.yaml:2:1: /b: careful"]


def test_a_literal_secret_is_warned_of_where_others_can_read_it() -> None:
    for exposed, origins, count in ((True, {}, 1), (False, {}, 0), (True, {"/a": "--set a"}, 0)):
        problems = Problems(Document({"a": "x"}, {}, "conf.yaml", exposed, origins))
        problems.warn_of_secret("/a")
        assert len(problems.warnings) == count
