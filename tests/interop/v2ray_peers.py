"""v2ray 4.34 (Debian) and Xray (contrib/peers.py): Shadowsocks over WebSocket over TLS. They read the same configuration, but for two things."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from interop.peer import Peers, TheirClient, TheirServer, plain_listener, plain_upstream, websocket_listener, websocket_upstream
from interop.v2ray import client_config, server_config
from programs import PEERS_INSTALL, require_program

from outline_lb.base.address import Address

ALLOW_ALL: Final = {"finalRules": [{"action": "allow"}]}
"""Xray lets nobody who comes by Shadowsocks reach a private address, unless its way out has a rule that allows it (since version 26)."""


def start_v2ray_server(peers: Peers, port: int, cipher: str) -> subprocess.Popen[bytes]:
    """Start v2ray's server."""
    return _start_v2ray(peers, "server", server_config(port, cipher, peers.tls.certificate, peers.tls.key), port)


def start_v2ray_client(peers: Peers, port: int, server: Address, cipher: str, secret: str) -> subprocess.Popen[bytes]:
    """Start v2ray's client."""
    return _start_v2ray(peers, "client", _with_secret(client_config(port, server, cipher), secret), port)


def start_xray_server(peers: Peers, port: int, cipher: str) -> subprocess.Popen[bytes]:
    """Start Xray's server."""
    config = server_config(port, cipher, peers.tls.certificate, peers.tls.key)
    config["outbounds"][0]["settings"] = ALLOW_ALL
    return _start_xray(peers, "server", config, port)


def start_xray_client(peers: Peers, port: int, server: Address, cipher: str, secret: str) -> subprocess.Popen[bytes]:
    """Start Xray's client. It cannot be told to trust just anybody any more, so it is told of our CA."""
    config = _with_secret(client_config(port, server, cipher), secret)
    certificates = [{"usage": "verify", "certificateFile": str(peers.tls.ca)}]
    config["outbounds"][0]["streamSettings"]["tlsSettings"] = {"serverName": "localhost", "certificates": certificates}
    return _start_xray(peers, "client", config, port)


V2RAY_SERVER: Final = TheirServer(start_v2ray_server, websocket_upstream)
V2RAY_CLIENT: Final = TheirClient(start_v2ray_client, websocket_listener)
XRAY_SERVER: Final = TheirServer(start_xray_server, websocket_upstream)
XRAY_CLIENT: Final = TheirClient(start_xray_client, websocket_listener)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Have the same without WebSocket and TLS, and with packets: these are plain Shadowsocks even where streams are not."""
    for side, settings in (("inbounds", {"network": "tcp,udp"}), ("outbounds", {})):
        for entry in config[side]:
            if entry["protocol"] == "shadowsocks":
                del entry["streamSettings"]
                entry["settings"].update(settings)
            elif entry["protocol"] == "socks":
                entry["settings"].update({"udp": True, "ip": "127.0.0.1"})
    return config


def start_plain_v2ray_client(peers: Peers, port: int, server: Address, cipher: str, secret: str) -> subprocess.Popen[bytes]:
    """Start v2ray's client as one of Shadowsocks alone, with packets."""
    return _start_v2ray(peers, "client", _plain(_with_secret(client_config(port, server, cipher), secret)), port)


def start_plain_xray_client(peers: Peers, port: int, server: Address, cipher: str, secret: str) -> subprocess.Popen[bytes]:
    """Start Xray's client as one of Shadowsocks alone, with packets."""
    return _start_xray(peers, "client", _plain(_with_secret(client_config(port, server, cipher), secret)), port)


def start_plain_v2ray_server(peers: Peers, port: int, cipher: str) -> subprocess.Popen[bytes]:
    """Start v2ray's server as one of Shadowsocks alone, with packets."""
    return _start_v2ray(peers, "server", _plain(server_config(port, cipher, peers.tls.certificate, peers.tls.key)), port)


def start_plain_xray_server(peers: Peers, port: int, cipher: str) -> subprocess.Popen[bytes]:
    """Start Xray's server as one of Shadowsocks alone, with packets."""
    config = _plain(server_config(port, cipher, peers.tls.certificate, peers.tls.key))
    config["outbounds"][0]["settings"] = ALLOW_ALL
    return _start_xray(peers, "server", config, port)


V2RAY_CLIENT_PACKETS: Final = TheirClient(start_plain_v2ray_client, plain_listener)
V2RAY_SERVER_PACKETS: Final = TheirServer(start_plain_v2ray_server, plain_upstream)
XRAY_CLIENT_PACKETS: Final = TheirClient(start_plain_xray_client, plain_listener)
XRAY_SERVER_PACKETS: Final = TheirServer(start_plain_xray_server, plain_upstream)


def _with_secret(config: dict[str, Any], secret: str) -> dict[str, Any]:
    config["outbounds"][0]["settings"]["servers"][0]["password"] = secret
    return config


def _start_v2ray(peers: Peers, role: str, config: dict[str, Any], port: int) -> subprocess.Popen[bytes]:
    program = require_program("v2ray", "apt-get install v2ray")
    return peers.start(f"v2ray-{role}", [program, "-config", str(_write(peers, f"v2ray-{role}", config))], port)


def _start_xray(peers: Peers, role: str, config: dict[str, Any], port: int) -> subprocess.Popen[bytes]:
    program = require_program("xray", PEERS_INSTALL)
    return peers.start(f"xray-{role}", [program, str(_write(peers, f"xray-{role}", config))], port)


def _write(peers: Peers, name: str, config: dict[str, Any]) -> Path:
    file = peers.folder / f"{name}.json"
    file.write_text(json.dumps({"log": {"loglevel": "warning"}, **config}))
    return file
