"""Each hook once, through the public door: our own plugins register, a stranger hears. The functions are named after the hooks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributions import Site, plugin

from outline_lb.base.address import Address
from outline_lb.base.flow import Flow, Network
from outline_lb.plugin.catalog import Catalog
from outline_lb.plugin.discovery import find
from outline_lb.plugin.manager import assemble
from outline_lb.plugin.notifier import Notifier

OBSERVER = """
HEARD = []

@hookimpl
def outline_lb_flow_opened(flow, upstream):
    HEARD.append(("opened", flow, upstream))

@hookimpl
def outline_lb_flow_closed(flow, upstream, sent, received, error):
    HEARD.append(("closed", flow, upstream, sent, received, error))

@hookimpl
def outline_lb_health_changed(upstream, network, up, reason):
    HEARD.append(("health", upstream, network, up, reason))

@hookimpl
def outline_lb_config_reloaded(changes):
    HEARD.append(("reloaded", changes))
"""


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Notifier, list[Any]]]:
    """Install an observer; return what tells it, and what it heard."""
    site = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    site.install("forest", {"observers": "owl = owl_plugin"}, {"owl_plugin": plugin() + OBSERVER})
    notifier = assemble([find("observer", "owl")])[1]
    yield notifier, sys.modules["owl_plugin"].HEARD
    site.forget()


@pytest.fixture
def flow() -> Flow:
    """Return any flow."""
    return Flow("local", Network.TCP, None, "", Address("example.com", 80), 0.0)


def ask_for(kind: str, name: str) -> Catalog:
    """Return what there is after a configuration asked for one type."""
    return assemble([find(kind, name)])[0]


def test_outline_lb_frontends() -> None:
    assert list(ask_for("frontend", "socks5")["frontend"]) == ["socks5"]


def test_outline_lb_transports() -> None:
    assert ask_for("transport", "ws-h1")["transport"]["ws-h1"].schemes == ("ws", "wss")


def test_outline_lb_listeners() -> None:
    assert list(ask_for("listener", "ws-h1")["listener"]) == ["ws-h1"]


def test_outline_lb_ciphers() -> None:
    assert {"chacha20-ietf-poly1305", "aes-256-gcm"} <= set(ask_for("cipher", "aes-256-gcm")["cipher"])


def test_outline_lb_policies() -> None:
    assert list(ask_for("policy", "fastest")["policy"]) == ["fastest"]


def test_outline_lb_probes() -> None:
    assert list(ask_for("probe", "handshake")["probe"]) == ["handshake"]


def test_outline_lb_flow_opened(observed: tuple[Notifier, list[Any]], flow: Flow) -> None:
    notifier, heard = observed
    notifier.flow_opened(flow, "server")
    assert heard == [("opened", flow, "server")]


def test_outline_lb_flow_closed(observed: tuple[Notifier, list[Any]], flow: Flow) -> None:
    notifier, heard = observed
    error = ConnectionResetError()
    notifier.flow_closed(flow, "server", 1, 2, error)
    assert heard == [("closed", flow, "server", 1, 2, error)]


def test_outline_lb_health_changed(observed: tuple[Notifier, list[Any]]) -> None:
    notifier, heard = observed
    notifier.health_changed("server", Network.UDP, False, "no answer")
    assert heard == [("health", "server", Network.UDP, False, "no answer")]


def test_outline_lb_config_reloaded(observed: tuple[Notifier, list[Any]]) -> None:
    notifier, heard = observed
    notifier.config_reloaded(["/pools/main", "/upstreams/server"])
    assert heard == [("reloaded", ["/pools/main", "/upstreams/server"])]
