from __future__ import annotations

from typing import Any

import pytest
from menagerie import SECRET, closed, document, registration

from outline_lb.config.example import as_yaml, example
from outline_lb.config.reader import read_node
from outline_lb.plugin.registration import Registration

ADDRESS = {"$ref": "outline-lb:defs#/$defs/address"}


def read(kind: str, zebra: Registration[Any, Any, Any]) -> Any:
    text = example(kind, zebra)
    assert text is not None
    return document(text).data


def policy(properties: dict[str, Any], *required: str) -> Any:
    return read("policy", registration("zebra", properties, *required))["pools"]["main"]["policy"]


@pytest.mark.parametrize(
    ("kind", "schemes", "around"),
    [
        ("frontend", (), {"frontends": {"local": {"type": "zebra"}}}),
        ("listener", (), {"listen": ["zebra"]}),
        ("transport", (), {"upstreams": {"server-1": {"transport": "zebra"}}}),
        ("policy", (), {"pools": {"main": {"policy": "zebra"}}}),
        ("probe", (), {"pools": {"main": {"probes": ["zebra"]}}}),
        (
            "transport",
            ("ws", "wss"),
            {"upstreams": {"server-1": {"tcp": "wss://server.example.com:443", "secret": "SECRET", "transport": "zebra"}}},
        ),
        ("cipher", (), {"upstreams": {"server-1": {"tcp": "tcp://server.example.com:443", "secret": "SECRET", "cipher": "zebra"}}}),
    ],
)
def test_each_kind_stands_in_its_place(kind: str, schemes: tuple[str, ...], around: object) -> None:
    assert read(kind, registration("zebra", schemes=schemes)) == around


def test_what_is_required_and_what_has_a_telling_default_is_shown() -> None:
    properties = {
        "wait": {"type": "string", "default": "5s"},
        "strict": {"type": "boolean", "default": False},
        "listen": ADDRESS,
        "source": {"type": ["string", "null"], "default": None},
        "headers": {"type": "object", "default": {}},
        "tls": {"type": "object", "default": {"ca": None}},
        "pins": {"type": "array", "default": []},
    }
    assert policy(properties, "listen") == {"type": "zebra", "wait": "5s", "strict": False, "listen": "127.0.0.1:1080"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (ADDRESS, "127.0.0.1:1080"),
        ({"enum": ["fast", "slow"]}, "fast"),
        ({"const": 7}, 7),
        (SECRET, "SECRET"),
        ({"type": "string"}, "text"),
        ({"type": "boolean"}, False),
        ({"type": "number"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, ["text"]),
        ({"type": "object", "additionalProperties": SECRET, "minProperties": 1}, {"NAME": "SECRET"}),
        (closed({"in": {"type": "boolean"}, "out": {"type": "string"}}, "in"), {"in": False}),
        ({"type": "string", "examples": ["first", "second"]}, "first"),
    ],
)
def test_a_value_that_has_to_be_there_is_made_up(schema: dict[str, Any], value: object) -> None:
    assert policy({"it": schema}, "it") == {"type": "zebra", "it": value}


def test_an_example_of_the_schema_itself_is_taken_as_it_is() -> None:
    schema = {**closed({"a": {}, "b": {}}, "a"), "examples": [{"a": 1, "b": [2]}, {"a": 3}]}
    zebra: Registration[Any, Any, Any] = Registration("zebra", schema, dict, lambda *_: None)
    assert read("listener", zebra) == {"listen": [{"type": "zebra", "a": 1, "b": [2]}]}


def test_what_would_not_be_valid_is_not_shown() -> None:
    assert example("policy", registration("zebra", {"name": {"type": "string", "pattern": "^z"}}, "name")) is None


def test_yaml_keeps_the_order_and_what_is_text() -> None:
    text = as_yaml({"z": {"b": "1", "a": ["true", "127.0.0.1:80", "0x1f", ""]}, "a": None})
    assert document(text).data == {"z": {"b": "1", "a": ["true", "127.0.0.1:80", "0x1f", ""]}, "a": None}
    assert list(read_node(text).value) == ["z", "a"]
