from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from outline_lb.logs.levels import Levels, parse_levels


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("debug", Levels("debug")),
        ("info,net=debug", Levels("info", {"net": "debug"})),
        ("net=debug, policy=warning", Levels("info", {"net": "debug", "policy": "warning"})),
        ("net=debug,error", Levels("error", {"net": "debug"})),
    ],
)
def test_levels_of_the_command_line(text: str, levels: Levels) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize("text", ["", "loud", "net=loud", "net=", "=debug", "info,", "INFO"])
def test_what_is_no_level_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no level: write debug, info, warning, error, or"):
        parse_levels(text)


def test_a_room_has_its_own_level_or_that_of_all() -> None:
    levels = Levels("warning", {"net": "debug"})
    assert (levels.of("net"), levels.of("health")) == ("debug", "warning")
    assert (levels.hidden("net"), levels.hidden("health")) == ((), ("debug", "info"))


def test_libraries_have_to_be_asked_for_more_than_warnings() -> None:
    assert [Levels(level).of("python") for level in ("debug", "warning", "error")] == ["warning", "warning", "error"]
    assert Levels("info", {"python": "debug"}).of("python") == "debug"
