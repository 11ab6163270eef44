from __future__ import annotations

import sys
from pathlib import Path

import pytest
from distributions import Site, plugin

from outline_lb.base.errors import ConfigError, PluginError
from outline_lb.base.flow import Network
from outline_lb.config.load import load

CONFIG = """\
version: 1
frontends: {local: {type: zoo-frontend}}
pools: {main: {policy: zebra, probes: []}}
upstreams: {a: {transport: zoo-transport}}
"""
OWL = """
@hookimpl
def outline_lb_health_changed(upstream): CALLS.append(upstream)
"""


@pytest.fixture
def file(site: Site, tmp_path: Path) -> Path:
    entry_points = {
        "frontends": "zoo-frontend = zoo_plugin",
        "transports": "zoo-transport = zoo_plugin",
        "policies": "zebra = zebra_plugin",
        "probes": "heron = heron_plugin",
        "observers": "owl = owl_plugin",
    }
    sources = {
        "zoo_plugin": plugin(frontends="zoo-frontend", transports="zoo-transport"),
        "zebra_plugin": plugin(policies="zebra"),
        "heron_plugin": "raise AssertionError('nobody asked for this plugin')",
        "owl_plugin": plugin() + OWL,
    }
    site.install("zoo", entry_points, sources)
    config = tmp_path / "conf.yaml"
    config.write_text(CONFIG)
    return config


def imported() -> set[str]:
    return {"zoo_plugin", "zebra_plugin", "heron_plugin", "owl_plugin"} & set(sys.modules)


def test_a_file_becomes_settings_with_the_plugins_that_it_needs_and_no_other(file: Path) -> None:
    settings, _ = load(file)
    assert settings.pools["main"].policy.type == "zebra"
    assert settings.frontends["local"].component.build(None) == ("built", {}, None)  # type: ignore[arg-type, comparison-overlap]
    assert imported() == {"zoo_plugin", "zebra_plugin"}
    assert sys.modules["zoo_plugin"].CALLS == [("zoo-frontend",), ("zoo-transport",)]


def test_plugins_of_the_command_line_and_of_the_file_listen_too(file: Path) -> None:
    file.write_text(CONFIG + "plugins: [owl]\n")
    _, notifier = load(file, ["policy-zebra"])
    notifier.health_changed("a", Network.TCP, True, "")
    assert sys.modules["owl_plugin"].CALLS == ["a"]


def test_a_type_that_is_not_installed_is_an_error_at_its_place(file: Path) -> None:
    file.write_text(CONFIG.replace("policy: zebra", "policy: zebrra"))
    with pytest.raises(ConfigError) as raised:
        load(file)
    place = f"{file}:3:16: /pools/main/policy"
    assert str(raised.value) == f"{place}: policy zebrra is not installed: pip install outline-lb-policy-zebrra (similar, and installed: zebra)"


def test_a_plugin_that_cannot_be_imported_is_an_error_at_its_place(file: Path) -> None:
    file.write_text(CONFIG.replace("probes: []", "probes: [heron]"))
    with pytest.raises(ConfigError, match=r"conf\.yaml:3:\d+: /pools/main/probes/0: probe-heron \(zoo 1\.0\) cannot be imported: AssertionError"):
        load(file)


def test_a_name_of_the_command_line_that_is_not_installed_has_no_place(file: Path) -> None:
    with pytest.raises(PluginError, match=r"^plugin dodo is not installed"):
        load(file, ["dodo"])


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.yaml")
