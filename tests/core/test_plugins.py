from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from distributions import Site, plugin

from outline_lb.cli import main

MARKER = "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n"
OWL = "@hookimpl\ndef outline_lb_flow_opened(flow): ...\n"
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["stripes"],
    "properties": {
        "stripes": {"type": "integer", "minimum": 1, "description": "How many it has"},
        "mood": {"enum": ["calm", "wild"], "default": "calm", "description": "How it feels: " + "word " * 30},
    },
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def zoo(site: Site) -> Site:
    entry_points = {"policies": ["zebra = zebra_plugin", "heron = zebra_plugin"], "observers": "owl = owl_plugin", "probes": "newt = newt_plugin"}
    zebra = plugin(policies="zebra heron").replace('{"type": "object", "additionalProperties": False}', repr(SCHEMA))
    modules = {"zebra_plugin": zebra, "owl_plugin": plugin() + "\n" + OWL, "newt_plugin": plugin(probes="newt")}
    site.install("zoo", entry_points, {name: source + "\n" + MARKER for name, source in modules.items()}, version="2.3")
    return site


def imported(site: Site) -> list[str]:
    return sorted(file.stem for file in site.folder.glob("*.imported"))


def test_list_shows_all_and_imports_none(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["kind", "type", "distribution", "version"]
    assert [row for row in rows if row[2] == "zoo"] == [
        ["observer", "owl", "zoo", "2.3"],
        ["policy", "heron", "zoo", "2.3"],
        ["policy", "zebra", "zoo", "2.3"],
        ["probe", "newt", "zoo", "2.3"],
    ]
    assert ["policy", "fastest", "outline-lb-policy-fastest"] in [row[:3] for row in rows]
    assert not imported(zoo)


def test_list_as_json_says_the_same(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    _, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert main(["plugins", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"kind": "probe", "type": "newt", "distribution": "zoo", "version": "2.3"} in found
    assert [list(entry.values()) for entry in found] == rows


def test_columns_stand_below_each_other(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plugins", "list"])
    lines = capsys.readouterr().out.splitlines()
    start = lines[0].index("distribution")
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines)


def test_without_any_plugin_the_list_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("outline_lb.plugin.discovery.installed", list)
    assert main(["plugins", "list"]) == 0
    assert capsys.readouterr() == ("", "outline-lb: no plugin is installed: pip install 'outline-lb[client]'\n")


def test_show_tells_all_about_a_type_and_imports_just_its_plugin(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "zebra"]) == 0
    assert imported(zoo) == ["zebra_plugin"]
    assert capsys.readouterr().out == (
        "policy zebra\n"
        "  distribution  zoo 2.3\n"
        "  module        zebra_plugin\n"
        "  also offers   policy heron\n"
        "\n"
        "Options\n"
        "  stripes  a whole number, at least 1; required\n"
        "      How many it has\n"
        "  mood  calm or wild; default: calm\n"
        f"      How it feels:{' word' * 12}\n"
        f"     {' word' * 15}\n"
        f"     {' word' * 3}\n"
        "\n"
        "Example\n"
        "  pools:\n"
        "    main:\n"
        "      policy:\n"
        "        type: zebra\n"
        "        stripes: 1\n"
        "        mood: calm\n"
    )


def test_show_of_a_type_without_options(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "probe-newt"]) == 0
    *_, options, _, example, pools, main_pool, probes, newt = capsys.readouterr().out.splitlines()
    assert (options, example) == ("It has no options.", "Example")
    assert (pools, main_pool, probes, newt) == ("  pools:", "    main:", "      probes:", "      - newt")


def test_show_of_an_observer_says_how_to_use_it(zoo: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "owl"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "observer owl",
        "  distribution  zoo 2.3",
        "  module        owl_plugin",
        "",
        "It is told what happens, and has no options. To use it:",
        "",
        "  plugins:",
        "  - observer-owl",
    ]
    assert imported(zoo) == ["owl_plugin"]


def test_show_of_two_halves_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "ws-h1"]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line and not line.startswith(" ")] == [
        *("listener ws-h1", "Options", "Example"),
        *("transport ws-h1", "Options", "Example"),
    ]
    assert "  URLs          ws://, wss://\n" in text
    assert "also offers" not in text


@pytest.mark.parametrize("name", ["dodo", "probe-dodo"])
def test_show_of_what_is_not_there_is_an_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", name]) == 2
    assert capsys.readouterr().err.startswith(f"outline-lb: plugin {name} is not installed: pip install outline-lb-")


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("arguments", [["list"], ["show", "fastest"]])
def test_there_is_colour_on_a_terminal_only_and_only_if_wanted(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outputs = []
    for stream, variable in ((Terminal(), ""), (io.StringIO(), ""), (Terminal(), "NO_COLOR")):
        if variable:
            monkeypatch.setenv(variable, "1")
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["plugins", *arguments]) == 0
        outputs.append(stream.getvalue())
    assert "\x1b[1m" in outputs[0]
    assert outputs[1] == outputs[2] == outputs[0].replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "show"], ["plugins", "burn"]])
def test_what_to_do_has_to_be_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: outline-lb plugins" in capsys.readouterr().err
