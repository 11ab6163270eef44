from __future__ import annotations

from outline_lb_example.options import SCHEMA, Options


def test_defaults_of_schema_and_options_are_the_same() -> None:
    assert Options.parse({name: prop["default"] for name, prop in SCHEMA["properties"].items()}) == Options()


def test_an_upstream_costs_what_is_said_else_what_others_cost() -> None:
    options = Options.parse({"prices": {"a": 0.5}, "other_price": 2})
    assert [options.price(name) for name in "ab"] == [0.5, 2]
