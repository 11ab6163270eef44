"""Secrets are written nowhere: the program runs, fails and explains at its most talkative, and all that it produced is searched."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from client import SocksRefusedError, connect
from conftest import StartProgram, TlsFiles
from leaks import leaks, secrets_of

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

MARK = "S3CR3T~xyz"
"""In every secret."""
KEY, OTHER_KEY, PATH, OTHER_PATH, PASSWORD, HEADER = (f"{MARK}+{name}=" for name in ("key", "key2", "path", "path2", "password", "header"))


def leaks_of_mark(produced: bytes) -> list[bytes]:
    """Return the lines in which a secret stands."""
    return leaks(produced, [MARK])


@pytest.mark.parametrize(
    "line",
    [
        KEY.encode(),
        b"path=" + quote(PATH, safe="").encode(),
        PASSWORD.encode().hex().upper().encode(),
        *(base64.b64encode(b"user:passwd"[:length] + PASSWORD.encode()) for length in range(6)),
    ],
)
def test_the_search_would_find_one(line: bytes) -> None:
    assert leaks_of_mark(b"first\n" + b"x " + line + b" y\nlast") == [b"x " + line + b" y"]


def test_what_every_test_that_starts_a_program_looks_for() -> None:
    config = {
        "frontends": {
            "in": {"type": "socks5", "users": {"ann": "password-1"}},
            "server": {"listen": [{"path": "/hidden"}], "keys": {"u": {"secret": "Secret0"}}},
        },
        "upstreams": {"one": {"tcp": "wss://localhost:1/hidden/tcp", "secret": "short"}, "two": {"tcp": "tcp://localhost:1"}},
    }
    assert set(secrets_of(config)) == {"password-1", "/hidden", "Secret0", "/hidden/tcp"}


def run(folder: Path, *arguments: str, **variables: str) -> bytes:
    """Run the program to its end; return all that it printed."""
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "outline_lb", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, **variables}, timeout=30, check=False)
    return done.stdout + done.stderr


def command_line(program: Program) -> bytes:
    """Return what everybody can see of a process."""
    return subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(program.process.pid)], capture_output=True, check=True).stdout


def server_config(tls: TlsFiles) -> dict[str, Any]:
    """Return the configuration of a server that knows the secrets."""
    files = {"certificate": str(tls.certificate), "key": str(tls.key)}
    listener = {"type": "ws-h1", "address": "127.0.0.1:0", "path": f"/{PATH}", "tls": files}
    server = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": KEY}}, "allow_private_targets": True}
    return {"version": 1, "frontends": {"server": server}, "upstreams": {"internet": {"transport": "direct"}}}


def client_config(server: Address, tls: TlsFiles, key: str = KEY, path: str = PATH) -> dict[str, Any]:
    """Return the configuration of a client."""
    transport = {"type": "ws-h1", "tls": {"ca": str(tls.ca)}, "headers": {"X-Token": HEADER}}
    upstream = {"tcp": f"wss://localhost:{server.port}/{path}", "transport": transport, "secret": key}
    frontend = {"type": "socks5", "listen": "127.0.0.1:0", "users": {"anna": PASSWORD}}
    return {
        "version": 1,
        "frontends": {"local": frontend},
        "pools": {"main": {"health": {"interval": "500ms"}, "connect_timeout": "2s"}},
        "upstreams": {"one": upstream},
    }


async def test_nothing_that_runs_writes_a_secret(start: StartProgram, tls_files: TlsFiles, origin: Address, tmp_path: Path) -> None:
    server = await start("server", server_config(tls_files))
    good = await start("good", client_config(server.address, tls_files))
    wrong_key = await start("wrong-key", client_config(server.address, tls_files, key=OTHER_KEY))
    wrong_path = await start("wrong-path", client_config(server.address, tls_files, path=OTHER_PATH))
    programs = (server, good, wrong_key, wrong_path)

    connection = await connect(good.address, origin, ("anna", PASSWORD))
    connection.writer.write(b"e123")
    assert await connection.reader.readexactly(3) == b"123"
    for program in (wrong_key, wrong_path):  # a wrong key shows only after the first bytes
        try:
            refused = await connect(program.address, origin, ("anna", PASSWORD))
        except SocksRefusedError:
            continue
        refused.writer.write(b"e123")
        with contextlib.suppress(TimeoutError, ConnectionResetError):  # servers let those wait who do not know the key
            assert await asyncio.wait_for(refused.reader.read(), 0.5) == b""
        refused.close()
    with pytest.raises(AssertionError):  # the password is refused
        await connect(good.address, origin, ("anna", PASSWORD + "x"))
    await wrong_path.logged("upstream down")

    assert [leaks_of_mark(command_line(program)) for program in programs] == [[]] * len(programs)
    broken = client_config(server.address, tls_files)
    broken["upstreams"]["one"] |= {"secret": [KEY], "tcp": f"wss://localhost:x/{PATH}", "weight": KEY}
    (tmp_path / "good.yaml").write_text(json.dumps(broken))
    good.process.send_signal(signal.SIGHUP)
    await good.logged("reload refused")
    connection.close()
    for program in programs:
        assert await asyncio.wait_for(program.stop(), 20) == 0
        log = program.log.read_bytes()
        assert len(log.splitlines()) > 3
        assert leaks_of_mark(log) == []


UPSTREAM = "version: 1\nfrontends: {local: {type: socks5}}\nupstreams:\n  one:\n    tcp: wss://one.example/x\n    "
FRONTEND = "version: 1\nupstreams: {one: {}}\nfrontends:\n  local:\n    type: socks5\n    "
SERVER = FRONTEND.replace("socks5", "outline-server")
MISPLACED = [
    UPSTREAM + f"secret: [{KEY}]",
    UPSTREAM + f"secret: {{{KEY}}}",
    UPSTREAM + f"secret: {{{KEY}: }}",
    UPSTREAM + f"secret: {{env: {KEY}}}",
    UPSTREAM + "secret: {env: S3CR3T_xyz}",
    UPSTREAM + f"secret: {{env: X, file: {KEY}}}",
    UPSTREAM + f"secret: {{envv: {KEY}}}",
    UPSTREAM + f"secret {KEY}",
    UPSTREAM + f"secret: {KEY}: x",
    UPSTREAM + f"secret: '{KEY}",
    UPSTREAM + f"secret: !{KEY}",
    UPSTREAM + f"secret: *{KEY}",
    UPSTREAM + f'secret: "{KEY}\\q"',
    UPSTREAM + f"secret: {KEY}\n\tcipher: x",
    UPSTREAM + f"secret: {KEY}\n    secret: {KEY}",
    UPSTREAM + f"secret: {KEY}\n    sekret: {KEY}",
    UPSTREAM + f"secret: {KEY}\n    weight: {KEY}\n    prefix: [{KEY}]\n    half_close: {KEY}\n    via: {KEY}",
    UPSTREAM + f"via: {{source: {KEY}, interface: '{KEY}{KEY}', fwmark: {KEY}}}",
    UPSTREAM + f"secret: {KEY}\n    prefix: {KEY}{KEY}{KEY}{KEY}{KEY}",
    UPSTREAM + f"transport: {{type: ws-h1, headers: {{X: [{KEY}]}}, connect_timeout: {KEY}, tls: {{pins: [{KEY}], insecure: {KEY}}}}}",
    UPSTREAM + f'transport: {{type: ws-h1, headers: {{X: "{KEY}\\n{KEY}", Host: {KEY}}}}}',
    UPSTREAM + f"transport: {{type: ws-h1, headers: {KEY}}}",
    UPSTREAM.replace("wss://one.example/x", KEY),
    UPSTREAM.replace("wss://one.example/x", f"wss://one.example:{KEY}/x"),
    UPSTREAM.replace("wss://one.example/x", f"wss://user:{KEY}@one.example/x"),
    UPSTREAM.replace("wss://one.example/x", f"wss://one.example/{KEY}#x"),
    UPSTREAM.replace("wss://one.example/x", f"https://one.example/{KEY}"),
    UPSTREAM.replace("wss://one.example/x", f'"wss://one.example/{KEY} x"'),
    UPSTREAM.replace("wss://one.example/x", f"wss:///{KEY}"),
    FRONTEND + f"users: {{anna: [{KEY}]}}",
    FRONTEND + f"users: {KEY}",
    FRONTEND + f"users: [{KEY}]",
    FRONTEND + f"users: {{anna: {{{KEY}: x}}}}",
    FRONTEND + f"users: {{anna: {KEY * 20}}}",
    FRONTEND + f"listen: {KEY}",
    SERVER + f"listen: [{{type: ws-h1, address: '127.0.0.1:1', path: {PATH}}}]\n    keys: {{a: {{secret: {KEY}}}}}",
    SERVER + f"listen: [{{type: ws-h1, address: '127.0.0.1:1', path: '/{PATH} x'}}]\n    keys: {{a: {{secret: {KEY}}}}}",
    SERVER + f"listen: [{{type: tcp, address: '127.0.0.1:1'}}]\n    keys: {{a: {{secret: {KEY}}}, b: {{secret: {KEY}}}}}",
    SERVER + f"listen: [{{type: tcp, address: '127.0.0.1:1'}}]\n    keys: {{a: {KEY}}}",
    f"version: {KEY}\nfrontends: {KEY}\nupstreams: [{KEY}]\npools: {KEY}\nlog: {{level: {KEY}}}\n",
    f"{KEY}",
    f"- {KEY}",
]


def test_no_explanation_repeats_a_secret_that_stands_in_the_wrong_place(tmp_path: Path) -> None:
    files = {f"{index}.yaml": text for index, text in enumerate(MISPLACED)}
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    produced = run(tmp_path, "check", *files).replace(b"S3CR3T_xyz", MARK.encode())
    assert [text for name, text in files.items() if f"outline-lb: {name}:".encode() not in produced] == []
    assert leaks_of_mark(produced) == []


@pytest.mark.skipif(os.name == "nt", reason="files have other modes there")
def test_a_file_with_secrets_that_others_can_read_is_warned_of_once_at_the_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "config.yaml").write_text(UPSTREAM + f"secret: {KEY}\n")
        (tmp_path / "config.yaml").chmod(0o644)
        produced = run(tmp_path, "run", "-c", "config.yaml", "--log-format", "json", "--set", f"frontends.local.listen={listen}")
    (warning,) = [json.loads(line) for line in produced.splitlines() if b"configuration warning" in line]
    assert warning["problem"].startswith("config.yaml:5:5: /upstreams/one/tcp: a secret stands here, and other users can read this file: chmod 600 ")
    assert b"Address already in use" in produced


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--help"], {}),
        (["run", "--help"], {}),
        (["check", "--help"], {}),
        (["schema"], {}),
        (["run", "-c", "config.yaml", "--log-level", "debug"], {}),
        (["run", "-c", "config.yaml"], {"OUTLINE_LB__UPSTREAMS__ONE__SEKRET": KEY, "OUTLINE_LB__UPSTREAMS__ONE__WEIGHT": KEY}),
        (["check", "config.yaml"], {"OUTLINE_LB__UPSTREAMS__ONE__SECRET": "{" + KEY, "OUTLINE_LB__UPSTREAMS__ONE__TCP": KEY}),
        (["check", "config.yaml"], {"OUTLINE_LB__UPSTREAMS__ONE__SECRET": "[" + KEY + "]", "OUTLINE_LB__LOG": KEY}),
        (["check", "config.yaml", "--set", f"upstreams.one.secret:{KEY}"], {}),
        (["check", "config.yaml", "--set", f"upstreams.one.weight={KEY}"], {}),
    ],
)
def test_no_command_repeats_a_secret(arguments: list[str], variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(UPSTREAM + f"secret: {KEY}\n    transport: {{type: ws-h1, tls: {{ca: nowhere.pem}}}}\n")
    environment = {"OUTLINE_LB__UPSTREAMS__ONE__TRANSPORT__HEADERS__TOKEN": HEADER, **variables}
    produced = run(tmp_path, *arguments, **environment)
    assert produced
    assert leaks_of_mark(produced) == []
