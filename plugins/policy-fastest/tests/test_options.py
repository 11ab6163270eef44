from __future__ import annotations

import pytest

from outline_lb_policy_fastest.options import SCHEMA, Options


def defaults() -> dict[str, str]:
    return {name: prop["default"] for name, prop in SCHEMA["properties"].items()}


def test_defaults_of_schema_and_options_are_the_same() -> None:
    assert Options.parse(defaults()) == Options() == Options(sticky_ttl=60.0, min_switch=0.020)


def test_durations_are_read() -> None:
    assert Options.parse({"sticky_ttl": "1m30s", "min_switch": "0s"}) == Options(90.0, 0.0)


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="soon"):
        Options.parse({**defaults(), "sticky_ttl": "soon"})
