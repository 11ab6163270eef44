from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outline_lb.plugin.registration import ComponentSpec, Registration


def parse(raw: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(raw)


def build(options: tuple[str, ...], deps: int) -> list[str]:
    return [*options] * deps


FIRST = Registration(type="first", schema={}, parse=parse, build=build)
SECOND = Registration(type="second", schema={}, parse=parse, build=build)


def test_specs_are_equal_if_type_and_options_are() -> None:
    spec = ComponentSpec("policy", FIRST, ("a",))
    assert spec == ComponentSpec("policy", FIRST, ("a",))
    assert spec != ComponentSpec("policy", FIRST, ("b",))
    assert spec != ComponentSpec("policy", SECOND, ("a",))
    assert spec != ComponentSpec("probe", FIRST, ("a",))


def test_a_spec_builds_a_new_component_each_time() -> None:
    spec = ComponentSpec("policy", FIRST, ("a",))
    assert spec.type == "first"
    assert spec.build(2) == ["a", "a"]
    assert spec.build(1) is not spec.build(1)
