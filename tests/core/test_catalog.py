from __future__ import annotations

from typing import Any

import pytest

from outline_lb.base.errors import PluginError
from outline_lb.plugin.catalog import Catalog
from outline_lb.plugin.discovery import InstalledPlugin
from outline_lb.plugin.registration import Registration


def entry(kind: str, name: str) -> InstalledPlugin:
    return InstalledPlugin(kind, name, "module", "zoo", "1.0")


def registration(name: str) -> Registration[Any, Any, Any]:
    return Registration(name, {}, dict, lambda options, _: options)


@pytest.mark.parametrize("kind", ["frontend", "transport", "listener", "cipher", "policy", "probe"])
def test_each_kind_has_its_shelf(kind: str) -> None:
    zebra = registration("zebra")
    shelf = Catalog({entry(kind, "zebra"): zebra})[kind]
    assert shelf["zebra"] is zebra
    assert (list(shelf), len(shelf), "zebra" in shelf, "heron" in shelf) == (["zebra"], 1, True, False)


def test_observers_register_nothing() -> None:
    catalog = Catalog({entry("observer", "owl"): None})
    assert not catalog["observer"]
    assert [plugin.type for plugin in catalog.entries] == ["owl"]


def test_an_unknown_type_says_which_are_known() -> None:
    catalog = Catalog({entry("policy", name): registration(name) for name in ("zebra", "heron")})
    with pytest.raises(PluginError) as raised:
        catalog["policy"]["dodo"]
    assert str(raised.value) == "no active plugin offers the policy dodo (active: heron, zebra)"


def test_a_type_that_is_installed_says_what_to_add() -> None:
    catalog = Catalog({}, [entry("policy", "dodo"), entry("probe", "other")])
    with pytest.raises(PluginError) as raised:
        catalog["policy"]["dodo"]
    assert str(raised.value) == "no active plugin offers the policy dodo (active: none): add policy-dodo to --plugins"


def test_an_unknown_kind_says_which_there_are() -> None:
    with pytest.raises(PluginError, match=r"^there is no kind of plugin called ciphre: the kinds are frontend, .*observer$"):
        Catalog()["ciphre"]


def test_a_catalog_does_not_change() -> None:
    entries: dict[InstalledPlugin, Registration[Any, Any, Any] | None] = {entry("policy", "zebra"): registration("zebra")}
    catalog = Catalog(entries)
    entries.clear()
    assert list(catalog["policy"]) == ["zebra"]
    with pytest.raises(TypeError):
        catalog.entries[entry("policy", "dodo")] = None  # type: ignore[index]
