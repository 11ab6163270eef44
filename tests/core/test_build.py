from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from menagerie import Menagerie, document

from outline_lb.base.errors import ConfigError, PluginError
from outline_lb.config.build import build_settings
from outline_lb.config.settings import LogSettings, MemberSettings, Settings
from outline_lb.selection.health import HealthOptions

SMALL = """
version: 1
frontends:
  local: {type: socks5}
upstreams:
  a: {tcp: "wss://a.example/path", secret: s}
  b: {}
"""
FULL = """
version: 1
plugins: [owl]
x-anchors: {probe: &probe {type: ping, count: 2}}
frontends:
  local: {type: socks5, listen: "127.0.0.1:0", to: fast}
  server: {type: server, listen: [ws-h2], keys: {ann: {secret: abc}}, to: b}
pools:
  fast:
    policy: {type: fastest, sticky_ttl: 5s}
    health: {interval: 1m, timeout: 500ms, fail_threshold: 3, success_threshold: 2, cooldown: 0s}
    probes: [*probe, handshake]
    connect_timeout: 4s
    standby: 7
    upstreams: [{name: b, weight: 0.5, tier: 1}, a]
  main: {probes: []}
upstreams:
  a: {tcp: "wss://a.example/path", secret: s, weight: 3}
  b: {transport: direct}
log: {level: debug, format: json}
"""


def build(text: str, *names: str) -> Settings:
    return build_settings(document(text), Menagerie(), names)


def problems(text: str, *names: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        build(text, *names)
    return str(raised.value).splitlines()


def with_pools(pools: str, frontend: str = "{type: socks5}") -> str:
    return f"version: 1\nfrontends: {{local: {frontend}}}\nupstreams: {{a: {{}}, b: {{weight: 2}}}}\npools: {pools}"


def test_a_small_document_is_completed() -> None:
    settings = build(SMALL)
    assert (settings.frontends["local"].to, settings.frontends["local"].component.type) == ("main", "socks5")
    main = settings.pools["main"]
    assert list(settings.pools) == ["main"]
    assert (main.policy.type, [probe.type for probe in main.probes], main.connect_timeout) == ("fastest", ["handshake"], 10.0)
    assert main.health == HealthOptions()
    assert main.members == (MemberSettings("a"), MemberSettings("b"))
    assert [upstream.transport.type for upstream in settings.upstreams.values()] == ["ws-h1", "direct"]
    assert (settings.log, settings.plugins) == (LogSettings(), ())


def test_a_full_document_is_read() -> None:
    settings = build(FULL)
    assert [(frontend.name, frontend.to) for frontend in settings.frontends.values()] == [("local", "fast"), ("server", "b")]
    fast, main = settings.pools["fast"], settings.pools["main"]
    assert fast.policy.options == {"sticky_ttl": "5s"}
    assert fast.health == HealthOptions(60.0, 0.5, 3, 2, 0.0)
    assert [(probe.type, probe.options) for probe in fast.probes] == [("ping", {"count": 2}), ("handshake", {})]
    assert (fast.connect_timeout, fast.standby, main.standby) == (4.0, 7, 2)
    assert fast.members == (MemberSettings("b", 0.5, 1), MemberSettings("a", 3.0, 0))
    assert main.probes == ()
    assert main.members == (MemberSettings("a", 3.0), MemberSettings("b"))
    assert settings.log == LogSettings("debug", "json")
    assert settings.plugins == ("owl",)


def test_nothing_is_asked_for_that_the_document_does_not_need() -> None:
    plugins = Menagerie()
    build_settings(document(SMALL), plugins)
    assert set(plugins.asked) == {
        ("frontend", "socks5"),
        ("policy", "fastest"),
        ("probe", "handshake"),
        ("transport", "ws-h1"),
        ("transport", "direct"),
        ("cipher", "chacha20-ietf-poly1305"),
    }


def test_names_of_the_command_line_fill_what_is_open() -> None:
    settings = build(SMALL, "zebra", "ping", "ws-h2")
    main = settings.pools["main"]
    assert (main.policy.type, [probe.type for probe in main.probes]) == ("zebra", ["ping"])
    assert settings.upstreams["a"].transport.type == "ws-h2"


def test_names_of_the_command_line_change_nothing_that_is_written() -> None:
    plugins = Menagerie()
    plain, named = (build_settings(document(FULL), plugins, names) for names in ((), ("zebra", "ping")))
    assert named.pools["fast"] == plain.pools["fast"]
    assert named.pools["main"] != plain.pools["main"]


def test_a_name_of_the_command_line_that_is_not_to_be_had_has_no_place() -> None:
    with pytest.raises(PluginError, match="plugin dodo is not installed"):
        build(SMALL, "dodo")


def test_a_frontend_goes_to_the_only_pool_or_to_main() -> None:
    assert build(with_pools("{only: {}}")).frontends["local"].to == "only"
    assert build(with_pools("{other: {}, main: {}}")).frontends["local"].to == "main"
    assert problems(with_pools("{one: {}, two: {}}")) == [
        "conf.yaml:2:13: /frontends/local: to is missing: there are the pools one, two, and none is called main"
    ]


def test_a_frontend_may_go_to_an_upstream() -> None:
    assert build(with_pools("{}", "{type: socks5, to: a}")).frontends["local"].to == "a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x-a: 1", "conf.yaml:1:1: version is missing: expected 1"),
        ("version: 2\nfrontends: {}\nupstreams: {}", "conf.yaml:1:1: /version: expected 1"),
        ("version: 1\nupstreams: {a: {}}", "conf.yaml:1:1: frontends is missing: expected a mapping"),
        ("version: 1\nfrontends: {}\nupstreams: {a: {}}", "conf.yaml:2:1: /frontends: must not be empty"),
        ("version: 1\nfrontends: {a: {type: socks5}}", "conf.yaml:1:1: upstreams is missing: expected a mapping"),
        ("version: 1\nfrontends: {a: {type: socks5}}\nupstreams:", "conf.yaml:3:1: /upstreams: expected a mapping, found nothing"),
        (SMALL + "pool: {}", "conf.yaml:8:1: /pool: unknown key pool; did you mean pools?"),
        (SMALL.replace("local", "a b"), "conf.yaml:4:3: /frontends/a b: as a key, expected a name (letters, digits, . _ -)"),
        (SMALL.replace("{type: socks5}", "socks5"), "conf.yaml:4:3: /frontends/local: expected a mapping with a type and its options, found text"),
        (SMALL.replace("type: socks5", "listen: x"), "conf.yaml:4:3: /frontends/local: type is missing: expected a name (letters, digits, . _ -)"),
        (SMALL.replace("socks5", "dodo"), "conf.yaml:4:11: /frontends/local/type: frontend dodo is not installed"),
        (SMALL.replace("socks5", "socks5, lisen: x"), "conf.yaml:4:25: /frontends/local/lisen: unknown key lisen; did you mean listen?"),
        (SMALL.replace("socks5", "socks5, to: mian"), "conf.yaml:4:25: /frontends/local/to: there is no pool or upstream mian; did you mean main?"),
        (SMALL.replace("  b:", "  main:"), "conf.yaml:7:3: /upstreams/main: a pool is called main too: give one of them another name"),
        (SMALL + "plugins: [owl, dodo]", "conf.yaml:8:16: /plugins/1: plugin dodo is not installed"),
        (SMALL + "log: {level: loud}", "conf.yaml:8:7: /log/level: expected debug, info, warning or error"),
        (with_pools("{a: {}}"), "conf.yaml:3:13: /upstreams/a: a pool is called a too: give one of them another name"),
        (with_pools("{p: {upstreams: []}}"), "conf.yaml:4:13: /pools/p/upstreams: must not be empty"),
        (with_pools("{p: {upstreams: [a, c]}}"), "conf.yaml:4:28: /pools/p/upstreams/1: there is no upstream c"),
        (with_pools("{p: {upstreams: [a, {name: a}]}}"), "conf.yaml:4:28: /pools/p/upstreams/1: a is in this pool already"),
        (
            with_pools("{p: {upstreams: [{weight: 1}]}}"),
            "conf.yaml:4:25: /pools/p/upstreams/0: name is missing: expected a name (letters, digits, . _ -)",
        ),
        (with_pools("{p: {policy: dodo}}"), "conf.yaml:4:13: /pools/p/policy: policy dodo is not installed"),
        (with_pools("{p: {probes: [dodo]}}"), "conf.yaml:4:22: /pools/p/probes/0: probe dodo is not installed"),
        (with_pools("{p: {probes: [{type: ping, count: 0}]}}"), "conf.yaml:4:35: /pools/p/probes/0/count: expected a number of at least 1"),
        (with_pools("{p: {probes: handshake}}"), "conf.yaml:4:13: /pools/p/probes: expected a list, found text"),
        (with_pools("{p: {connect_timeout: 0s}}"), "conf.yaml:4:13: /pools/p/connect_timeout: expected a duration above 0"),
        (with_pools("{p: {health: {interval: 5}}}"), "conf.yaml:4:22: /pools/p/health/interval: expected a duration such as 20ms, found a number"),
        (with_pools("{p: {health: {timeout: ٣s}}}"), "conf.yaml:4:22: /pools/p/health/timeout: '٣s' is no duration"),
        (with_pools("{p: {health: {cooldown: 1s 5m}}}"), "conf.yaml:4:22: /pools/p/health/cooldown: expected a duration such as 20ms"),
    ],
)
def test_each_problem_has_its_place_and_its_remedy(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_several_named_plugins_that_fit_are_a_question() -> None:
    (problem,) = problems(SMALL, "zebra", "heron")
    assert problem.endswith("/pools/main/policy: several that fit were named as plugins (zebra, heron): say here which policy to take")


def test_all_problems_are_told_at_once() -> None:
    text = """
version: 1
frontends:
  local: {type: socks5, lisen: "127.0.0.1:0", to: mian}
pools:
  main: {policy: {type: fastest, sticky_ttl: 5}, polcy: lru, upstreams: [a, c]}
upstreams:
  a: {tcp: "wss://a.example/path", secret: {env: NO_SUCH_VARIABLE}, transport: {type: ws-h1, half_clos: defer}}
  b: {transport: 5, weight: 0}
logs: {}
"""
    assert [line.split(": ")[1] for line in problems(text)] == [
        "/frontends/local/lisen",
        "/frontends/local/to",
        "/pools/main/policy/sticky_ttl",
        "/pools/main/polcy",
        "/pools/main/upstreams/1",
        "/upstreams/a/secret/env",
        "/upstreams/a/transport/half_clos",
        "/upstreams/b/transport",
        "/upstreams/b/weight",
        "/logs",
    ]


def test_equal_documents_give_equal_settings() -> None:
    plugins = Menagerie()
    one, two = (build_settings(document(FULL), plugins) for _ in range(2))
    assert one == two
    changed = build_settings(document(FULL.replace("secret: s,", "secret: t,")), plugins)
    assert {name for name in one.upstreams if one.upstreams[name] != changed.upstreams[name]} == {"a"}
    assert changed.pools == one.pools
    assert changed.frontends == one.frontends


def leaves(node: Any) -> Iterator[tuple[Any, Any]]:
    """Return every place in plain data that holds a single value: what holds it, and its key."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            yield node, key
            yield from leaves(value)
        else:
            yield node, key


@pytest.mark.parametrize("value", ["hunter2 hunter2", {"type": "hunter2 x"}, "wss://hunter2:hunter2@hunter2/hunter2#hunter2"])
def test_no_value_is_ever_printed(value: object) -> None:
    said = []
    for index in range(len(list(leaves(document(FULL).data)))):
        data: Any = document(FULL).data
        parent, key = list(leaves(data))[index]
        parent[key] = value
        try:
            build_settings(document(json.dumps(data)), Menagerie())
        except ConfigError as error:
            said.append(str(error))
    assert len(said) > 20
    assert "hunter2" not in "\n".join(said)
