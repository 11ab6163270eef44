from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from menagerie import closed

from outline_lb import logs
from outline_lb.base.duration import PATTERN
from outline_lb.base.errors import ConfigError, PluginError
from outline_lb.config.explain import TITLES
from outline_lb.config.problems import Problems
from outline_lb.config.schema import Schema, envelope, keep
from outline_lb.config.settings import LogSettings
from outline_lb.config.source import Document
from outline_lb.selection.health import HealthOptions


def read(name: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((resources.files("outline_lb_schemas") / f"{name}.schema.json").read_text())
    return contents


def check(schema: Mapping[str, Any], node: Any) -> tuple[Any, list[str]]:
    problems = Problems(Document({}, {}))
    clean = Schema(schema, "policy zebra").check(node, "/at", problems)
    try:
        problems.raise_if_any()
    except ConfigError as error:
        return clean, str(error).splitlines()
    return clean, []


def complete(schema: Mapping[str, Any], node: Any) -> Any:
    def visit(part: Mapping[str, Any], found: Any, pointer: str) -> tuple[str, Any, str]:
        return part.get("x-kind", "secret"), found, pointer

    return Schema(schema, "policy zebra").complete(node, "/at", visit)


def properties(schema: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Return every property anywhere in a schema: where, what, and whether it is required."""
    if isinstance(schema, dict):
        for key, part in schema.get("properties", {}).items():
            yield f"{pointer}/{key}", part, key in schema.get("required", ())
        for key, part in schema.items():
            yield from properties(part, f"{pointer}/{key}")


@pytest.mark.parametrize("name", ["config", "defs"])
def test_the_schemas_of_the_core_are_schemas_and_explain_themselves(name: str) -> None:
    schema = read(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"outline-lb:{name}"
    found = list(properties(schema))
    assert found
    for pointer, part, required in found:
        assert part.get("description", "").endswith("."), f"{pointer} has no description"
        open_kind = "Left out:" in part["description"]
        assert required != ("default" in part or open_kind), f"{pointer}: an optional property says what happens without it"


def test_the_schemas_say_what_the_code_says() -> None:
    config, defs = read("config"), read("defs")["$defs"]
    assert defs["duration"]["pattern"] == PATTERN
    assert (TITLES["x-secret"], TITLES["x-kind"]) == (defs["secret-source"]["title"], defs["component"]["title"])
    log = config["properties"]["log"]["properties"]
    assert (tuple(log["level"]["enum"]), tuple(log["format"]["enum"])) == (logs.LEVELS, logs.FORMS)
    assert LogSettings() == LogSettings(log["level"]["default"], log["format"]["default"])
    health = config["$defs"]["pool"]["properties"]["health"]["properties"]
    written = {key: part["default"] for key, part in health.items()}
    assert written == {
        key: f"{value:g}s" if isinstance(value, float) else value
        for key, value in ((key, getattr(HealthOptions(), key)) for key in HealthOptions.__dataclass_fields__)
    }


@pytest.mark.parametrize("name", ["duration", "address", "port", "file", "url", "name"])
def test_the_examples_of_shared_definitions_fit(name: str) -> None:
    definition = read("defs")["$defs"][name]
    for example in definition.get("examples", ()):
        assert check(closed({"k": {"$ref": f"outline-lb:defs#/$defs/{name}"}}), {"k": example}) == ({"k": example}, [])


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("duration", "5 s"),
        ("address", "127.0.0.1"),
        ("port", 0),
        ("port", 65536),
        ("file", ""),
        ("file", "a\0b"),
        ("url", "example.com"),
        ("name", "-a"),
        ("name", "a b"),
        ("name", "a" * 65),
    ],
)
def test_what_shared_definitions_refuse(name: str, node: object) -> None:
    assert check(closed({"k": {"$ref": f"outline-lb:defs#/$defs/{name}"}}), {"k": node})[1]


def test_what_is_wrong_is_told_at_once_and_taken_out_of_a_copy() -> None:
    schema = closed({"a": closed({"b": {"type": "integer"}, "c": {}}, "b"), "d": {"type": "array", "items": {"type": "integer"}}, "e": {}})
    node = {"a": {"b": "x", "c": 1}, "d": [1, "y", 3], "e": 5, "f": 6}
    clean, problems = check(schema, node)
    assert clean == {"e": 5}
    assert len(problems) == 3
    assert node["f"] == 6


def test_what_is_missing_at_the_top_leaves_the_rest() -> None:
    clean, problems = check(closed({"a": {}, "b": {"type": "integer"}, "c": {}}, "a"), {"b": "x", "c": 1})
    assert clean == {"c": 1}
    assert problems == ["/at: a is missing", "/at/b: expected a whole number, found text"]


def test_defaults_are_filled_in_at_every_level() -> None:
    inner = closed({"x": {"default": [1]}, "y": {}})
    schema = closed({"a": {**inner, "default": {}}, "b": {"type": "object", "additionalProperties": inner}, "c": {"type": "array", "items": inner}})
    assert complete(schema, {"b": {"n": {"y": 2}}, "c": [{}]}) == {"a": {"x": [1]}, "b": {"n": {"y": 2, "x": [1]}}, "c": [{"x": [1]}]}


def test_defaults_are_not_shared() -> None:
    schema = closed({"a": {"default": []}})
    complete(schema, {})["a"].append(1)
    assert complete(schema, {}) == {"a": []}


def test_references_and_choices_are_followed() -> None:
    schema = {
        **closed(
            {
                "a": {"$ref": "#/$defs/inner"},
                "b": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/inner"}]},
                "c": {"allOf": [{"$ref": "#/$defs/inner"}, {"properties": {"y": {"default": 2}}}]},
            }
        ),
        "$defs": {"inner": {"type": "object", "properties": {"x": {"default": 1}}}},
    }
    assert complete(schema, {"a": {}, "b": {}, "c": {}}) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert complete(schema, {"b": "text"}) == {"b": "text"}


def test_secrets_and_components_are_visited_wherever_they_are() -> None:
    secret, cipher = {"x-secret": True}, {"x-kind": "cipher", "default": "rot13"}
    schema = closed(
        {
            "a": {"$ref": "outline-lb:defs#/$defs/secret"},
            "b": {"type": "object", "additionalProperties": secret},
            "c": {"type": "array", "items": cipher},
            "d": cipher,
            "e": {"x-secret": True, "default": None},
        }
    )
    assert complete(schema, {"a": "s", "b": {"u~": {"env": "X"}}, "c": ["m", {"type": "n"}]}) == {
        "a": ("secret", "s", "/at/a"),
        "b": {"u~": ("secret", {"env": "X"}, "/at/b/u~0")},
        "c": [("cipher", "m", "/at/c/0"), ("cipher", {"type": "n"}, "/at/c/1")],
        "d": ("cipher", "rot13", "/at/d"),
        "e": None,
    }


def test_keep_leaves_what_is_visited_alone() -> None:
    assert Schema(closed({"a": {"x-secret": True}}), "").complete({"a": {"env": "X"}}, "", keep) == {"a": {"env": "X"}}


def test_a_schema_that_is_none_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError, match=r"^policy zebra: its schema is wrong at /properties/a/type$"):
        Schema(closed({"a": {"type": "text"}}), "policy zebra")


def test_a_reference_to_nowhere_is_the_plugins_fault() -> None:
    schema = closed({"a": {"$ref": "outline-lb:defs#/$defs/nonsense"}})
    with pytest.raises(PluginError, match=r"^policy zebra: its schema refers to .*nonsense, which does not exist$"):
        check(schema, {"a": 1})
    with pytest.raises(PluginError, match="nonsense"):
        complete(schema, {"a": 1})


def test_the_envelope_is_read_once() -> None:
    assert envelope() is envelope()
    assert "frontends" in envelope().properties
