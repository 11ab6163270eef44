from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from menagerie import Menagerie, document

from outline_lb.base.errors import ConfigError
from outline_lb.config.build import build_settings
from outline_lb.config.overrides import Override, from_environment, overlay, parse_option
from outline_lb.config.settings import MemberSettings
from outline_lb.config.source import Document

TEXT = """\
version: 1
frontends: {local: {type: socks5}}
pools:
  main: {policy: zebra, probes: [ping, handshake], upstreams: [server-1]}
upstreams:
  server-1: {tcp: 'wss://a', secret: {env: NOWHERE}}
x-number: 5
x-nothing:
"""


def laid(*options: str, **variables: str) -> Document:
    return overlay(document(TEXT), [*from_environment(variables), *map(parse_option, options)])


def problems(*options: str, **variables: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        build_settings(laid(*options, **variables), Menagerie())
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    ("option", "path", "text"),
    [
        ("a=1", ("a",), "1"),
        ("pools.main.health.interval=2s", ("pools", "main", "health", "interval"), "2s"),
        ('users."j.doe"."a=b"=x=y', ("users", "j.doe", "a=b"), "x=y"),
        ("/users/j.doe/a~1b~0=x", ("users", "j.doe", "a/b~"), "x"),
        ("a=", ("a",), ""),
        ("a=x\ny", ("a",), "x\ny"),
    ],
)
def test_paths_are_dotted_or_json_pointers(option: str, path: tuple[str, ...], text: str) -> None:
    override = parse_option(option)
    assert (override.path, override.text, override.loose) == (path, text, False)
    assert override.origin == "--set " + option[: -len(text) - 1 if text else -1]


@pytest.mark.parametrize("option", ["", "hunter2", "=hunter2", ".a=hunter2", "a..b=hunter2", '"a=hunter2', "a b=hunter2", "/=hunter2"])
def test_what_is_no_assignment_is_not_repeated(option: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set: expected PATH=VALUE, ") as raised:
        parse_option(option)
    assert "hunter2" not in str(raised.value)


def test_an_override_does_not_print_its_value() -> None:
    assert "hunter2" not in repr(parse_option("a=hunter2"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2s", "2s"),
        ("5", 5),
        ("true", True),
        ("", None),
        ("a: #b", "a: #b"),
        ("*x", "*x"),
        (" x ", " x "),
        ('"5"', "5"),
        ("[::1]:1080", "[::1]:1080"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
        ("{a: b}", {"a": "b"}),
    ],
)
def test_values(text: str, value: object) -> None:
    assert laid(f"x-a={text}").data["x-a"] == value


@pytest.mark.parametrize("text", ["[a", "{a: b", "'a", "[a]\nb: c", "[*a]", "[!!python/none x]", "\x1b"])
def test_values_that_are_none_name_their_origin_and_are_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        laid(f"x-a={text}", "version=1")
    assert str(raised.value).startswith("--set x-a: ")
    assert text not in str(raised.value)


def test_flags_go_over_the_environment_and_that_over_the_file() -> None:
    log = "{level: debug, format: json}"
    base = document(TEXT + f"log: {log}")
    both = [*from_environment({"OUTLINE_LB__LOG__LEVEL": "info", "OUTLINE_LB__LOG__FORMAT": "console", "HOME": "/"}), parse_option("log.level=error")]
    found = build_settings(overlay(base, [*both, parse_option("upstreams.server-1.secret=x")]), Menagerie()).log
    assert (found.level, found.format) == ("error", "console")
    assert base.data["log"] == {"level": "debug", "format": "json"}


@pytest.mark.parametrize("name", ["SERVER_1", "server_1", "server-1", "Server.1"])
def test_names_of_variables_find_keys_however_they_are_spelt(name: str) -> None:
    data = laid(**{f"OUTLINE_LB__UPSTREAMS__{name}__SECRET": "x"}).data
    assert data["upstreams"] == {"server-1": {"tcp": "wss://a", "secret": "x"}}


def test_the_exact_name_wins_and_two_alike_are_an_error() -> None:
    base = document("a_b: 1\na-b: 2\nA-B: 3")
    assert overlay(base, from_environment({"OUTLINE_LB__a-b": "9"})).data == {"a_b": 1, "a-b": 9, "A-B": 3}
    with pytest.raises(ConfigError, match=r"^OUTLINE_LB__A_B: the configuration has a_b and a-b and A-B: say which with --set$"):
        overlay(base, from_environment({"OUTLINE_LB__A_B": "9"}))


def test_new_keys_of_variables_are_lower_case_and_outer_ones_come_first() -> None:
    data = laid(OUTLINE_LB__LOG__LEVEL="debug", OUTLINE_LB__LOG="{level: error, format: json}").data
    assert data["log"] == {"level": "debug", "format": "json"}


def test_what_is_around_a_value_is_made() -> None:
    data = laid("x-new.a.b=1", "x-nothing.c=2", "pools.main.health.interval=2s").data
    assert (data["x-new"], data["x-nothing"]) == ({"a": {"b": 1}}, {"c": 2})
    assert data["pools"]["main"]["health"] == {"interval": "2s"}


def test_items_of_lists_have_numbers() -> None:
    probes = build_settings(laid("pools.main.probes.0.count=7", "upstreams.server-1.secret=x"), Menagerie()).pools["main"].probes
    assert [(probe.type, probe.options) for probe in probes] == [("ping", {"count": 7}), ("handshake", {})]


def test_short_forms_are_opened() -> None:
    options = ["pools.main.policy.type=fastest", "pools.main.policy.sticky_ttl=7s", "pools.main.upstreams.0.weight=3", "upstreams.server-1.secret=x"]
    main = build_settings(laid(*options), Menagerie()).pools["main"]
    assert (main.policy.type, main.policy.options, main.members) == ("fastest", {"sticky_ttl": "7s"}, (MemberSettings("server-1", 3.0),))


@pytest.mark.parametrize("before", ["x", "{env: NOWHERE}", "{file: nowhere}", "{}"])
def test_another_source_of_a_secret_takes_the_place_of_the_first(before: str) -> None:
    data = laid(f"upstreams.server-1.secret={before}", "upstreams.server-1.secret.file=here").data
    assert data["upstreams"]["server-1"]["secret"] == {"file": "here"}


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("x-number.a=1", "--set x-number.a: /x-number is a single value: nothing can be set inside it"),
        ("pools.main.probes.2=ping", "--set pools.main.probes.2: /pools/main/probes is a list: expected a number below 2 instead of 2"),
        ("pools.main.probes.-1=ping", "--set pools.main.probes.-1: /pools/main/probes is a list: expected a number below 2 instead of -1"),
        (
            "pools.main.probes.x.count=1",
            "--set pools.main.probes.x.count: /pools/main/probes is a list: expected a number below 2 instead of x",
        ),
        ("/a//b=1", "--set /a//b: a path has 1 to 64 keys, each printable and of 1 to 128 characters"),
        (".".join("a" * 65) + "=1", f"--set {'.'.join('a' * 65)}: a path has 1 to 64 keys, each printable and of 1 to 128 characters"),
    ],
)
def test_paths_that_lead_nowhere(option: str, problem: str) -> None:
    assert problems(option) == [problem]


def test_all_of_them_are_told_at_once() -> None:
    assert len(problems("x-number.a=1", "x-b=[", OUTLINE_LB__A____B="1")) == 3


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("pools.main.health.intervall=1s", "/pools/main/health/intervall: unknown key intervall; did you mean interval?"),
        ("pools.main.health={interval: soon}", "/pools/main/health/interval: expected a duration such as 20ms"),
        ("frontends.local.lisen=x", "/frontends/local/lisen: unknown key lisen; did you mean listen?"),
        ("frontends.new.listen=x", "/frontends/new: type is missing: expected a name (letters, digits, . _ -)"),
        (
            "upstreams.server-1.secret=5",
            "/upstreams/server-1/secret: expected a secret: text, {env: NAME} or {file: PATH}, found a number (put it in quotes)",
        ),
    ],
)
def test_problems_of_a_value_name_its_origin(option: str, problem: str) -> None:
    assert f"--set {option.partition('=')[0]}: {problem}" in problems(option)
    variable = "OUTLINE_LB__" + option.partition("=")[0].upper().replace(".", "__").replace("-", "_")
    assert f"{variable}: {problem}" in problems(**{variable: option.partition("=")[2]})


def test_problems_beside_a_value_keep_their_line() -> None:
    (found,) = problems("upstreams.server-1.weight=2")
    assert found == "conf.yaml:6:39: /upstreams/server-1/secret/env: the environment variable of this name is not set, or empty"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_option_is_an_override_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_option(text).path
    with contextlib.suppress(ConfigError):
        assert overlay(document(TEXT), [Override("X", tuple(text.split(".")), text, loose=True)]).origins


def test_an_origin_can_be_printed() -> None:
    assert parse_option("/a\x1b[2J\n=1").origin.isprintable()
