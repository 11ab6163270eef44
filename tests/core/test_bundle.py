from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from menagerie import Menagerie, closed, registration

from outline_lb.config.bundle import bundle


def schema_of(menagerie: Menagerie) -> dict[str, Any]:
    return bundle((kind, one) for kind, known in menagerie.types.items() for one in known)


SCHEMA = schema_of(Menagerie())


def fits(config: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> bool:
    whole = {"version": 1, "frontends": {"local": {"type": "socks5"}}, "upstreams": {"a": {}}, **config}
    return bool(Draft202012Validator(schema).is_valid(whole))


def upstream(**keys: Any) -> dict[str, Any]:
    return {"upstreams": {"a": keys}}


def server(**keys: Any) -> dict[str, Any]:
    return {"frontends": {"s": {"type": "server", "listen": [{"type": "ws-h1", "path": "x"}], **keys}}}


def test_it_is_a_schema_that_needs_no_other() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    assert not [word for word in ("outline-lb:", "x-kind", "x-secret") if word in text]
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"x-anchors": [1]},
        {"frontends": {"f": {"type": "socks5", "to": "main", "listen": "[::1]:1"}}},
        {"frontends": {"f": {"type": "picky", "number": 3}}},
        {"pools": {"main": {"policy": "fastest"}}},
        {"pools": {"main": {"policy": {"type": "fastest", "sticky_ttl": "1m30s"}, "probes": ["ping", {"type": "ping", "count": 2}]}}},
        upstream(cipher="aes-256-gcm", secret="text"),
        upstream(cipher="AES-256-GCM", secret={"env": "X"}),
        upstream(transport={"type": "tcp", "connect_timeout": "2s"}, secret={"file": "x"}),
        server(),
        server(keys={"u": {"secret": {"env": "X"}, "cipher": {"type": "ROT13"}}}),
        server(listen=["ws-h2", {"type": "ws-h1", "path": {"file": "x"}}], to="a"),
    ],
)
def test_what_it_accepts(config: dict[str, Any]) -> None:
    assert fits(config)


@pytest.mark.parametrize(
    "config",
    [
        {"version": 2},
        {"frontend": {}},
        {"frontends": {"f": "socks5"}},
        {"frontends": {"f": {}}},
        {"frontends": {"f": {"type": "picky", "listen": "127.0.0.1:1"}}},
        {"frontends": {"f": {"type": "dodo"}}},
        {"pools": {"main": {"policy": "dodo"}}},
        {"pools": {"main": {"policy": {"sticky_ttl": "1s"}}}},
        {"pools": {"main": {"policy": {"type": "fastest", "sticky_ttl": 5}}}},
        {"pools": {"main": {"policy": {"type": "zebra", "sticky_ttl": "5s"}}}},
        {"pools": {"main": {"probes": ["fastest"]}}},
        upstream(cipher="aes-512-gcm"),
        upstream(secret=5),
        upstream(secret={"env": "X", "file": "x"}),
        upstream(transport="aes-256-gcm"),
        server(listen=[{"type": "ws-h1"}]),
        server(listen=[{"type": "tcp"}]),
        server(keys={"u": {"secret": "x", "cipher": "rot14"}}),
    ],
)
def test_what_it_refuses(config: dict[str, Any]) -> None:
    assert not fits(config)


def test_defaults_and_descriptions_stay_for_editors() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["policy-fastest"]["properties"]["sticky_ttl"]["default"] == "10s"
    assert definitions["pool"]["properties"]["policy"]["description"].startswith("Chooses an upstream")
    assert definitions["duration"]["patternErrorMessage"] == "expected a duration such as 20ms"


def test_references_inside_a_plugins_schema_lead_there() -> None:
    menagerie = Menagerie()
    odd = registration("odd", {"pattern": {"$ref": "#/$defs/inner"}, "title": {"type": "string"}})
    menagerie.types["policy"].append(odd)
    odd.schema["$defs"] = {"inner": closed({"x": {"type": "integer"}})}  # type: ignore[index]
    schema = schema_of(menagerie)
    assert fits({"pools": {"main": {"policy": {"type": "odd", "pattern": {"x": 1}, "title": "t"}}}}, schema)
    assert not fits({"pools": {"main": {"policy": {"type": "odd", "pattern": {"x": "text"}}}}}, schema)


def test_a_kind_of_which_nothing_is_known_cannot_be_used() -> None:
    menagerie = Menagerie()
    menagerie.types["probe"].clear()
    schema = schema_of(menagerie)
    assert fits({"pools": {"main": {"probes": []}}}, schema)
    assert not fits({"pools": {"main": {"probes": ["ping"]}}}, schema)
