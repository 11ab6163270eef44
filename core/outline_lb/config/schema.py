"""JSON schemas (2020-12) at work: check a node, and complete it. The only place, with `explain`, that knows jsonschema."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

import jsonschema.validators
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from ..base.errors import PluginError
from .explain import Path, explain
from .problems import Problems
from .source import join

Visit = Callable[[Mapping[str, Any], Any, str], Any]
"""Takes a schema with ``x-secret`` or ``x-kind``, the node, and its pointer; returns what is to stand there instead."""

_DEFS: Final = "outline-lb:defs#/$defs/"


def keep(_schema: Mapping[str, Any], node: Any, _pointer: str) -> Any:
    """A `Visit` that leaves everything as it is."""
    return node


class Schema:
    """A schema that is right itself, with the shared definitions in reach.

    :param contents: the schema
    :param owner: whose it is, for messages
    :raises PluginError: if it is no schema
    """

    def __init__(self, contents: Mapping[str, Any], owner: str) -> None:
        self._contents = contents
        self._owner = owner
        try:
            Draft202012Validator.check_schema(contents)
        except SchemaError as error:
            raise PluginError(f"{owner}: its schema is wrong at {join('', *error.absolute_path) or '/'}") from error
        self._validator = _Validator(contents, registry=_registry())
        self._resolver = _registry().resolver_with_root(DRAFT202012.create_resource(contents))

    @property
    def properties(self) -> Mapping[str, Any]:
        """Its properties."""
        found: Mapping[str, Any] = self._contents.get("properties", {})
        return found

    def check(self, node: Any, pointer: str, problems: Problems) -> Any:
        """Check a node.

        :param node: plain data
        :param pointer: where it stands
        :param problems: hears what is wrong
        :return: a copy without what is wrong, for further checks
        """
        node = copy.deepcopy(node)
        first = True
        while found := [finding for error in self._errors(node) for finding in explain(error, self.lookup)]:
            for path, message in found if first else ():
                problems.add(join(pointer, *path), message)
            if not _remove(node, {_removable(path) for path, _ in found} - {()}):
                break
            first = False
        return node

    def complete(self, node: Any, pointer: str, visit: Visit) -> Any:
        """Fill in defaults, and replace secrets and components.

        :param node: what `check` returned; is changed
        :param pointer: where it stands
        :param visit: does the replacing
        :return: the complete node
        """
        try:
            return self._complete(self._contents, self._resolver, node, pointer, visit)
        except Unresolvable as error:
            raise self._dangling(error) from error

    def _errors(self, node: Any) -> list[ValidationError]:
        try:
            return list(self._validator.iter_errors(node))
        except Unresolvable as error:
            raise self._dangling(error) from error

    def _dangling(self, error: Unresolvable) -> PluginError:
        return PluginError(f"{self._owner}: its schema refers to {error.ref}, which does not exist")

    def lookup(self, schema: Any) -> Mapping[str, Any]:
        """Return the schema that a schema refers to, or itself if it says itself what it wants."""
        if not isinstance(schema, Mapping):
            return {}
        if "title" in schema or "$ref" not in schema:
            return schema
        try:
            found: Mapping[str, Any] = self._resolver.lookup(schema["$ref"]).contents
        except Unresolvable:  # relative to a document that is not ours
            return {}
        return found

    def _complete(self, schema: Any, resolver: Any, node: Any, pointer: str, visit: Visit) -> Any:
        if isinstance(schema, bool) or node is None:
            return node
        if "x-secret" in schema or "x-kind" in schema:
            return visit(schema, node, pointer)
        if "$ref" in schema:
            target = resolver.lookup(schema["$ref"])
            node = self._complete(target.contents, target.resolver, node, pointer, visit)
        for part in (*schema.get("allOf", ()), *self._chosen(schema, node)):
            node = self._complete(part, resolver, node, pointer, visit)
        if isinstance(node, dict):
            for key, default in _defaults(schema):
                node.setdefault(key, copy.deepcopy(default))
            for key in node:
                for part in _member_schemas(schema, key):
                    node[key] = self._complete(part, resolver, node[key], join(pointer, key), visit)
        if isinstance(node, list):
            node = [self._complete(schema.get("items", True), resolver, item, join(pointer, index), visit) for index, item in enumerate(node)]
        return node

    def _chosen(self, schema: Mapping[str, Any], node: Any) -> Iterator[Any]:
        for keyword in ("anyOf", "oneOf"):
            yield from [branch for branch in schema.get(keyword, ()) if self._validator.evolve(schema=branch).is_valid(node)][:1]


def _defaults(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, part["default"]) for key, part in schema.get("properties", {}).items() if isinstance(part, Mapping) and "default" in part)


def _member_schemas(schema: Mapping[str, Any], key: str) -> Iterator[Any]:
    if key in schema.get("properties", {}):
        yield schema["properties"][key]
    elif "patternProperties" not in schema:
        yield schema.get("additionalProperties", True)


def _removable(path: Path) -> Path:
    """Return what has to go for a node to go: whole lists, since taking an item out would move the others."""
    return next((path[:index] for index, key in enumerate(path) if isinstance(key, int)), path)


def _remove(node: Any, paths: set[Path]) -> bool:
    for *parents, last in sorted(paths, key=len, reverse=True):
        container = functools.reduce(lambda inner, key: inner[key], parents, node)
        del container[last]
    return bool(paths)


def _check_secret(validator: Any, _marked: bool, node: Any, _schema: object) -> Iterator[ValidationError]:
    yield from validator.descend(node, {"$ref": _DEFS + "secret-source"})


def _check_component(validator: Any, _kind: str, node: Any, _schema: object) -> Iterator[ValidationError]:
    yield from validator.descend(node, {"$ref": _DEFS + "component"})


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"x-secret": _check_secret, "x-kind": _check_component},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, node: type(node) is int),  # 1.0 is none, nor is true
)


@functools.cache
def envelope() -> Schema:
    """Return the schema of what belongs to the core."""
    return Schema(read_schema("config"), "outline-lb")


@functools.cache
def _registry() -> Registry[Any]:
    return Registry().with_resources((f"outline-lb:{name}", DRAFT202012.create_resource(read_schema(name))) for name in ("defs", "config"))


def read_schema(name: str) -> Mapping[str, Any]:
    """Return a schema of the core: ``config`` or ``defs``."""
    contents: Mapping[str, Any] = json.loads((resources.files("outline_lb_schemas") / f"{name}.schema.json").read_text("utf-8"))
    return contents
