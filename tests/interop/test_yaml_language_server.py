"""Editors with yaml-language-server know what a configuration may say, from the schema that its first line names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from interop.language_server import LanguageServer, require_language_server

SCHEMA = Path(__file__).parents[2] / "schemas" / "outline-lb.schema.json"
FRONTEND = "frontends:\n  local: {type: socks5}\n"
UPSTREAM = "upstreams:\n  one: {transport: direct}\n"

pytestmark = pytest.mark.timeout(400)  # the first one installs it


@pytest.fixture
async def server() -> AsyncIterator[LanguageServer]:
    """Start a language server."""
    server = await LanguageServer.start(require_language_server())
    yield server
    await server.stop()


def text_of(config: str) -> str:
    """Return a configuration that names the schema."""
    return f"# yaml-language-server: $schema={SCHEMA.as_uri()}\nversion: 1\n{config}"


async def completions(server: LanguageServer, config: str) -> set[str]:
    """Return what could be written where ``|`` stands."""
    before, _, after = text_of(config).partition("|")
    uri = "file:///completions.yaml"
    await server.diagnostics(uri, before + after)
    return await server.completions(uri, before.count("\n") + 1, len(before) - before.rfind("\n"))


@pytest.mark.parametrize(
    ("config", "some"),
    [
        ("|\n", {"frontends", "pools", "upstreams", "log"}),
        ("frontends:\n  local:\n    type: |\n" + UPSTREAM, {"socks5", "outline-server"}),
        ("frontends:\n  local:\n    type: socks5\n    |\n" + UPSTREAM, {"to", "listen", "users", "allow_open"}),
        (FRONTEND + UPSTREAM + "pools:\n  main:\n    health:\n      |\n", {"interval", "timeout", "fail_threshold", "success_threshold", "cooldown"}),
        (FRONTEND + UPSTREAM + "pools:\n  main:\n    policy: |\n", {"fastest"}),
        (FRONTEND + UPSTREAM + "pools:\n  main:\n    policy:\n      type: fastest\n      |\n", {"sticky_ttl", "min_switch"}),
        (FRONTEND + "upstreams:\n  one:\n    transport: |\n", {"ws-h1", "tcp", "direct"}),
        (FRONTEND + "upstreams:\n  one:\n    transport:\n      type: ws-h1\n      half_close: |\n", {"close-frame", "defer"}),
        (FRONTEND + UPSTREAM + "log:\n  level: |\n", {"debug", "info", "warning", "error"}),
    ],
)
async def test_it_offers_what_could_stand_there(server: LanguageServer, config: str, some: set[str]) -> None:
    assert some <= await completions(server, config)


async def test_it_offers_no_keys_of_other_types(server: LanguageServer) -> None:
    found = await completions(server, "frontends:\n  local:\n    type: socks5\n    |\n" + UPSTREAM)
    assert not {"keys", "allow_private_targets"} & found


async def test_it_finds_nothing_wrong_with_what_is_right(server: LanguageServer) -> None:
    pools = "pools:\n  main:\n    policy: {type: fastest, sticky_ttl: 1m30s}\n    health: {interval: 2s}\n"
    upstreams = "upstreams:\n  one:\n    tcp: wss://one.example/x\n    secret: {env: ONE}\n    cipher: AES-256-GCM\n    transport: ws-h1\n"
    assert await server.diagnostics("file:///right.yaml", text_of(FRONTEND + pools + upstreams)) == []


@pytest.mark.parametrize(
    ("config", "line", "message"),
    [
        (FRONTEND + UPSTREAM + "pools: {main: {health: {intervall: 5s}}}\n", 7, "Property intervall is not allowed."),
        (FRONTEND + UPSTREAM + "pools: {main: {health: {interval: soon}}}\n", 7, "expected a duration such as 20ms"),
        (FRONTEND + UPSTREAM + "pools: {main: {health: {interval: 5}}}\n", 7, 'Incorrect type. Expected "string".'),
        (FRONTEND + UPSTREAM + "pools: {main: {policy: {type: fastest, sticky: 5s}}}\n", 7, "Property sticky is not allowed."),
        ("frontends:\n  local:\n    type: socks5\n    lisen: x\n" + UPSTREAM, 6, "Property lisen is not allowed."),
        (FRONTEND + "upstreams:\n  one: {transport: {type: ws-h1, half_close: never}}\n", 6, 'Valid values: "close-frame", "defer"'),
        (FRONTEND + "upstreams:\n  one: {tcp: 'wss://x', secret: {enf: X}}\n", 6, "Property enf is not allowed."),
    ],
)
async def test_it_finds_what_is_wrong(server: LanguageServer, config: str, line: int, message: str) -> None:
    found = await server.diagnostics("file:///wrong.yaml", text_of(config))
    assert [place for place, _ in found] == [line]
    assert message in found[0][1]
