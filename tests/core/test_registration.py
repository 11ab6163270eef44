from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from outline_lb.base.errors import PluginError, StartError
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


def spec_that_fails_with(error: Exception) -> ComponentSpec[None, None]:
    def fail(_options: object, _deps: None) -> None:
        raise error

    return ComponentSpec("policy", Registration(type="zebra", schema={}, parse=parse, build=fail), ())


def test_a_plugin_that_fails_to_build_is_named() -> None:
    with pytest.raises(PluginError, match=r"^policy zebra: it cannot be built: ZeroDivisionError: division by zero$"):
        spec_that_fails_with(ZeroDivisionError("division by zero")).build(None)


def test_what_a_plugin_raises_on_purpose_is_left_alone() -> None:
    with pytest.raises(StartError, match=r"^the file is not there$"):
        spec_that_fails_with(StartError("the file is not there")).build(None)
