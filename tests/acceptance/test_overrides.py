"""Values of the command line and the environment go over those of the file, in the program as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from client import connect
from conftest import StartProgram, free_port

from outline_lb.base.address import Address

CONFIG = {
    "version": 1,
    "frontends": {"local-one": {"type": "socks5", "listen": "127.0.0.1:1"}},
    "upstreams": {"internet": {"transport": "direct"}},
    "log": {"format": "console"},
}


async def test_flags_go_over_the_environment_and_that_over_the_file(start: StartProgram, origin: Address) -> None:
    variables = {
        "OUTLINE_LB__FRONTENDS__LOCAL_ONE__LISTEN": "127.0.0.1:2",
        "OUTLINE_LB__FRONTENDS__LOCAL_ONE__USERS__ANNA": "password",
        "OUTLINE_LB__UPSTREAMS__INTERNET__TRANSPORT__CONNECT_TIMEOUT": "7s",
    }
    port = free_port()
    program = await start("client", CONFIG, "--set", f"frontends.local-one.listen=127.0.0.1:{port}", environment=variables)
    assert program.address == Address("127.0.0.1", port)
    connection = await connect(program.address, origin, ("anna", "password"))
    connection.writer.write(b"e123")
    assert await connection.reader.readexactly(3) == b"123"
    connection.close()


@pytest.mark.parametrize("command", ["run", "check"])
def test_what_is_wrong_names_its_origin_instead_of_a_line(command: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nfrontends: {local: {type: socks5}}\nupstreams: {internet: {transport: direct}}\nlog: {level: loud}\n")
    arguments = [*(["-c", str(file)] if command == "run" else [str(file)]), "--set", "pools.main.health.intervall=2s", "--set", "log.format=hunter2"]
    environment = {**os.environ, "OUTLINE_LB__POOLS__MAIN__POLICY": "{type: fastest, min_swich: 1s}"}
    ended = subprocess.run([sys.executable, "-m", "outline_lb", command, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2
    assert sorted(ended.stderr.splitlines()) == sorted(
        [
            "outline-lb: --set log.format: /log/format: expected auto, console or json",
            "outline-lb: --set pools.main.health.intervall: /pools/main/health/intervall: unknown key intervall; did you mean interval?",
            "outline-lb: OUTLINE_LB__POOLS__MAIN__POLICY: /pools/main/policy/min_swich: unknown key min_swich; did you mean min_switch?",
            f"outline-lb: {file}:4:7: /log/level: expected debug, info, warning or error",
        ]
    )


@pytest.mark.parametrize("option", ["hunter2", "upstreams.a.secret:hunter2", "upstreams.a.secret={hunter2"])
def test_an_option_that_is_none_is_not_repeated(option: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nfrontends: {local: {type: socks5}}\nupstreams: {internet: {transport: direct}}\n")
    command = [sys.executable, "-m", "outline_lb", "check", str(file), "--set", option]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("outline-lb: --set")
    assert "hunter2" not in ended.stderr
