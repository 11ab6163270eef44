from __future__ import annotations

from typing import Any

import pytest
from menagerie import closed

from outline_lb.config.options import Option, describe_options
from outline_lb.config.schema import Schema

DURATION = {"$ref": "outline-lb:defs#/$defs/duration"}
SECRET = {"x-secret": True, "type": ["string", "object"]}


def described(properties: dict[str, Any], *required: str) -> list[Option]:
    contents = closed(properties, *required)
    return list(describe_options(contents, Schema(contents, "zoo").lookup))


def value(schema: dict[str, Any]) -> str:
    return described({"it": schema})[0].value


def test_an_option_says_all_about_itself() -> None:
    assert described({"wait": {**DURATION, "default": "10s", "description": "How long to wait"}}) == [
        Option("wait", "a duration such as 20ms", False, "10s", "How long to wait")
    ]


def test_what_has_to_be_there_has_no_default() -> None:
    [option] = described({"path": SECRET}, "path")
    assert (option.required, option.default) == (True, None)


@pytest.mark.parametrize(
    ("default", "shown"),
    [("10s", "10s"), ("", '""'), (None, "null"), (False, "false"), ([], "[]"), ({"a": 1}, '{"a": 1}')],
)
def test_defaults_are_shown_as_they_are_written(default: object, shown: str) -> None:
    assert described({"it": {"default": default}})[0].default == shown


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "boolean"}, "true or false"),
        ({"type": ["string", "null"]}, "text or nothing"),
        ({"enum": ["fast", "slow"]}, "fast or slow"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, "a whole number, at least 0, at most 9"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "a number, above 0, below 1"),
        ({"$ref": "outline-lb:defs#/$defs/port"}, "a port such as 443"),
        (SECRET, "a secret: text, {env: NAME} or {file: PATH}"),
        ({"x-kind": "cipher"}, "a cipher"),
        ({"type": "array", "items": {"x-kind": "listener"}}, "a list, each item a listener"),
        ({"type": "object", "additionalProperties": SECRET}, "a mapping, each name to a secret: text, {env: NAME} or {file: PATH}"),
        ({"anyOf": [DURATION, {"type": "null"}]}, "a duration such as 20ms or nothing"),
        (closed({}), "a mapping"),
        ({}, "something else"),
    ],
)
def test_values_are_described_in_words(schema: dict[str, Any], words: str) -> None:
    assert value(schema) == words


def test_what_is_inside_follows_with_the_way_to_it() -> None:
    inner = closed({"ca": {"type": "string"}, "deep": closed({"er": {"type": "string"}})}, "ca")
    schemas = {"tls": inner, "users": {"type": "object", "additionalProperties": inner}, "hops": {"type": "array", "items": inner}}
    names = [option.name for option in described(schemas)]
    assert [name for name in names if name.startswith("tls")] == ["tls", "tls.ca", "tls.deep", "tls.deep.er"]
    assert [name for name in names if name.startswith("users")] == ["users", "users.NAME.ca", "users.NAME.deep", "users.NAME.deep.er"]
    assert [name for name in names if name.startswith("hops")] == ["hops", "hops[].ca", "hops[].deep", "hops[].deep.er"]
    assert [option.name for option in described(schemas) if option.required] == ["tls.ca", "users.NAME.ca", "hops[].ca"]


def test_what_belongs_to_another_plugin_is_not_looked_into() -> None:
    properties = {"cipher": {"x-kind": "cipher", **closed({"hidden": {}})}, "key": {**SECRET, "properties": {"hidden": {}}}}
    assert [option.name for option in described(properties)] == ["cipher", "key"]
