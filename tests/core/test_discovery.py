from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from distributions import Site, plugin

from outline_lb.base.errors import PluginError
from outline_lb.plugin.discovery import InstalledPlugin, find, installed, load, resolve

MARKER = "raise AssertionError('nobody asked for this plugin')"


def entry(name: str, distribution: str = "", module: str = "") -> InstalledPlugin:
    kind, _, type_name = name.partition("-")
    distribution = distribution or f"outline-lb-{name}"
    return InstalledPlugin(kind, type_name, module or distribution.replace("-", "_"), distribution, "1.0")


def from_site(site: Site) -> list[InstalledPlugin]:
    return [found for found in installed() if (site.folder / f"{found.module.partition(':')[0]}.py").exists()]


def test_installed_reads_metadata_and_imports_nothing(site: Site) -> None:
    groups = {"policies": ["zebra = zebra_plugin", "heron = zebra_plugin"], "observers": "owl = owl_plugin"}
    site.install("Zoo.Plugins", groups, {"zebra_plugin": MARKER, "owl_plugin": MARKER}, version="2.3")
    assert from_site(site) == [
        InstalledPlugin("observer", "owl", "owl_plugin", "Zoo.Plugins", "2.3"),
        InstalledPlugin("policy", "heron", "zebra_plugin", "Zoo.Plugins", "2.3"),
        InstalledPlugin("policy", "zebra", "zebra_plugin", "Zoo.Plugins", "2.3"),
    ]
    assert not {"zebra_plugin", "owl_plugin"} & set(sys.modules)


def test_a_folder_that_is_twice_on_the_path_counts_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": plugin(policies="zebra")})
    monkeypatch.syspath_prepend(str(site.folder))
    assert find("policy", "zebra").distribution == "zoo"


def test_of_two_versions_on_the_path_the_one_that_would_be_imported_counts(new_site: Callable[[], Site]) -> None:
    new_site().install("zoo", {"policies": ["zebra = zebra_plugin", "dodo = zebra_plugin"]}, {"zebra_plugin": ""}, version="1.0")
    new_site().install("Zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": ""}, version="2.0")
    assert find("policy", "zebra").version == "2.0"
    with pytest.raises(PluginError, match="dodo is not installed"):
        find("policy", "dodo")


def test_broken_metadata_of_one_distribution_harm_no_other(site: Site) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": MARKER})
    site.install("swamp", {"policies": "a line without an equals sign"}, {})
    assert [found.type for found in from_site(site)] == ["zebra"]


def test_groups_of_others_are_not_ours(site: Site) -> None:
    site.install("zoo", {"strangers": "zebra = zebra_plugin"}, {"zebra_plugin": ""})
    assert not from_site(site)


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("policy", "zebra", "pip install outline-lb-policy-zebra"),
        ("listener", "ws-h9", "pip install outline-lb-transport-ws-h9"),
        ("cipher", "aes-256-gcm", "pip install outline-lb-cipher-aead"),
    ],
)
def test_a_missing_type_says_what_to_install(kind: str, name: str, remedy: str) -> None:
    with pytest.raises(PluginError) as raised:
        find(kind, name, [])
    assert str(raised.value) == f"{kind} {name} is not installed: {remedy}"


def test_a_missing_type_says_what_is_similar_and_of_its_kind() -> None:
    with pytest.raises(PluginError, match=r"similar, and installed: fastest\)$"):
        find("policy", "fasted", [entry("policy-fastest"), entry("probe-fasted")])


def test_nobody_is_told_to_install_what_is_installed() -> None:
    with pytest.raises(PluginError, match=r"^cipher aes-256-cfb is not among what is installed \(similar, and installed: aes-256-gcm\)$"):
        find("cipher", "aes-256-cfb", [entry("cipher-aes-256-gcm", "outline-lb-cipher-aead")])


def test_two_distributions_with_the_same_type_are_both_named() -> None:
    offers = [entry("policy-zebra", "one"), entry("policy-zebra", "two")]
    for call in (lambda: find("policy", "zebra", offers), lambda: resolve("zebra", offers), lambda: resolve("policy-zebra", offers)):
        with pytest.raises(PluginError, match=r"^policy zebra is offered by one 1\.0 and two 1\.0: uninstall all but one$"):
            call()


@pytest.mark.parametrize("name", ["ws-h2", "transport-ws-h2"])
def test_a_name_is_a_type_or_a_kind_and_a_type(name: str) -> None:
    assert resolve(name, [entry("transport-ws-h2"), entry("policy-fastest")]) == [entry("transport-ws-h2")]


def test_one_module_may_offer_a_type_in_several_kinds() -> None:
    halves = [entry("listener-ws-h2", "ws"), entry("transport-ws-h2", "ws")]
    assert resolve("ws-h2", halves) == halves
    assert resolve("listener-ws-h2", halves) == halves[:1]


def test_a_type_in_kinds_of_different_distributions_is_ambiguous() -> None:
    offers = [entry("policy-zebra", "one"), entry("probe-zebra", "two")]
    with pytest.raises(PluginError, match=r"^plugin zebra is ambiguous: write policy-zebra \(of one\) or probe-zebra \(of two\)$"):
        resolve("zebra", offers)
    assert resolve("probe-zebra", offers) == offers[1:]


def test_a_kind_and_a_type_go_before_a_type_that_looks_so() -> None:
    assert resolve("policy-zebra", [entry("policy-zebra"), entry("probe-policy-zebra")]) == [entry("policy-zebra")]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("policy-zebra", "pip install outline-lb-policy-zebra"),
        ("listener-ws-h9", "pip install outline-lb-transport-ws-h9"),
        ("zebra", "pip install outline-lb-KIND-zebra"),
        ("policy", "pip install outline-lb-KIND-policy"),
        ("ws-h9", "pip install outline-lb-KIND-ws-h9"),
    ],
)
def test_a_missing_name_says_what_to_install(name: str, remedy: str) -> None:
    with pytest.raises(PluginError) as raised:
        resolve(name, [])
    assert str(raised.value) == f"plugin {name} is not installed: {remedy}"


def test_a_missing_name_says_what_is_similar() -> None:
    with pytest.raises(PluginError, match=r"similar, and installed: ws-h2, ws-h1\)$"):
        resolve("ws-h22", [entry("transport-ws-h1"), entry("transport-ws-h2"), entry("policy-fastest")])
    with pytest.raises(PluginError, match=r"similar, and installed: fastest\)$"):
        resolve("policy-fasted", [entry("policy-fastest"), entry("policy-zebra"), entry("probe-fasted")])


def test_load_imports_what_it_is_told_and_nothing_else(site: Site) -> None:
    groups = {"policies": ["zebra = zebra_plugin", "heron = heron_plugin"]}
    site.install("zoo", groups, {"zebra_plugin": plugin(policies="zebra"), "heron_plugin": MARKER})
    zebra = find("policy", "zebra")
    assert load([zebra]) == {zebra: sys.modules["zebra_plugin"]}
    assert "heron_plugin" not in sys.modules


def test_load_does_not_believe_a_cache_that_is_older(site: Site) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": ""})
    load([find("policy", "zebra")])
    info = next(site.folder.glob("*.dist-info")) / "entry_points.txt"
    info.write_text(info.read_text().replace("zebra_plugin", "heron_plugin"))
    (site.folder / "heron_plugin.py").write_text("NAME = 'the new one'")
    plugin = find("policy", "zebra")
    assert load([plugin])[plugin].NAME == "the new one"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("assert 1 == 2, 'odd'", "AssertionError: odd"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("x = (", "SyntaxError: '(' was never closed (zebra_plugin.py, line 1)"),
    ],
)
def test_an_import_that_fails_is_one_line_with_plugin_distribution_and_cause(site: Site, source: str, cause: str) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": source}, version="2.3")
    with pytest.raises(PluginError) as raised:
        load([find("policy", "zebra")])
    assert str(raised.value) == f"policy-zebra (zoo 2.3) cannot be imported: {cause}; reinstall zoo, or install another version of it"


def test_ctrl_c_during_an_import_is_not_the_plugins_fault(site: Site) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin"}, {"zebra_plugin": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load([find("policy", "zebra")])


def test_an_entry_point_names_a_module(site: Site) -> None:
    site.install("zoo", {"policies": "zebra = zebra_plugin:Zebra"}, {"zebra_plugin": "class Zebra: ..."})
    with pytest.raises(PluginError, match="must name a module"):
        load([find("policy", "zebra")])
