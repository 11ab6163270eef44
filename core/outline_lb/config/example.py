"""An example of a type in its place in a configuration: what its schema gives as one, else made of defaults and examples of its options."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from ruamel.yaml import YAML

from ..plugin.registration import Registration
from .explain import Lookup
from .options import merged
from .problems import Problems
from .schema import Schema
from .source import Document

SECRET: Final = "SECRET"
"""Stands where a secret belongs."""

_SERVER: Final = "server-1"


def example(kind: str, registration: Registration[Any, Any, Any]) -> str | None:
    """Return a part of a configuration that uses a type, as YAML.

    :param kind: the kind
    :param registration: the type
    :return: the YAML; None if the schema does not say enough to make one
    :raises PluginError: if the schema is none
    """
    schema = Schema(registration.schema, f"{kind} {registration.type}")
    options = _options(registration.schema, schema.lookup)
    problems = Problems(Document({}, {}))
    schema.check(options, "", problems)
    if problems.count:
        return None
    node = {"type": registration.type, **options} if options or kind == "frontend" else registration.type
    return as_yaml(_place(kind, node, registration.schemes))


def as_yaml(node: Mapping[str, Any]) -> str:
    """Return plain data as YAML, in its own order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    output = io.StringIO()
    yaml.dump(node, output)
    return output.getvalue()


def _place(kind: str, node: object, schemes: tuple[str, ...]) -> dict[str, Any]:
    """Return what stands around a component."""
    scheme = max(schemes, key=len, default="tcp")  # the longer one of ws and wss is the better one
    server = {"tcp": f"{scheme}://server.example.com:443", "secret": SECRET}
    places: Mapping[str, dict[str, Any]] = {
        "frontend": {"frontends": {"local": node}},
        "listener": {"listen": [node]},
        "transport": {"upstreams": {_SERVER: {**(server if schemes else {}), "transport": node}}},
        "cipher": {"upstreams": {_SERVER: {**server, "cipher": node}}},
        "policy": {"pools": {"main": {"policy": node}}},
        "probe": {"pools": {"main": {"probes": [node]}}},
    }
    return places[kind]


def _options(schema: Mapping[str, Any], lookup: Lookup) -> dict[str, Any]:
    """Return what is required, and what has a default that says something."""
    if schema.get("examples"):
        return dict(schema["examples"][0])
    options = {}
    for key, part in schema.get("properties", {}).items():
        whole = merged(part, lookup)
        if key in schema.get("required", ()):
            options[key] = _value(whole, lookup)
        elif whole.get("default") not in (None, {}, []) and not isinstance(whole["default"], dict):
            options[key] = whole["default"]
    return options


def _value(whole: Mapping[str, Any], lookup: Lookup) -> Any:
    """Return any value that a schema takes, as far as can be guessed."""
    given = [*whole.get("examples", ()), *(whole[key] for key in ("default", "const") if key in whole), *whole.get("enum", ())]
    if given:
        return given[0]
    if "x-secret" in whole:
        return SECRET
    types = whole.get("type", "object")
    match types if isinstance(types, str) else types[0]:
        case "object":
            return _mapping(whole, lookup)
        case "array":
            return [_value(merged(whole.get("items", {}), lookup), lookup)]
        case name:
            return {"integer": whole.get("minimum", 1), "number": whole.get("minimum", 1), "boolean": False, "null": None}.get(name, "text")


def _mapping(whole: Mapping[str, Any], lookup: Lookup) -> dict[str, Any]:
    members = whole.get("additionalProperties")
    return {"NAME": _value(merged(members, lookup), lookup)} if isinstance(members, Mapping) else _options(whole, lookup)
