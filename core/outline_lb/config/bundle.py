"""One schema for editors: that of the core, with those of plugins in the places that are theirs. It refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..plugin.discovery import GROUPS
from ..plugin.registration import Registration
from .explain import TITLES, expected
from .schema import read_schema

_DEFS: Final = "outline-lb:defs#/$defs/"
_NAMES: Final = {"secret": "secret-source"}
"""Shared definitions that stand for another one."""
_INTERNAL: Final = {"component"}
"""Shared definitions that types take the place of."""


def bundle(registrations: Iterable[tuple[str, Registration[Any, Any, Any]]]) -> dict[str, Any]:
    """Return a schema of whole configurations (JSON Schema 2020-12), as plain data for JSON.

    :param registrations: kinds and types that a configuration may use
    """
    config, shared = read_schema("config"), read_schema("defs")["$defs"]
    types: dict[str, dict[str, Registration[Any, Any, Any]]] = {kind: {} for kind in GROUPS if kind != "observer"}
    for kind, registration in registrations:
        types[kind][registration.type] = registration
    frontend = config["properties"]["frontends"]["additionalProperties"]
    definitions = {name: _resolved(part) for name, part in shared.items() if name not in {*_INTERNAL, *_NAMES}}
    definitions |= {name: _resolved(part) for name, part in config["$defs"].items()}
    for kind, known in types.items():
        definitions[kind] = _choice(kind, known)
        common = frontend["properties"] if kind == "frontend" else {}
        definitions |= {f"{kind}-{name}": _node(kind, known[name], common) for name in sorted(known)}
    result = {key: _resolved(part) for key, part in config.items() if key not in {"$id", "$defs", "description"}}
    result["properties"]["frontends"]["additionalProperties"] = {"$ref": "#/$defs/frontend"}
    return {**result, "$defs": definitions}


def _choice(kind: str, known: Mapping[str, object]) -> dict[str, Any]:
    """Return the schema of a component of a kind: the name of a type, or a mapping with a type and its options."""
    if not known:
        return {"title": f"no {kind}: none is installed", "not": {}}
    names = sorted(known)
    branches: list[dict[str, Any]] = [{"$ref": f"#/$defs/{kind}-{name}"} for name in names]
    if kind != "frontend":  # frontends are always mappings
        branches.insert(0, {"title": f"a type of {kind}", "enum": names})
    if kind == "cipher" and (loud := [name.upper() for name in names if name.upper() not in known]):  # as Outline keys write them
        branches.append({"type": "string", "pattern": f"^({'|'.join(loud)})$"})
    return {
        "title": "a mapping with a type and its options" if kind == "frontend" else TITLES["x-kind"],
        "required": ["type"],  # this and the next are said by each branch, too; here, editors find them before a branch is clear
        "properties": {"type": {"description": f"The type of {kind}.", "enum": names}},
        "oneOf": branches,
    }


def _node(kind: str, registration: Registration[Any, Any, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping with this type and its options."""
    name = f"{kind}-{registration.type}"
    schema = _resolved(registration.schema, f"#/$defs/{name}")
    own = {"type": {"description": f"The type of {kind}.", "const": registration.type}}
    shared = {key: _resolved(part) for key, part in common.items() if key != "type"}
    schema["properties"] = {**own, **shared, **schema.get("properties", {})}
    schema["required"] = ["type", *schema.get("required", ())]
    return {"title": f"{kind} {registration.type}", **schema}


def _resolved(schema: Any, root: str = "#") -> Any:
    """Return a copy that refers to the bundle.

    :param schema: a schema, or a part of one
    :param root: where in the bundle the schema stands
    """
    if isinstance(schema, list | tuple):
        return [_resolved(part, root) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {key: _resolved(part, root) for key, part in schema.items() if key not in {"$id", "x-kind", "x-secret"}}
    if isinstance(schema.get("x-kind"), str):
        copy["$ref"] = f"#/$defs/{schema['x-kind']}"
    elif schema.get("x-secret") is True:
        copy["$ref"] = "#/$defs/secret-source"
    elif isinstance(reference := schema.get("$ref"), str):
        copy["$ref"] = _reference(reference, root)
    if isinstance(schema.get("pattern"), str) and "title" in copy:  # not of the standard: what editors show instead of the pattern
        copy["patternErrorMessage"] = f"expected {expected(schema)}"
    return copy


def _reference(reference: str, root: str) -> str:
    if reference.startswith(_DEFS):
        name = reference.removeprefix(_DEFS)
        return "#/$defs/" + _NAMES.get(name, name)
    return root + reference.removeprefix("#") if reference.startswith("#") else reference
