from __future__ import annotations

import pytest
from menagerie import document

from outline_lb.base.errors import ConfigError
from outline_lb.config.problems import Problems


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
