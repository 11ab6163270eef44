"""Starting, and failing to start: exit codes and what people read then."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from client import connect
from conftest import StartProgram

from outline_lb.base.address import Address

DIRECT = """
version: 1
frontends: {local: {type: socks5, listen: "127.0.0.1:%d"}}
upstreams: {internet: {transport: direct}}
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run outline-lb to its end, without a configuration anywhere else."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "nothing")}
    command = [sys.executable, "-m", "outline_lb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=30, check=False)


def write(folder: Path, text: str) -> str:
    """Write a configuration file; return its path."""
    file = folder / "config.yaml"
    file.write_text(text)
    return str(file)


def test_without_any_configuration(tmp_path: Path) -> None:
    ended = run(folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("outline-lb: no configuration: name one with -c FILE, or write one of outline-lb.yaml, ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_missing_file(tmp_path: Path) -> None:
    ended = run("-c", "nowhere.yaml", folder=tmp_path)
    assert ended.returncode == 1
    assert "nowhere.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_all_errors_at_once_with_their_places(tmp_path: Path) -> None:
    text = """version: 1
frontends:
  local: {type: socks5, listne: "127.0.0.1:1080"}
pools:
  main: {health: {interval: 5}}
upstreams:
  one: {tcp: "https://example.com/SECRET_PATH", secret: SECRET}
"""
    ended = run("-c", write(tmp_path, text), folder=tmp_path)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert len(lines) == 3
    assert "config.yaml:3:" in lines[0]
    assert "/frontends/local" in lines[0]
    assert "listen" in lines[0]
    assert "config.yaml:5:" in lines[1]
    assert "/pools/main/health/interval" in lines[1]
    assert "config.yaml:7:" in lines[2]
    assert "/upstreams/one/tcp" in lines[2]
    assert "SECRET" not in ended.stderr


def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    by_name = run("--plugins", "ws-h9", "-c", write(tmp_path, DIRECT % 0), folder=tmp_path)
    by_config = run("-c", write(tmp_path, (DIRECT % 0).replace("direct", "carrier-pigeon")), folder=tmp_path)
    assert by_name.returncode == by_config.returncode == 2
    assert "ws-h9" in by_name.stderr
    assert "pip install" in by_config.stderr
    assert "config.yaml:4:" in by_config.stderr
    assert len(by_name.stderr.splitlines()) == len(by_config.stderr.splitlines()) == 1


def test_a_port_in_use_ends_the_start_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        began = time.monotonic()
        ended = run("-c", write(tmp_path, DIRECT % port), folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == f"outline-lb: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert time.monotonic() - began < 10


def test_an_address_that_this_machine_does_not_have(tmp_path: Path) -> None:
    ended = run("-c", write(tmp_path, (DIRECT % 1080).replace('"127.0.0.1:1080"', '"192.0.2.1:1080", allow_open: true')), folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("outline-lb: cannot listen on 192.0.2.1:1080: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_proxy_open_to_everybody_has_to_be_asked_for(tmp_path: Path) -> None:
    text = (DIRECT % 0).replace("127.0.0.1", "0.0.0.0")
    ended = run("-c", write(tmp_path, text), folder=tmp_path)
    assert ended.returncode == 2
    assert "allow_open" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_exit_code_0_and_its_flows_with_a_reset(start: StartProgram, origin: Address, number: int) -> None:
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}
    config = {"version": 1, "drain_timeout": "0s", "frontends": frontends, "upstreams": {"internet": {"transport": "direct"}}}
    program = await start("client", config)
    connection = await connect(program.address, origin)
    connection.writer.write(b"e123")
    assert await connection.reader.readexactly(3) == b"123"
    program.process.send_signal(number)
    assert await asyncio.wait_for(program.process.wait(), 10) == 0
    with pytest.raises(ConnectionResetError):
        await connection.reader.read()
    connection.close()
    assert "Traceback" not in program.log.read_text()
