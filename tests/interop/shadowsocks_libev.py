"""shadowsocks-libev's ss-server and ss-local, plain and with v2ray-plugin (WebSocket and TLS; ``mux=0``, since nobody else speaks v2ray's mux)."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import Any, Final

from interop.peer import PATH, SECRET, Peers, TheirClient, TheirServer, plain_listener, plain_upstream, websocket_listener, websocket_upstream
from programs import require_program

from outline_lb.base.address import Address

PLUGIN: Final = "ss-v2ray-plugin"
PLUGIN_READY: Final = "started"
"""What the plugin says then. ss-local listens before it does."""


def _start(program: str, more: dict[str, Any], plugin_options: str, peers: Peers, port: int) -> subprocess.Popen[bytes]:
    path = require_program(program, "apt-get install shadowsocks-libev")
    config = {"timeout": 60, **more}
    if plugin_options:
        config["plugin"] = require_program(PLUGIN, "apt-get install shadowsocks-v2ray-plugin")
        config["plugin_opts"] = f"{plugin_options};tls;host=localhost;path={PATH};mux=0"
    file = peers.folder / f"{program}.json"
    file.write_text(json.dumps(config))
    return peers.start(program, [path, "-c", str(file)], port, PLUGIN_READY if plugin_options else "")


def _mode(packets: bool) -> dict[str, str]:
    return {"mode": "tcp_and_udp" if packets else "tcp_only"}


def start_server(plugin: bool, peers: Peers, port: int, cipher: str, packets: bool = False) -> subprocess.Popen[bytes]:
    """Start ss-server."""
    config = {"server": "127.0.0.1", "server_port": port, "method": cipher, "password": SECRET, **_mode(packets)}
    options = f"server;cert={peers.tls.certificate};key={peers.tls.key}" if plugin else ""
    return _start("ss-server", config, options, peers, port)


def start_client(plugin: bool, peers: Peers, port: int, server: Address, cipher: str, secret: str, packets: bool = False) -> subprocess.Popen[bytes]:
    """Start ss-local."""
    there = {"server": server.host, "server_port": server.port, "method": cipher, "password": secret, **_mode(packets)}
    here = {"local_address": "127.0.0.1", "local_port": port}
    return _start("ss-local", {**there, **here}, f"cert={peers.tls.ca}" if plugin else "", peers, port)


SS_SERVER: Final = TheirServer(partial(start_server, False), plain_upstream, ends_at_our_end=True, end_is_in_order=True)
SS_SERVER_PLUGIN: Final = TheirServer(partial(start_server, True), websocket_upstream)
SS_LOCAL: Final = TheirClient(partial(start_client, False), plain_listener)
SS_LOCAL_PLUGIN: Final = TheirClient(partial(start_client, True), websocket_listener)

SS_SERVER_PACKETS: Final = TheirServer(partial(start_server, False, packets=True), plain_upstream)
SS_LOCAL_PACKETS: Final = TheirClient(partial(start_client, False, packets=True), plain_listener)
