"""What ``outline-lb keys`` prints is what clients need: other programs, and our own, take it from its output alone."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import StartProgram, free_port
from interop import ways
from interop.peer import PATH, Peers, TheirClient, plain_listener, websocket_listener
from interop.shadowsocks_libev import SS_LOCAL
from interop.v2ray_peers import XRAY_CLIENT
from ruamel.yaml import YAML

from outline_lb.base.address import Address

CIPHER = "aes-256-gcm"
SECRET = "pass: word/+'ä\""


def server_config(listener: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a server with a fixed port: nobody could print a key of any other."""
    frontend = {
        "type": "outline-server",
        "listen": [{**listener, "address": f"127.0.0.1:{free_port()}"}],
        "keys": {"other": {"secret": "Secret1"}, "ann b": {"cipher": CIPHER, "secret": SECRET}},
        "allow_private_targets": True,
    }
    return {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}}


async def printed(file: Path, host: str) -> str:
    """Return what the command prints for one user."""
    command = (sys.executable, "-m", "outline_lb", "keys", "-c", str(file), "--host", host, "--user", "ann b")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


def upstream_in(text: str) -> dict[str, Any]:
    """Return the upstream that stands in the output."""
    (line,) = (line for line in text.splitlines() if line.startswith("#   "))
    upstreams: dict[str, Any] = YAML(typ="safe").load(line.removeprefix("#   "))
    return upstreams


async def fetch(proxy: Address, origin: Address) -> None:
    """See that a way is open."""
    await ways.many_flows(proxy, origin, 3)


async def test_ss_local_takes_an_ss_url(start: StartProgram, peers: Peers, tmp_path: Path, origin: Address) -> None:
    await start("server", server_config(plain_listener(peers.tls)))
    (url,) = (line for line in (await printed(tmp_path / "server.yaml", "127.0.0.1")).splitlines() if line.startswith("ss://"))
    user_info, _, rest = url.removeprefix("ss://").partition("@")
    cipher, _, secret = base64.urlsafe_b64decode(user_info + "=" * (-len(user_info) % 4)).decode().partition(":")
    await fetch(start_theirs(peers, SS_LOCAL, Address.parse(rest.partition("#")[0]), cipher, secret), origin)


async def test_xray_takes_a_dynamic_key(start: StartProgram, peers: Peers, tmp_path: Path, origin: Address) -> None:
    await start("server", server_config(websocket_listener(peers.tls)))
    tunnel = YAML(typ="safe").load(await printed(tmp_path / "server.yaml", "localhost"))["transport"]["tcp"]
    place, _, path = tunnel["endpoint"]["url"].removeprefix("wss://").partition("/")
    assert f"/{path}" == PATH
    await fetch(start_theirs(peers, XRAY_CLIENT, Address.parse(place), tunnel["cipher"], tunnel["secret"]), origin)


@pytest.mark.parametrize("listener", [plain_listener, websocket_listener])
async def test_our_client_takes_the_upstream(start: StartProgram, peers: Peers, tmp_path: Path, origin: Address, listener: Any) -> None:
    await start("server", server_config(listener(peers.tls)))
    upstreams = upstream_in(await printed(tmp_path / "server.yaml", "localhost"))
    if listener is websocket_listener:
        upstreams["server"]["transport"] = {"type": "ws-h1", "tls": {"ca": str(peers.tls.ca)}}
    frontend = {"type": "socks5", "listen": "127.0.0.1:0"}
    client = await start("client", {"version": 1, "frontends": {"local": frontend}, "upstreams": upstreams})
    await fetch(client.address, origin)


def start_theirs(peers: Peers, client: TheirClient, server: Address, cipher: str, secret: str) -> Address:
    """Start a foreign client; return where it listens."""
    port = free_port()
    client.start(peers, port, server, cipher, secret)
    return Address("127.0.0.1", port)
