from __future__ import annotations

import sys

import pytest
from distributions import Site, plugin

from outline_lb.base.errors import PluginError
from outline_lb.plugin.loader import PluginLoader


@pytest.fixture
def zoo(site: Site) -> Site:
    entry_points = {"policies": ["zebra = zebra_plugin"], "probes": ["zebra = zebra_plugin", "heron = heron_plugin"]}
    sources = {"zebra_plugin": plugin(policies="zebra", probes="zebra"), "heron_plugin": plugin(probes="heron")}
    site.install("zoo", entry_points, sources)
    return site


def test_a_type_is_imported_when_it_is_asked_for(zoo: Site) -> None:
    loader = PluginLoader()
    assert not {"zebra_plugin", "heron_plugin"} & set(sys.modules)
    registration = loader.registration("probe", "heron")
    assert registration.type == "heron"
    assert "zebra_plugin" not in sys.modules
    assert list(loader.catalog["probe"]) == ["heron"]


def test_what_was_asked_for_once_is_the_same_object_later(zoo: Site) -> None:
    loader = PluginLoader()
    zebra = loader.registration("policy", "zebra")
    loader.registration("probe", "heron")
    assert loader.registration("policy", "zebra") is zebra
    assert sys.modules["zebra_plugin"].CALLS == [("zebra",), ("zebra",)]


def test_what_two_offer_is_refused_also_if_one_of_them_is_active_already(zoo: Site) -> None:
    zoo.install(
        "pond", {"policies": ["zebra = pond_plugin"], "probes": ["newt = pond_plugin"]}, {"pond_plugin": plugin(policies="zebra", probes="newt")}
    )
    loader = PluginLoader()
    loader.registration("probe", "newt")
    with pytest.raises(PluginError, match=r"^policy zebra is offered by pond 1\.0 and zoo 1\.0: uninstall all but one$"):
        loader.registration("policy", "zebra")


def test_a_name_is_activated_with_all_that_it_means(zoo: Site) -> None:
    loader = PluginLoader()
    assert loader.select("zebra") == [("policy", "zebra"), ("probe", "zebra")]
    assert list(loader.catalog["policy"]) == ["zebra"]
    assert loader.select("probe-heron") == [("probe", "heron")]


def test_what_is_not_installed_is_an_error_and_changes_nothing(zoo: Site) -> None:
    loader = PluginLoader()
    with pytest.raises(PluginError, match="policy dodo is not installed"):
        loader.registration("policy", "dodo")
    with pytest.raises(PluginError, match="plugin dodo is not installed"):
        loader.select("dodo")
    assert not loader.catalog.entries


def test_what_the_next_configuration_does_not_ask_for_is_told_nothing_more(zoo: Site) -> None:
    source = plugin() + "\nHEARD = []\n@hookimpl\ndef outline_lb_config_reloaded(changes): HEARD.append(changes)\n"
    zoo.install("forest", {"observers": ["owl = owl_plugin", "eagle = eagle_plugin"]}, {"owl_plugin": source, "eagle_plugin": source})
    loader = PluginLoader()
    for change, names in (("first", ["owl", "eagle"]), ("second", ["eagle"]), ("third", []), ("fourth", ["owl"])):
        loader.start_over()
        for name in names:
            loader.select(name)
        loader.notifier.config_reloaded([change])
    assert sys.modules["owl_plugin"].HEARD == [["first"], ["fourth"]]
    assert sys.modules["eagle_plugin"].HEARD == [["first"], ["second"]]
