from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from outline_lb_transport_ws_h1.schema import CONNECT, LISTEN

both = pytest.mark.parametrize("schema", [CONNECT, LISTEN], ids=["connect", "listen"])


def objects(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All object schemas that list properties."""
    if "properties" in schema:
        yield schema
        for node in schema["properties"].values():
            yield from objects(node)


@both
def test_is_a_schema(schema: Mapping[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@both
def test_every_property_is_explained_and_has_a_default_unless_it_is_required(schema: Mapping[str, Any]) -> None:
    for node in objects(schema):
        assert node["additionalProperties"] is False
        for name, child in node["properties"].items():
            assert child["description"], name
            assert ("default" in child) is not (name in node.get("required", ())), name


def test_default_of_tls_is_the_defaults_of_its_parts() -> None:
    tls = CONNECT["properties"]["tls"]
    assert tls["default"] == {name: node["default"] for name, node in tls["properties"].items()}


@pytest.mark.parametrize("pin", ["sha256/" + "A" * 43 + "=", "sha256/" + "+/9z" * 10 + "abc="])
def test_pins(pin: str) -> None:
    assert Draft202012Validator(CONNECT["properties"]["tls"]["properties"]["pins"]).is_valid([pin])


@pytest.mark.parametrize(("size", "valid"), [(0, False), (1, True), (4088, True), (65_600, True), (65_601, False), ("4088", False), (1.5, False)])
def test_sizes_of_messages(size: object, valid: bool) -> None:
    assert Draft202012Validator(CONNECT["properties"]["packet_max_message"]).is_valid(size) is valid


@pytest.mark.parametrize(("path", "valid"), [(None, True), ("/udp", True), ({"env": "WS_PATH"}, True), (1, False), (False, False)])
def test_packet_paths(path: object, valid: bool) -> None:
    assert Draft202012Validator(LISTEN["properties"]["packet_path"]).is_valid(path) is valid


@pytest.mark.parametrize("pin", ["", "A" * 43 + "=", "sha1/" + "A" * 43 + "=", "sha256/" + "A" * 44, "sha256/" + "-" * 43 + "="])
def test_other_texts_are_no_pins(pin: str) -> None:
    assert not Draft202012Validator(CONNECT["properties"]["tls"]["properties"]["pins"]).is_valid([pin])
