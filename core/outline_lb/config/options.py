"""What a type can be told, for people: its options one by one, from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .explain import Lookup, expected

_LIMITS: Final = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True, slots=True)
class Option:
    """One key, at any depth.

    :param name: the keys that lead to it, with points between; NAME stands for any name, and [] for each item of a list
    :param value: what it can be, in words
    :param required: whether it has to be there
    :param default: what it is where it is left out; None where there is no such value
    :param description: what it is for
    """

    name: str
    value: str
    required: bool
    default: str | None
    description: str


def describe_options(schema: Mapping[str, Any], lookup: Lookup) -> Iterator[Option]:
    """Yield the options of a type, each followed by those inside it. What belongs to another plugin is not looked into.

    :param schema: of the type
    :param lookup: follows references
    """
    yield from _members(schema, lookup, "")


def merged(schema: Any, lookup: Lookup) -> Mapping[str, Any]:
    """Return a schema together with what it refers to."""
    return {**lookup(schema), **schema} if isinstance(schema, Mapping) else {}


def _members(schema: Mapping[str, Any], lookup: Lookup, prefix: str) -> Iterator[Option]:
    required = schema.get("required", ())
    for key, part in schema.get("properties", {}).items():
        whole = merged(part, lookup)
        default = _shown(whole["default"]) if "default" in whole else None
        yield Option(prefix + key, _value(whole, lookup), key in required, default, whole.get("description", ""))
        yield from _inside(whole, lookup, prefix + key)


def _inside(whole: Mapping[str, Any], lookup: Lookup, name: str) -> Iterator[Option]:
    if "x-kind" in whole or "x-secret" in whole:
        return
    if "items" in whole:
        yield from _inside(merged(whole["items"], lookup), lookup, f"{name}[]")
    if "additionalProperties" in whole:
        yield from _inside(merged(whole["additionalProperties"], lookup), lookup, f"{name}.NAME")
    yield from _members(whole, lookup, f"{name}.")


def _value(whole: Mapping[str, Any], lookup: Lookup) -> str:
    if "x-kind" in whole:
        return f"a {whole['x-kind']}"
    for keyword in ("anyOf", "oneOf"):
        if keyword in whole:
            return " or ".join(_value(merged(branch, lookup), lookup) for branch in whole[keyword])
    if "items" in whole:
        return f"a list, each item {_value(merged(whole['items'], lookup), lookup)}"
    if isinstance(whole.get("additionalProperties"), Mapping):
        return f"a mapping, each name to {_value(merged(whole['additionalProperties'], lookup), lookup)}"
    limits = [f"{words} {whole[keyword]}" for keyword, words in _LIMITS.items() if keyword in whole]
    return expected(whole) if "title" in whole else ", ".join((expected(whole), *limits))


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
