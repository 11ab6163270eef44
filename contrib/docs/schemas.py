"""JSON schemas as Markdown tables: one row for each key, the keys of nested mappings with a point between."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final, TypeAlias

from outline_lb.plugin.discovery import GROUPS

Schema: TypeAlias = Mapping[str, Any]

DEFS: Final = "outline-lb:defs#"
_NOUNS: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "mapping", "null": "null"}


def read(name: str) -> Schema:
    """Return a schema that the core ships: ``config`` or ``defs``."""
    text = (resources.files("outline_lb_schemas") / f"{name}.schema.json").read_text("utf-8")
    contents: Schema = json.loads(text)
    return contents


class Tables:
    """Describes schemas.

    :param root: what ``#/...`` refers to
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._defs = read("defs")

    def table(self, schema: Schema, prefix: str = "") -> Iterator[str]:
        """Yield the lines of a table of all keys; nothing if there are none.

        :param schema: of a mapping
        :param prefix: what stands before each key
        """
        rows = list(self._rows(schema, prefix))
        if rows:
            yield from markdown_table(("key", "value", "default", "meaning"), rows)

    def resolve(self, schema: Schema) -> Schema:
        """Return a schema with what it refers to."""
        if "$ref" not in schema:
            return schema
        *_, section, name = schema["$ref"].split("/")
        local = self._root.get(section, {}) if schema["$ref"].startswith("#") else {}
        found = local[name] if name in local else self._defs[section][name]
        return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}

    def _rows(self, schema: Schema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
        required = schema.get("required", ())
        for key, part in schema.get("properties", {}).items():
            whole = self.resolve(part)
            name = f"{prefix}{key}"
            yield f"`{name}`", self._value(part), _default(whole, key in required), sentence(whole.get("description", ""))
            yield from self._inner(whole, name)

    def _inner(self, whole: Schema, name: str) -> Iterator[tuple[str, str, str, str]]:
        """Yield the rows of what is inside a value; the options of another plugin stand elsewhere."""
        if "x-kind" in whole or "x-secret" in whole:
            return
        if "items" in whole:
            yield from self._inner(self.resolve(whole["items"]), f"{name}[]")
        members = whole.get("additionalProperties")
        if isinstance(members, Mapping):
            yield from self._inner(self.resolve(members), f"{name}.NAME")
        yield from self._rows(whole, f"{name}.")

    def _value(self, part: Schema) -> str:
        whole = self.resolve(part)
        if "x-secret" in whole:
            return "[secret](configuration.md#secrets)"
        if "x-kind" in whole:
            return f"a [{whole['x-kind']}](plugins.md#{plural(whole['x-kind'])})"
        if part.get("$ref", "").startswith(DEFS):
            name = part["$ref"].rpartition("/")[2]
            return f"[{name}](configuration.md#values)"
        if "enum" in whole:
            return " or ".join(f"`{_shown(value)}`" for value in whole["enum"])
        if "const" in whole:
            return f"`{_shown(whole['const'])}`"
        if "anyOf" in whole:
            return " or ".join(self._value(branch) for branch in whole["anyOf"])
        if "items" in whole:
            return f"list: {self._value(whole['items'])}"
        if isinstance(whole.get("additionalProperties"), Mapping):
            return f"mapping, name to {self._value(whole['additionalProperties'])}"
        types = whole.get("type", "object")
        return " or ".join(_NOUNS[name] for name in ([types] if isinstance(types, str) else types)) + _limits(whole)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def plural(kind: str) -> str:
    """Return the plural of a kind, which is also a heading."""
    return GROUPS[kind].rpartition(".")[2]


def sentence(text: str) -> str:
    """Return a text that begins and ends as a sentence does."""
    text = " ".join(text.split())
    return text and text[0].upper() + text[1:].rstrip(".") + "."


def _default(whole: Schema, required: bool) -> str:
    if required:
        return "required"
    if "default" not in whole:
        return ""
    return "" if whole["default"] == {} or isinstance(whole["default"], dict) else f"`{_shown(whole['default'])}`"


def _limits(whole: Schema) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    return "".join(f" {word} {whole[key]}" for key, word in words.items() if key in whole)


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
