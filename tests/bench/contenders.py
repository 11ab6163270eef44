"""The clients that are measured: ours, ours without uvloop, v2ray's and Xray's. Each is a SOCKS5 proxy over one server and logs no flow."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from conftest import free_port
from interop.v2ray import client_config

from outline_lb.base.address import Address

from .processes import Running, Workshop
from .servers import MESSAGES, PLAIN, SECRET, Endpoint, Server, program

OURS: Final = "outline-lb"
WITHOUT_UVLOOP: Final = "outline-lb without uvloop"
V2RAY: Final = "v2ray"
XRAY: Final = "xray"

_PLAIN: Final = "import sys; sys.modules['uvloop'] = None; from outline_lb.cli import main; sys.exit(main())"
"""Our program as it is where uvloop is not installed."""


@dataclass(frozen=True)
class Contender:
    """A kind of client.

    :param name: in tables and files
    :param needs: the program that it is; empty: ours
    :param start: starts one for a server and a cipher
    """

    name: str
    needs: str
    start: Callable[[Workshop, Endpoint, str], Running]

    def missing(self) -> str:
        """Return why it cannot run here; empty if it can."""
        return f"not installed: {self.needs}" if self.needs and program(self.needs) is None else ""

    def fits(self, server: Server) -> bool:
        """Tell whether it can go through a server: nobody else sends datagrams as WebSocket messages."""
        return not self.needs or server.packets != MESSAGES


def _ours(*python: str) -> Callable[[Workshop, Endpoint, str], Running]:
    def start(workshop: Workshop, server: Endpoint, cipher: str) -> Running:
        port = free_port()
        url, transport = f"wss://127.0.0.1:{server.port}{server.path}", {"type": "ws-h1", "tls": {"ca": str(workshop.ca)}}
        ways: Mapping[str, Mapping[str, object]] = {
            "": {"tcp": url, "transport": transport, "half_close": "defer" if server.closes_both else "close-frame"},
            MESSAGES: {"udp": url, "transport": transport},
            PLAIN: {"udp": f"udp://127.0.0.1:{server.port}"},
        }
        upstream = {**ways[server.packets], "cipher": cipher, "secret": SECRET}
        frontend = {"type": "socks5", "listen": f"127.0.0.1:{port}"}
        config = {"version": 1, "frontends": {"local": frontend}, "upstreams": {"server": upstream}}
        return workshop.start([sys.executable, *python, "run", "-c", workshop.write(f"client-{port}.yaml", json.dumps(config))], port)

    return start


def _ray(name: str, *arguments: str) -> Callable[[Workshop, Endpoint, str], Running]:
    def start(workshop: Workshop, server: Endpoint, cipher: str) -> Running:
        port = free_port()
        config = client_config(port, Address("127.0.0.1", server.port), cipher)
        if server.packets:
            config["inbounds"][0]["settings"] = {"udp": True, "ip": "127.0.0.1"}
            del config["outbounds"][0]["streamSettings"]
        else:
            tls = {"serverName": "localhost", "certificates": [{"usage": "verify", "certificateFile": str(workshop.ca)}]}
            config["outbounds"][0]["streamSettings"] |= {"tlsSettings": tls, "wsSettings": {"path": server.path}}
        config["log"] = {"loglevel": "error", "access": "none"}
        return workshop.start([str(program(name)), *arguments, workshop.write(f"client-{port}.json", json.dumps(config))], port)

    return start


CONTENDERS: Final = (
    Contender(OURS, "", _ours("-m", "outline_lb")),
    Contender(V2RAY, "v2ray", _ray("v2ray", "-config")),
    Contender(XRAY, "xray", _ray("xray")),
    Contender(WITHOUT_UVLOOP, "", _ours("-c", _PLAIN)),
)
