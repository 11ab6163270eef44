"""Configurations of v2ray 4.34: Shadowsocks over WebSocket over TLS, at the path ``/ray``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outline_lb.base.address import Address


def server_config(port: int, cipher: str, certificate: Path, key: Path) -> dict[str, Any]:
    """Return the configuration of a server."""
    inbound = {
        "listen": "127.0.0.1",
        "port": port,
        "protocol": "shadowsocks",
        "settings": {"method": cipher, "password": "Secret0", "network": "tcp"},
        "streamSettings": {
            "network": "ws",
            "security": "tls",
            "tlsSettings": {"certificates": [{"certificateFile": str(certificate), "keyFile": str(key)}]},
            "wsSettings": {"path": "/ray"},
        },
    }
    return {"inbounds": [inbound], "outbounds": [{"protocol": "freedom"}]}


def client_config(port: int, server: Address, cipher: str) -> dict[str, Any]:
    """Return the configuration of a SOCKS5 client."""
    inbound = {"listen": "127.0.0.1", "port": port, "protocol": "socks", "settings": {"udp": False}}
    outbound = {
        "protocol": "shadowsocks",
        "settings": {"servers": [{"address": server.host, "port": server.port, "method": cipher, "password": "Secret0"}]},
        "streamSettings": {
            "network": "ws",
            "security": "tls",
            "tlsSettings": {"serverName": "localhost", "allowInsecure": True},
            "wsSettings": {"path": "/ray"},
        },
    }
    return {"inbounds": [inbound], "outbounds": [outbound]}
