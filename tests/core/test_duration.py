from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.base.duration import PATTERN, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("5s", 5), ("0s", 0), ("1m30s", 90), ("2h", 7200), ("1h2m3s4ms", 3723.004), ("0.5s", 0.5), ("1m500ms", 60.5), ("100m", 6000)],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "ms",
        "-5s",
        "+5s",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        "5S",
        "1s1m",
        "1s1s",
        "1ms1s",
        "1.5h",
        ".5s",
        "5.s",
        "1e3s",
        "\u0665s",
        "5us",
        "infs",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write"):
        parse_duration(text)


def test_what_no_timer_takes_is_refused() -> None:
    assert parse_duration("99999h9999999m999999999s999999999999ms") < 100 * 365 * 24 * 3600
    for text in ("100000h", "9" * 400 + "h", "9" * 5000 + "ms"):
        with pytest.raises(ValueError, match="is no duration") as caught:
            parse_duration(text)
        assert len(str(caught.value)) < 200


@settings(max_examples=100, deadline=None)
@given(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 999)))
def test_parts_add_up(parts: tuple[int, int, int, int]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in zip(parts, ("h", "m", "s", "ms"), strict=True) if number)
    if text:
        assert parse_duration(text) == pytest.approx(parts[0] * 3600 + parts[1] * 60 + parts[2] + parts[3] / 1000)


@settings(max_examples=150, deadline=None)
@given(st.text("0123456789.hms", max_size=8))
def test_the_schema_and_the_parser_agree(text: str) -> None:
    try:
        parse_duration(text)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == bool(re.search(PATTERN, text))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0us"), (0.00085, "850us"), (0.0421, "42.1ms"), (1.25, "1.25s"), (90, "90.00s")])
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
