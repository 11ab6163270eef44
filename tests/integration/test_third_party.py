"""The example of a distribution by somebody else: built, installed outside of this checkout, tested there, and used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from client import connect
from conftest import StartProgram

from outline_lb.base.address import Address

EXAMPLE = Path(__file__).resolve().parents[2] / "contrib" / "third-party-example"


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a module of Python to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of a copy, and return the folder that it is installed into."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels", "./source", folder=folder)
    [wheel] = (folder / "wheels").iterdir()
    run(*pip, "install", "--no-index", "--no-deps", "--target", "site", str(wheel), folder=folder)
    return folder / "site"


def test_its_own_tests_pass_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE / "pyproject.toml", tmp_path)
    printed = run("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, PYTHONPATH=str(installed))
    assert " passed" in printed
    assert " skipped" not in printed


def test_it_is_listed_and_shown(installed: Path, tmp_path: Path) -> None:
    listed = run("outline_lb", "plugins", "list", folder=tmp_path, PYTHONPATH=str(installed))
    rows = [line.split() for line in listed.splitlines()]
    assert ["policy", "cheapest", "outline-lb-example", "1.0.0"] in rows
    assert ["observer", "meter", "outline-lb-example", "1.0.0"] in rows
    shown = run("outline_lb", "plugins", "show", "cheapest", folder=tmp_path, PYTHONPATH=str(installed))
    assert "  prices  a mapping, each name to a number, at least 0; default: {}\n" in shown
    assert "          server-2: 0.09\n" in shown


async def test_the_policy_decides_and_the_observer_counts(
    installed: Path, start: StartProgram, origin: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "meter.jsonl"
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("OUTLINE_LB_METER_FILE", str(file))
    config = {
        "version": 1,
        "frontends": {
            "local": {"type": "socks5", "listen": "127.0.0.1:0", "to": "main"},
        },
        "pools": {"main": {"policy": {"type": "cheapest", "prices": {"dear": 0.2, "cheap": 0.1}, "other_price": 0.3}}},
        "upstreams": {name: {"transport": "direct"} for name in ("dear", "cheap", "unlisted")},
    }
    program = await start("client", config, "--plugins", "cheapest,meter")
    for count in (1, 2):
        connection = await connect(program.address, origin)
        connection.writer.write(b"D" + (1000).to_bytes(8, "big"))
        assert (await connection.read_digest())[0] == 1000
        connection.close()
        await connection.writer.wait_closed()
        await program.logged("flow closed", flow=count)
    assert await program.stop() == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["upstream"], line["flows"], line["sent"], line["received"]) for line in lines] == [("cheap", 1, 9, 1000), ("cheap", 2, 18, 2000)]
    assert {line["upstream"] for line in program.events("flow opened")} == {"cheap"}


async def test_named_alone_the_policy_is_that_of_every_pool(
    installed: Path, start: StartProgram, origin: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    config = {
        "version": 1,
        "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}},
        "upstreams": {"gone": {"tcp": "tcp://127.0.0.1:1", "secret": "SECRET"}, "internet": {"transport": "direct"}},
    }
    program = await start("client", config, "--plugins", "cheapest,meter")
    connection = await connect(program.address, origin)
    connection.writer.write(b"e123")
    assert await connection.reader.readexactly(3) == b"123"
    connection.writer.write_eof()
    assert await connection.reader.read() == b""
    connection.close()
    line = await program.logged("metered", upstream="internet")  # without a file, to the log
    assert (line["logger"], line["sent"], line["received"]) == ("meter", 4, 3)
