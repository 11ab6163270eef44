"""Durations in text: ``20ms``, ``5s``, ``1m30s``, ``2h``."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"^(?=.)(\d{1,5}h)?(\d{1,7}m)?(\d{1,9}(\.\d{1,9})?s)?(\d{1,12}ms)?$"
"""What the JSON schema and `parse_duration` accept: parts from long to short, each at most once; together less than the century that timers take."""

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """Return the seconds that a duration stands for.

    :param text: as in a configuration
    :return: seconds
    :raises ValueError: if it is none
    """
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise ValueError(f"{text[:80]!r} is no duration: write 20ms, 5s, 1m30s or 2h")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PARTS.findall(text))


def format_duration(seconds: float) -> str:
    """Return a duration for people: ``850us``, ``42.1ms``, ``1.25s``.

    :param seconds: 0 or more
    """
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f}ms"
    return f"{seconds:.2f}s"
