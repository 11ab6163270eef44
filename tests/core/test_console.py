from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outline_lb.logs.console import Console, escaped, shown


def event(what: str = "upstream up", **fields: Any) -> dict[str, Any]:
    return {"timestamp": "12:00:00.000", "level": "info", "logger": "health", "event": what, **fields}


def test_columns() -> None:
    line = Console(colours=False)(event(upstream="a", rtt="12.1ms", flows=3))
    assert line == "12:00:00.000 info    health         upstream up              upstream=a rtt=12.1ms flows=3"


def test_a_line_without_fields_ends_with_its_event() -> None:
    assert Console(colours=False)(event("stopped")) == "12:00:00.000 info    health         stopped"


def test_colours_change_nothing_but_the_colour() -> None:
    plain, coloured = (Console(colours=colours)(event(upstream="a", addresses=["127.0.0.1:1", "[::1]:1"])) for colours in (False, True))
    assert coloured != plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_a_traceback_stands_below() -> None:
    lines = Console(colours=False)(event("failed", exception="Traceback:\n  here\nRuntimeError: \x1b[2J")).splitlines()
    assert lines[1:] == ["    Traceback:", "      here", "    RuntimeError: \\x1b[2J"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("[::1]:443", "[::1]:443"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\r\nlevel=error", '"a\\r\\nlevel=error"'),
        ("\x1b[2J\x9b\x00", '"\\x1b[2J\\x9b\\x00"'),
        ("\u202egnp.exe", '"\\u202egnp.exe"'),
        ("back\\slash", '"back\\\\slash"'),
        ("\udc80", '"\\udc80"'),
        ("grüße", "grüße"),
        (True, "True"),
        (1.5, "1.5"),
        (["a", "b c"], '[a, "b c"]'),
    ],
)
def test_values(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text())
def test_whatever_strangers_say_is_printable_and_can_be_told_apart(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(text).encode().decode("unicode_escape" if text.isascii() else "utf-8") == text or not text.isascii()
    line = Console(colours=False)({**event(text), "key": text, text: "value", "level": "info", "logger": "net", "timestamp": "12"})
    assert line.isprintable()
