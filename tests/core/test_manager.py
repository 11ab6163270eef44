from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from distributions import Site, plugin

from outline_lb.base.errors import PluginError
from outline_lb.base.flow import Network
from outline_lb.plugin.catalog import Catalog
from outline_lb.plugin.discovery import GROUPS, find, resolve
from outline_lb.plugin.manager import assemble

ZEBRA = {"policies": ["zebra = zebra_plugin"]}
MEND = "; mend it, or install another version of zoo"


def install(site: Site, source: str, entry_points: Mapping[str, Sequence[str]] = ZEBRA, version: str = "2.3") -> None:
    site.install("zoo", entry_points, {"zebra_plugin": source}, version)


def refusal(*names: str) -> str:
    with pytest.raises(PluginError) as raised:
        assemble([plugin for name in names or ("zebra",) for plugin in resolve(name)])
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_catalog_holds_what_the_hooks_return(site: Site) -> None:
    install(site, plugin(policies="zebra"))
    catalog, _ = assemble(resolve("zebra"))
    assert list(catalog["policy"]) == ["zebra"]
    options: dict[str, Any] = {}
    assert catalog["policy"]["zebra"].build(options, None) == ("built", options, None)
    assert not catalog["probe"]


def test_every_kind_but_observers_has_a_hook_of_its_own(site: Site) -> None:
    kinds = [kind for kind in GROUPS if kind != "observer"]
    hooks = {GROUPS[kind].removeprefix("outline_lb."): f"zebra-{kind}" for kind in kinds}
    install(site, plugin(**hooks), {hook: [f"{name} = zebra_plugin"] for hook, name in hooks.items()})
    catalog, _ = assemble(resolve("zebra-policy"))
    assert {kind: list(catalog[kind]) for kind in kinds} == {kind: [f"zebra-{kind}"] for kind in kinds}


def test_a_module_is_one_plugin_and_comes_whole_and_once(site: Site) -> None:
    entry_points = {"policies": ["zebra = zebra_plugin", "heron = zebra_plugin"], "probes": ["zebra = zebra_plugin"]}
    install(site, plugin(policies="zebra heron", probes="zebra"), entry_points)
    catalog, _ = assemble([find("policy", "heron"), find("policy", "zebra")])
    assert sorted(catalog["policy"]) == ["heron", "zebra"]
    assert list(catalog["probe"]) == ["zebra"]
    assert sys.modules["zebra_plugin"].CALLS == [("zebra", "heron"), ("zebra",)]


def test_what_is_active_stays_as_it_is(site: Site) -> None:
    site.install("zoo", ZEBRA, {"zebra_plugin": plugin(policies="zebra")})
    site.install("pond", {"policies": ["heron = heron_plugin"]}, {"heron_plugin": plugin(policies="heron")})
    first, _ = assemble(resolve("zebra"))
    second, _ = assemble([*resolve("heron"), *resolve("zebra")], first)
    assert second["policy"]["zebra"] is first["policy"]["zebra"]
    assert sorted(second["policy"]) == ["heron", "zebra"]
    assert list(first["policy"]) == ["zebra"]
    assert sys.modules["zebra_plugin"].CALLS == [("zebra",)]


def test_nothing_is_selected_by_being_installed(site: Site) -> None:
    install(site, "raise AssertionError('nobody asked for this plugin')")
    catalog, _ = assemble([])
    assert catalog["policy"] == Catalog()["policy"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", f"zebra_plugin does not say which plugin API it is made for, as in OUTLINE_LB_API = 1{MEND}"),
        ("OUTLINE_LB_API = '1'", f"zebra_plugin does not say which plugin API it is made for, as in OUTLINE_LB_API = 1{MEND}"),
        ("OUTLINE_LB_API = 2", "it is made for plugin API 2, this core has 1; upgrade outline-lb"),
        ("OUTLINE_LB_API = 0", "it is made for plugin API 0, this core has 1; upgrade zoo"),
    ],
)
def test_a_plugin_for_another_core_is_refused_before_its_hooks_are_looked_at(site: Site, line: str, message: str) -> None:
    source = plugin(policies="zebra").replace("OUTLINE_LB_API = 1", line)
    install(site, source + "\n@hookimpl\ndef outline_lb_of_tomorrow(): ...\n")
    assert refusal() == f"policy-zebra (zoo 2.3): {message}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def outline_lb_policy(): return []", r"outline_lb_policy is no hook: did you mean outline_lb_policies\?"),
        ("def outline_lb_polices(): return []", r"outline_lb_polices is no hook: did you mean outline_lb_policies\?"),
        ("def start(): return []", "start is no hook"),
        ("def outline_lb_policies(core): return []", r"outline_lb_policies has no argument core \(it has: none\)"),
        ("def outline_lb_flow_opened(flow, target): ...", r"outline_lb_flow_opened has no argument target \(it has: flow, upstream\)"),
        ("async def outline_lb_flow_opened(flow): ...", "outline_lb_flow_opened is async: hooks are plain functions that return at once"),
        ("def outline_lb_policies(): raise OSError(2, 'No such file')", "outline_lb_policies failed: FileNotFoundError: No such file or directory"),
        ("def outline_lb_policies(): raise SystemExit('two\\nlines')", "outline_lb_policies failed: SystemExit: two lines"),
        ("def outline_lb_policies(): return ['zebra']", "outline_lb_policies returned something that is no Registration"),
        ("def outline_lb_policies(): return None", "outline_lb_policies failed: TypeError: 'NoneType' object is not iterable"),
        ("def outline_lb_policies(): return register('zebra', 'zebra')", "it registers the policy zebra twice"),
        ("def outline_lb_policies(): return register('zebra', 'heron')", "it registers the policy heron, .*no entry point in outline_lb.policies"),
        ("def outline_lb_policies(): return register()", "its entry point names the policy zebra, which it does not register"),
        ("def outline_lb_probes(): return register('zebra')", "it registers the probe zebra, .*no entry point in outline_lb.probes"),
    ],
)
def test_a_broken_plugin_is_refused_and_named(site: Site, source: str, message: str) -> None:
    install(site, plugin() + f"\n@hookimpl\n{source}\n")
    assert re.fullmatch(rf"policy-zebra \(zoo 2\.3\): {message}{MEND}", refusal())


def test_a_forgotten_marker_is_noticed(site: Site) -> None:
    install(site, plugin() + "\ndef outline_lb_policies(): return register('zebra')\n")
    assert refusal() == "policy-zebra (zoo 2.3): zebra_plugin implements no hook: is @hookimpl missing?" + MEND


def test_a_hook_is_implemented_and_not_wrapped(site: Site) -> None:
    install(site, plugin(policies="zebra") + "\n@hookimpl(wrapper=True)\ndef outline_lb_flow_opened():\n    yield\n")
    assert refusal() == "policy-zebra (zoo 2.3): it wraps outline_lb_flow_opened: hooks are implemented, not wrapped" + MEND


def test_a_hook_of_a_later_core_may_be_marked_as_optional(site: Site) -> None:
    install(site, plugin(policies="zebra") + "\n@hookimpl(optionalhook=True)\ndef outline_lb_of_tomorrow(what): ...\n")
    assert list(assemble(resolve("zebra"))[0]["policy"]) == ["zebra"]


def test_two_plugins_that_register_the_same_are_both_named(site: Site) -> None:
    site.install("zoo", {"policies": ["zebra = zebra_plugin", "ostrich = zebra_plugin"]}, {"zebra_plugin": plugin(policies="zebra ostrich")})
    site.install("pond", {"policies": ["heron = heron_plugin", "ostrich = heron_plugin"]}, {"heron_plugin": plugin(policies="heron ostrich")})
    assert refusal("zebra", "heron") == "the policy ostrich is offered by zoo 1.0 and pond 1.0: uninstall one"


def test_the_notifier_tells_all_that_listen_what_they_want_to_know(site: Site) -> None:
    hooks = """
    HEARD = []
    @hookimpl
    def outline_lb_flow_opened(upstream): HEARD.append(("opened", upstream))
    @hookimpl
    def outline_lb_flow_closed(error, flow, sent): HEARD.append(("closed", flow, sent, error))
    @hookimpl
    def outline_lb_health_changed(): HEARD.append("health")
    @hookimpl
    def outline_lb_config_reloaded(changes): HEARD.append(changes)
    """
    owl = "\n".join(line.strip() if line.strip().startswith("@") else line[4:] for line in hooks.splitlines())
    site.install("zoo", ZEBRA, {"zebra_plugin": plugin(policies="zebra")})
    site.install("forest", {"observers": "owl = owl_plugin"}, {"owl_plugin": plugin() + owl})
    catalog, notifier = assemble([*resolve("zebra"), *resolve("owl")])
    flow: Any = object()
    notifier.flow_opened(flow, "server")
    notifier.flow_closed(flow, "server", 1, 2, None)
    notifier.health_changed("server", Network.TCP, True, "why")
    notifier.config_reloaded(["/upstreams/server"])
    heard = sys.modules["owl_plugin"].HEARD
    assert heard == [("opened", "server"), ("closed", flow, 1, None), "health", ["/upstreams/server"]]
    assert [plugin.name for plugin in catalog.entries] == ["policy-zebra", "observer-owl"]
