"""Plugins from outside: each way in which one can be wrong is one line, and what they are told happens in a real run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from client import connect
from conftest import StartProgram
from distributions import Site, plugin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

MARKER = "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n"
DIRECT: dict[str, Any] = {
    "version": 1,
    "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}},
    "upstreams": {"internet": {"transport": "direct"}},
}
ZEBRA = {"policies": ["zebra = zebra_plugin"]}
MEND = "mend it, or install another version of zoo"
REINSTALL = "reinstall zoo, or install another version of it"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a folder of distributions that programs see which this test starts."""
    site = Site(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    return site


def run(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run outline-lb to its end."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(site.folder / "nothing")}
    command = [sys.executable, "-m", "outline_lb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=site.folder, env=environment, timeout=30, check=False)


def refusal(site: Site, *names: str, config: object = DIRECT) -> str:
    """Start with these plugins; return the one line that this ends with."""
    file = site.folder / "config.yaml"
    file.write_text(json.dumps(config))
    ended = run(site, "run", "-c", str(file), *(["--plugins", ",".join(names)] if names else []))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("outline-lb: ")
    assert ended.stderr.endswith("\n")
    line = ended.stderr.removeprefix("outline-lb: ").removesuffix("\n")
    assert "\n" not in line
    return line


def broken(site: Site, source: str) -> str:
    """Start with a plugin of this source; return what is said about it."""
    site.install("zoo", ZEBRA, {"zebra_plugin": source}, "2.3")
    line = refusal(site, "zebra")
    assert line.startswith("policy-zebra (zoo 2.3)")
    return line.removeprefix("policy-zebra (zoo 2.3)")


def hooks(*sources: str) -> str:
    """Return the source of a plugin with these hooks."""
    return "\n".join([plugin(), *(f"@hookimpl\n{source}" for source in sources)])


def test_missing_by_name(site: Site) -> None:
    assert refusal(site, "policy-zebra") == "plugin policy-zebra is not installed: pip install outline-lb-policy-zebra"
    assert refusal(site, "zebra") == "plugin zebra is not installed: pip install outline-lb-KIND-zebra"


def test_missing_by_name_with_one_that_is_similar(site: Site) -> None:
    assert refusal(site, "policy-fasted") == (
        "plugin policy-fasted is not installed: pip install outline-lb-policy-fasted (similar, and installed: fastest)"
    )


def test_missing_for_a_type_of_the_configuration(site: Site) -> None:
    what = "/pools/main/policy: policy zebra is not installed: pip install outline-lb-policy-zebra"
    config = {**DIRECT, "pools": {"main": {"policy": "zebra"}}}
    assert re.fullmatch(rf"{site.folder}/config\.yaml:1:\d+: {what}", refusal(site, config=config))


def test_clash_of_two_distributions(site: Site) -> None:
    site.install("zoo", ZEBRA, {"zebra_plugin": plugin(policies="zebra")}, "2.3")
    site.install("pond", {"policies": ["zebra = pond_plugin"]}, {"pond_plugin": plugin(policies="zebra")})
    assert refusal(site, "zebra") == "policy zebra is offered by pond 1.0 and zoo 2.3: uninstall all but one"


def test_clash_of_kinds(site: Site) -> None:
    site.install("zoo", ZEBRA, {"zebra_plugin": plugin(policies="zebra")}, "2.3")
    site.install("pond", {"probes": ["zebra = pond_plugin"]}, {"pond_plugin": plugin(probes="zebra")})
    assert refusal(site, "zebra") == "plugin zebra is ambiguous: write policy-zebra (of zoo) or probe-zebra (of pond)"


def test_broken_import(site: Site) -> None:
    cause = "ModuleNotFoundError: No module named 'no_such_module'"
    assert broken(site, "import no_such_module") == f" cannot be imported: {cause}; {REINSTALL}"


def test_misspelt_hook(site: Site) -> None:
    line = broken(site, hooks("def outline_lb_polices(): return register('zebra')"))
    assert line == f": outline_lb_polices is no hook: did you mean outline_lb_policies?; {MEND}"


def test_wrong_arguments(site: Site) -> None:
    line = broken(site, hooks("def outline_lb_policies(): return register('zebra')", "def outline_lb_flow_opened(flow, stream): ..."))
    assert line == f": outline_lb_flow_opened has no argument stream (it has: flow, upstream); {MEND}"


def test_later_api(site: Site) -> None:
    line = broken(site, plugin(policies="zebra").replace("OUTLINE_LB_API = 1", "OUTLINE_LB_API = 2"))
    assert line == ": it is made for plugin API 2, this core has 1; upgrade outline-lb"


def test_earlier_api(site: Site) -> None:
    line = broken(site, plugin(policies="zebra").replace("OUTLINE_LB_API = 1", "OUTLINE_LB_API = 0"))
    assert line == ": it is made for plugin API 0, this core has 1; upgrade zoo"


def test_no_api(site: Site) -> None:
    line = broken(site, plugin(policies="zebra").replace("OUTLINE_LB_API = 1", ""))
    assert line == f": zebra_plugin does not say which plugin API it is made for, as in OUTLINE_LB_API = 1; {MEND}"


def test_duplicate_type(site: Site) -> None:
    line = broken(site, plugin(policies="zebra zebra"))
    assert line == f": it registers the policy zebra twice; {MEND}"


def test_registration_without_entry_point(site: Site) -> None:
    line = broken(site, plugin(policies="zebra heron"))
    assert line == f": it registers the policy heron, for which it has no entry point in outline_lb.policies; {MEND}"


def test_entry_point_without_registration(site: Site) -> None:
    line = broken(site, plugin(probes=""))
    assert line == f": its entry point names the policy zebra, which it does not register; {MEND}"


def test_no_hook_at_all(site: Site) -> None:
    assert broken(site, "OUTLINE_LB_API = 1") == f": zebra_plugin implements no hook: is @hookimpl missing?; {MEND}"


def test_hook_that_fails(site: Site) -> None:
    line = broken(site, hooks("def outline_lb_policies(): raise SystemExit('no\\nway')"))
    assert line == f": outline_lb_policies failed: SystemExit: no way; {MEND}"


def test_component_that_cannot_be_built(site: Site) -> None:
    source = plugin(policies="zebra").replace('return ("built", options, deps)', "return 1 / 0")
    site.install("zoo", ZEBRA, {"zebra_plugin": source}, "2.3")
    assert refusal(site, "zebra") == "policy zebra: it cannot be built: ZeroDivisionError: division by zero"


def test_what_is_installed_and_not_selected_is_never_imported(site: Site) -> None:
    entry_points = {"policies": ["dodo = dodo_plugin"], "observers": ["owl = dodo_plugin"]}
    site.install("zoo", entry_points, {"dodo_plugin": MARKER + "raise SystemExit('nobody asked for this plugin')"})
    file = site.folder / "config.yaml"
    file.write_text(json.dumps(DIRECT))
    listed = run(site, "plugins", "list")
    assert "dodo" in listed.stdout
    for arguments in (["check", str(file)], ["plugins", "list", "--json"], ["plugins", "show", "fastest"], ["--version"], ["--help"]):
        assert run(site, *arguments).returncode == 0
    assert not list(site.folder.glob("*.imported"))
    assert "nobody asked for this plugin" in refusal(site, "dodo")
    assert list(site.folder.glob("*.imported"))  # so it would have been seen


def test_show_of_a_broken_plugin_is_the_same_line(site: Site) -> None:
    site.install("zoo", ZEBRA, {"zebra_plugin": "import no_such_module"}, "2.3")
    ended = run(site, "plugins", "show", "zebra")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"outline-lb: {refusal(site, 'zebra')}\n"


OBSERVER = """
import json, time
from pathlib import Path

def write(*record):
    with Path(__file__).with_suffix(".jsonl").open("a") as file:
        file.write(json.dumps(record) + "\\n")
"""
"""A preface for observers: `write` adds a line to a file that the test reads."""


async def use(program: Program, origin: Address, flows: int) -> None:
    """Open flows one after the other, and use them."""
    for _ in range(flows):
        connection = await connect(program.address, origin)
        connection.writer.write(b"e12345")
        assert await connection.reader.readexactly(5) == b"12345"
        connection.writer.write_eof()
        assert await connection.reader.read() == b""
        connection.close()


async def written(site: Site, name: str, *wanted: str) -> list[Any]:
    """Return the records that an observer wrote, once each of these words is in one."""
    file = site.folder / f"{name}_plugin.jsonl"
    async with asyncio.timeout(10):
        while True:
            records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
            if all(any(word in record for record in records) for word in wanted):
                return records
            await asyncio.sleep(0.02)


async def test_an_observer_hears_of_flows_and_health(site: Site, start: StartProgram, origin: Address) -> None:
    source = hooks(
        "def outline_lb_flow_opened(flow, upstream): write('opened', flow.frontend, str(flow.target), upstream)",
        "def outline_lb_flow_closed(upstream, sent, received, error): write('closed', upstream, sent, received, error)",
        "def outline_lb_health_changed(network, upstream, up): write('health', upstream, network.value, up)",
    )
    site.install("forest", {"observers": "owl = owl_plugin"}, {"owl_plugin": OBSERVER + source})
    server = {"tcp": "tcp://127.0.0.1:1", "secret": "SECRET"}  # where nobody listens
    pools = {"main": {"upstreams": ["internet"]}, "far": {"upstreams": ["gone"], "health": {"interval": "1s"}}}
    config = {**DIRECT, "upstreams": {**DIRECT["upstreams"], "gone": server}, "pools": pools}
    program = await start("client", config, "--plugins", "owl")
    await use(program, origin, 1)
    heard = await written(site, "owl", "closed", "gone")
    flows = [record for record in heard if record[0] != "health"]
    assert flows == [["opened", "local", str(origin), "internet"], ["closed", "internet", 6, 5, None]]
    assert [record for record in heard if "gone" in record] == [["health", "gone", "tcp", False]]


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
async def test_an_observer_that_fails_is_muted_and_harms_nobody(error: str, site: Site, start: StartProgram, origin: Address) -> None:
    bad = hooks(f"def outline_lb_flow_opened():\n    write('told')\n    raise {error}('odd')")
    good = hooks("def outline_lb_flow_opened(): write('told')")
    site.install("swamp", {"observers": "toad = toad_plugin"}, {"toad_plugin": OBSERVER + bad}, "0.9")
    site.install("forest", {"observers": "owl = owl_plugin"}, {"owl_plugin": OBSERVER + good})
    program = await start("client", DIRECT, "--plugins", "toad,owl")
    await use(program, origin, 7)
    failed, muted = program.events("plugin failed"), program.events("plugin failed, and is not told any more")
    assert [line["failures"] for line in failed + muted] == [1, 2, 3, 4, 5]
    assert {(line["plugin"], line["hook"], line["error"]) for line in failed + muted} == {
        ("observer-toad (swamp 0.9)", "outline_lb_flow_opened", f"{error}: odd")
    }
    assert [len(await written(site, name, "told")) for name in ("toad", "owl")] == [5, 7]
    assert await program.stop() == 0


async def test_an_observer_that_blocks_is_reported(site: Site, start: StartProgram, origin: Address) -> None:
    site.install("zoo", {"observers": "sloth = sloth_plugin"}, {"sloth_plugin": OBSERVER + hooks("def outline_lb_flow_opened(): time.sleep(0.08)")})
    program = await start("client", DIRECT, "--plugins", "sloth")
    await use(program, origin, 3)
    [line] = program.events("plugin held everything up")
    assert (line["level"], line["plugin"], line["hook"], line["times"]) == ("warning", "observer-sloth (zoo 1.0)", "outline_lb_flow_opened", 1)
    assert 80 <= float(line["took"].removesuffix("ms")) < 1000


async def test_an_observer_hears_of_reloads_as_long_as_the_configuration_names_it(site: Site, start: StartProgram) -> None:
    source = hooks("def outline_lb_config_reloaded(changes): write('reloaded', *changes)")
    site.install("forest", {"observers": "owl = owl_plugin"}, {"owl_plugin": OBSERVER + source})
    spare = {"upstreams": {**DIRECT["upstreams"], "spare": {"transport": "direct"}}}
    program = await start("client", {**DIRECT, "plugins": ["owl"]})
    reload(program, {**DIRECT, **spare, "plugins": ["owl"]})
    await program.logged("reloaded", added=["/upstreams/spare"])
    reload(program, {**DIRECT, **spare})
    await program.logged("reloaded", changed=["/plugins"])
    assert await written(site, "owl", "/upstreams/spare") == [["reloaded", "/upstreams/spare", "/pools/main"]]


def reload(program: Program, config: object) -> None:
    """Exchange the configuration in one step, and tell the program."""
    new = program.log.with_suffix(".new")
    new.write_text(json.dumps(config))
    new.replace(program.log.with_suffix(".yaml"))
    program.process.send_signal(signal.SIGHUP)
