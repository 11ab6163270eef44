from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from menagerie import closed

from outline_lb.base.errors import ConfigError
from outline_lb.config.explain import TITLES, did_you_mean, expected
from outline_lb.config.problems import Problems
from outline_lb.config.schema import Schema
from outline_lb.config.source import Document

SECRET = "hunter2"
DURATION = {"$ref": "outline-lb:defs#/$defs/duration"}
MARKED = {"x-secret": True, "type": ["string", "object"]}


def explained(schema: Mapping[str, Any], node: object) -> list[str]:
    """Return what is wrong with a node that stands under the key ``k``."""
    document = Document({}, {})
    problems = Problems(document)
    Schema(closed({"k": schema, "other": {}}), "test").check({"k": node}, "", problems)
    with pytest.raises(ConfigError) as raised:
        problems.raise_if_any()
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    ("schema", "node", "message"),
    [
        ({"type": "string"}, 5, "/k: expected text, found a number (put it in quotes)"),
        ({"type": "string"}, True, "/k: expected text, found true or false (put it in quotes)"),
        ({"type": "string"}, None, "/k: expected text, found nothing"),
        ({"type": "integer"}, SECRET, "/k: expected a whole number, found text"),
        ({"type": "integer"}, 1.0, "/k: expected a whole number, found a number with a point"),
        ({"type": "integer"}, True, "/k: expected a whole number, found true or false"),
        ({"type": "number"}, [SECRET], "/k: expected a number, found a list"),
        ({"type": "boolean"}, {SECRET: 1}, "/k: expected true or false, found a mapping"),
        ({"type": ["array", "object", "null"]}, SECRET, "/k: expected a list, a mapping or nothing, found text"),
        (DURATION, 5, "/k: expected a duration such as 20ms, found a number"),
        (DURATION, SECRET, "/k: expected a duration such as 20ms"),
        ({"type": "string", "pattern": "^a+$"}, SECRET, "/k: expected text of the form ^a+$"),
        ({"enum": ["red", 2, None, True]}, SECRET, "/k: expected red, 2, nothing or true"),
        ({"enum": ["info", "error"]}, "eror", "/k: expected info or error; did you mean error?"),
        ({"const": 1}, SECRET, "/k: expected 1"),
        ({"minimum": 3}, 2, "/k: expected a number of at least 3"),
        ({"maximum": 3}, 4, "/k: expected a number of at most 3"),
        ({"exclusiveMinimum": 3}, 3, "/k: expected a number above 3"),
        ({"exclusiveMaximum": 3}, 3, "/k: expected a number below 3"),
        ({"multipleOf": 3}, 4, "/k: expected a number divisible by 3"),
        ({"minLength": 1}, "", "/k: must not be empty"),
        ({"minLength": 9}, SECRET, "/k: expected at least 9 characters"),
        ({"maxLength": 1}, SECRET, "/k: expected at most 1 character"),
        ({"minItems": 1}, [], "/k: must not be empty"),
        ({"maxItems": 1}, [SECRET, SECRET], "/k: expected at most 1 item"),
        ({"minProperties": 2}, {}, "/k: expected at least 2 keys"),
        ({"maxProperties": 0}, {SECRET: 1}, "/k: expected at most 0 keys"),
        ({"uniqueItems": True}, [SECRET, SECRET], "/k: the same item stands here twice"),
        ({"dependentRequired": {"a": ["b", "c"]}}, {"a": SECRET}, "/k: some keys here need others: a needs b, c"),
        ({"not": {"type": "string"}}, SECRET, "/k: this does not fit the schema (not)"),
        ({"required": ["a"]}, {}, "/k: a is missing"),
        ({"required": ["a"], "properties": {"a": DURATION}}, {}, "/k: a is missing: expected a duration such as 20ms"),
        ({"required": ["a"], "properties": {"a": {"$ref": "#/nowhere"}}}, {}, "/k: a is missing"),
        ({"required": ["a"], "properties": {"a": {"enum": ["x", "y"]}}}, {}, "/k: a is missing: expected x or y"),
        ({"required": ["a"], "properties": {"a": True}}, {}, "/k: a is missing"),
        (closed({}), {"a": SECRET}, "/k/a: unknown key a: nothing can be set here"),
        (closed({"listen": {}, "users": {}}), {"x": SECRET}, "/k/x: unknown key x: known here are listen, users"),
        (closed({"listen": {}, "users": {}}), {"lisen": SECRET}, "/k/lisen: unknown key lisen; did you mean listen?"),
        ({"propertyNames": {"pattern": "^a$", "title": "an a"}}, {"b": SECRET}, "/k/b: as a key, expected an a"),
        ({"items": {"type": "integer"}}, [1, SECRET], "/k/1: expected a whole number, found text"),
        ({"anyOf": [DURATION, {"type": "null"}]}, 5, "/k: expected a duration such as 20ms or nothing, found a number"),
        ({"anyOf": [DURATION, {"type": "null"}]}, SECRET, "/k: expected a duration such as 20ms"),
        ({"oneOf": [closed({"a": {}}), {"type": "array"}]}, {"b": SECRET}, "/k/b: unknown key b: known here are a"),
        ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, SECRET, "/k: this does not fit the schema (oneOf)"),
        (MARKED, 5, f"/k: expected {TITLES['x-secret']}, found a number (put it in quotes)"),
        (MARKED, "", "/k: must not be empty"),
        (MARKED, {"fil": SECRET}, "/k/fil: unknown key fil; did you mean file?"),
        (MARKED, {SECRET: None}, f"/k: expected {TITLES['x-secret']}"),
        (MARKED, {"env": f"{SECRET} {SECRET}"}, "/k/env: expected the name of an environment variable"),
        ({"x-kind": "cipher"}, [SECRET], f"/k: expected {TITLES['x-kind']}, found a list"),
        ({"x-kind": "cipher", "type": "string"}, f"no {SECRET}", f"/k: expected {TITLES['x-kind']}"),
        ({"x-kind": "cipher"}, {"typ": SECRET}, "/k: type is missing: expected a name (letters, digits, . _ -)"),
    ],
)
def test_each_keyword_in_our_own_words(schema: dict[str, Any], node: object, message: str) -> None:
    lines = explained(schema, node)
    assert lines == [message]
    assert node == {SECRET: 1} or SECRET not in lines[0]


def test_one_error_of_the_library_may_be_several_of_ours() -> None:
    assert sorted(explained(closed({}, "a", "b"), {"c": 1, "d": 2})) == [
        "/k/c: unknown key c: nothing can be set here",
        "/k/d: unknown key d: nothing can be set here",
        "/k: a is missing",
        "/k: b is missing",
    ]


def test_patterns_of_keys_make_them_known() -> None:
    assert explained({**closed({}), "patternProperties": {"^x-": {}}}, {"x-a": 1, "y": 1}) == ["/k/y: unknown key y: nothing can be set here"]


def test_expected_of_nothing_said() -> None:
    assert expected({}) == "something else"


def test_did_you_mean() -> None:
    assert did_you_mean("mian", ["main", "other"]) == "; did you mean main?"
    assert not did_you_mean("xyz", ["main"])
