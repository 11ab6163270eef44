"""``outline-lb schema``, and the schema in this repository that editors take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from examples import blocks
from jsonschema import Draft202012Validator

from outline_lb.base.address import Address
from outline_lb.config.source import parse_document
from outline_lb.demo.world import World
from outline_lb.testing.program import Program

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "schemas" / "outline-lb.schema.json"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]
VALIDATOR = Draft202012Validator(json.loads(BUNDLE.read_text("utf-8")))


def schema(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([sys.executable, "-m", "outline_lb", "schema", *arguments], capture_output=True, text=True, timeout=30, check=False)


def read(text: str) -> Any:
    """Read YAML to plain data."""
    return parse_document(text.encode()).data


def written() -> Iterator[tuple[str, str]]:
    """Yield every whole configuration of the documentation, with its place."""
    for page in PAGES:
        for block in blocks(page, ROOT):
            if block.language == "yaml" and not block.broken and "version: 1" in block.text:
                yield block.place, block.text


def test_the_schema_in_the_repository_is_that_of_its_plugins() -> None:
    ended = schema("--plugins", "all")
    assert ended.returncode == 0, ended.stderr
    remedy = f"run: outline-lb schema --plugins all > {BUNDLE.relative_to(ROOT)}"
    assert json.loads(ended.stdout) == json.loads(BUNDLE.read_text("utf-8")), remedy


def test_it_is_a_schema_that_needs_no_other() -> None:
    text = BUNDLE.read_text("utf-8")
    Draft202012Validator.check_schema(json.loads(text))
    assert "outline-lb:" not in text
    assert [reference for reference in re.findall(r'"\$ref": "([^"]*)"', text) if not reference.startswith("#/$defs/")] == []


def test_keys_are_lower_case_so_that_variables_can_name_them() -> None:
    def keys(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from node["properties"] if isinstance(node.get("properties"), dict) else ()
            for part in node.values():
                yield from keys(part)

    assert {key for key in keys(VALIDATOR.schema) if not re.fullmatch("[a-z][a-z0-9_]*", key) or "__" in key} == set()


def test_only_the_named_plugins_are_in_it() -> None:
    names = set(json.loads(schema("--plugins", "socks5,ws-h1").stdout)["$defs"])
    assert {"frontend-socks5", "transport-ws-h1", "listener-ws-h1"} <= names
    assert not {"frontend-outline-server", "transport-tcp", "policy-fastest"} & names


def test_a_plugin_that_is_not_installed() -> None:
    ended = schema("--plugins", "ws-h9")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("outline-lb: plugin ws-h9 is not installed: pip install ")


@pytest.mark.parametrize(("place", "text"), list(written()), ids=[place for place, _ in written()])
def test_it_accepts_the_configurations_of_the_documentation(place: str, text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read(text))] == [], place


async def test_it_accepts_the_configurations_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    async def start(_name: str, config: object, _folder: Path) -> Any:
        async def stop() -> None: ...

        found.append(config)
        return SimpleNamespace(address=Address("127.0.0.1", 9), stop=stop)

    monkeypatch.setattr(Program, "start", start)
    async with World(tmp_path) as world:
        await world.start_servers({"one": 0.0, "two": 0.0})
        await world.start_client()
    assert len(found) == 3
    assert [error.message for config in found for error in VALIDATOR.iter_errors(config)] == []


GOOD = """\
version: 1
frontends:
  local: {type: socks5, listen: "127.0.0.1:1080", users: {me: {env: PASSWORD}}}
  server: {type: outline-server, to: direct, listen: [{type: ws-h1, address: "[::]:443", path: {env: P}}], keys: {me: {secret: x}}}
pools: {main: {policy: {type: fastest, sticky_ttl: 1m30s}, health: {interval: 2s}, upstreams: [{name: one, weight: 0.5}]}}
upstreams:
  one: {tcp: "wss://one.example/x", secret: {file: f}, cipher: AES-256-GCM, transport: {type: ws-h1, headers: {User-Agent: x}}}
  direct: {transport: direct}
"""


def test_it_accepts_what_is_right() -> None:
    assert VALIDATOR.is_valid(read(GOOD))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("version: 1", "version: 2"),
        ("version: 1", "versoin: 1"),
        ("type: socks5", "type: socks4"),
        ("type: socks5, ", ""),
        ('listen: "127', 'lisen: "127'),
        ("{env: PASSWORD}", "5"),
        ("{env: PASSWORD}", "{env: PASSWORD, file: x}"),
        ("{type: ws-h1, address", "{type: tcp, address"),
        (', address: "[::]:443"', ""),
        ("secret: x", "password: x"),
        ("sticky_ttl: 1m30s", "sticky_ttl: 90"),
        ("interval: 2s", "interval: 2 s"),
        ("weight: 0.5", "weight: 0"),
        ("wss://one", "one"),
        ("AES-256-GCM", "AES-512-GCM"),
        ("User-Agent: x", "User-Agent: [x]"),
        ("transport: direct", "transport: {type: direct, tls: {}}"),
    ],
)
def test_it_refuses_what_is_wrong(right: str, wrong: str) -> None:
    assert right in GOOD
    assert not VALIDATOR.is_valid(read(GOOD.replace(right, wrong)))
