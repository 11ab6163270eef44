from __future__ import annotations

import sys
import timeit
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

import outline_lb.datapath.balancer  # noqa: F401 - one of the rooms
from outline_lb.logs.levels import Levels
from outline_lb.logs.rooms import known_rooms, mute, unmute


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the logger that a module holds, under whatever name."""
    module = ModuleType("a_plugin")
    module.logger = structlog.get_logger("attic")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    yield module.logger
    unmute()


def test_rooms_are_those_of_the_modules_that_are_there(log: Any) -> None:
    assert {"attic", "balancer", "health", "python"} <= set(known_rooms())
    assert known_rooms() == sorted(known_rooms())


def test_only_what_is_not_shown_is_muted_and_that_can_be_changed(log: Any) -> None:
    def shown() -> list[str]:
        with capture_logs() as lines:
            for level in ("debug", "info", "warning", "error"):
                getattr(log, level)(level)
        return [line["event"] for line in lines]

    mute(Levels("error", {"attic": "warning"}))
    assert shown() == ["warning", "error"]
    unmute()
    assert shown() == ["debug", "info", "warning", "error"]
    mute(Levels("info"))
    mute(Levels("debug"))
    assert shown() == ["debug", "info", "warning", "error"]


def test_a_line_that_is_not_shown_costs_what_a_call_costs(log: Any) -> None:
    def nothing(*_: object, **__: object) -> None: ...

    def cost(logger: Any) -> float:
        return min(timeit.repeat(lambda: logger.debug("flow closed", flow=1, upstream="a", sent=3), number=1000, repeat=50))

    mute(Levels("info"))
    assert cost(log) < 3 * cost(SimpleNamespace(debug=nothing))
