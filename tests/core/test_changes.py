from __future__ import annotations

import dataclasses

from machinery import Machinery

from outline_lb.base.errors import Problem
from outline_lb.running.changes import Changes, compare


def test_equal_settings_have_no_changes() -> None:
    machinery = Machinery()
    settings = machinery.settings()
    warned = dataclasses.replace(settings, warnings=(Problem("take care"),))
    assert compare(settings, machinery.settings()) == compare(settings, warned) == Changes()


def test_changes_are_told_by_name() -> None:
    machinery = Machinery()
    old = machinery.settings(upstreams=("one", "two", "three"))
    new = machinery.settings(upstreams=("zero", "one", "two:other"), drain_timeout=1.0)
    changes = compare(old, new)
    assert changes == Changes(("/upstreams/zero",), ("/upstreams/three",), ("/pools/main", "/upstreams/two", "/drain_timeout"))
    assert changes.all == ("/upstreams/zero", "/upstreams/three", "/pools/main", "/upstreams/two", "/drain_timeout")
