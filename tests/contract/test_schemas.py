"""What every plugin of this house promises about its schema, and that the example which `plugins show` prints is a right one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from examples import whole

from outline_lb.config.build import build_settings
from outline_lb.config.example import example
from outline_lb.config.options import describe_options
from outline_lb.config.problems import Problems
from outline_lb.config.schema import Schema
from outline_lb.config.source import Document, parse_document
from outline_lb.plugin.discovery import InstalledPlugin, installed
from outline_lb.plugin.loader import PluginLoader
from outline_lb.plugin.registration import Registration

HOUSE = {f"outline-lb-{folder.parent.name}" for folder in Path(__file__).parents[2].glob("plugins/*/pyproject.toml")}
OURS = [plugin for plugin in installed() if plugin.distribution in HOUSE and plugin.kind != "observer"]

plugins = pytest.mark.parametrize("plugin", OURS, ids=lambda plugin: plugin.name)


def registered(plugin: InstalledPlugin) -> Registration[Any, Any, Any]:
    return PluginLoader().registration(plugin.kind, plugin.type)


def mappings(schema: object) -> Iterator[Mapping[str, Any]]:
    """Yield the schema of each mapping inside, and its own, if it has keys of its own."""
    if isinstance(schema, Mapping):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from mappings(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from mappings(part)


def test_there_are_plugins_to_look_at() -> None:
    assert {plugin.kind for plugin in OURS} == {"frontend", "transport", "listener", "cipher", "policy", "probe"}


@plugins
def test_it_is_a_closed_object_to_the_bottom(plugin: InstalledPlugin) -> None:
    schema = registered(plugin).schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert [inner for inner in mappings(schema) if inner.get("additionalProperties") is not False] == []


@plugins
def test_every_option_has_a_description_and_a_default_unless_it_is_required(plugin: InstalledPlugin) -> None:
    schema = registered(plugin).schema
    options = list(describe_options(schema, Schema(schema, plugin.name).lookup))
    assert [option.name for option in options if not option.description] == []
    assert [option.name for option in options if option.required == (option.default is not None)] == []


@plugins
def test_every_default_is_valid_itself(plugin: InstalledPlugin) -> None:
    contents = registered(plugin).schema
    defaults = {key: part["default"] for key, part in contents.get("properties", {}).items() if "default" in part}
    problems = Problems(Document({}, {}))
    Schema({**contents, "required": []}, plugin.name).check(defaults, "", problems)
    problems.raise_if_any()


@plugins
def test_its_example_is_a_right_one(plugin: InstalledPlugin) -> None:
    text = example(plugin.kind, registered(plugin))
    assert text is not None
    config = whole(parse_document(text.encode()).data)
    settings = build_settings(parse_document(json.dumps(config).encode()), PluginLoader())
    assert settings.frontends
