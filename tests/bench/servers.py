"""The servers that clients are measured against, each as it comes.

Those for streams speak WebSocket over TLS 1.3, and differ in the size of what they send: `units` measures it, and `Server.sends` says what it found.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conftest import free_port
from interop.v2ray import server_config
from programs import peer

from outline_lb.base.address import Address

from .processes import Workshop

SECRET: Final = "Secret0"
PLAIN: Final = "udp"
"""Shadowsocks over UDP."""
MESSAGES: Final = "ws"
"""A WebSocket message for each datagram."""
PUBLIC: Final = "203.0.113.77"
"""An address from TEST-NET-3 (RFC 5737): the real outline-ss-server takes no target on 127.0.0.1."""


@dataclass(frozen=True)
class Endpoint:
    """A server that runs.

    :param port: on 127.0.0.1; its certificate says ``localhost``
    :param path: of the WebSocket
    :param closes_both: whether a Close frame is the end of both directions to it
    :param packets: how datagrams get there: `PLAIN` or `MESSAGES`; empty: it is one for streams
    """

    port: int
    path: str = ""
    closes_both: bool = True
    packets: str = ""


@dataclass(frozen=True)
class Server:
    """A kind of server.

    :param name: of the program
    :param sends: how much payload each unit has that it sends; of one for datagrams: how
    :param needs: programs; without them it is left out
    :param start: starts one with a cipher
    :param origin_host: where the origin has to be for it
    :param packets: as `Endpoint` has it
    """

    name: str
    sends: str
    needs: tuple[str, ...]
    start: Callable[[Workshop, str], Endpoint]
    origin_host: str = "127.0.0.1"
    packets: str = ""

    def missing(self) -> str:
        """Return why it cannot run here; empty if it can."""
        absent = [name for name in self.needs if program(name) is None]
        if not absent and self.origin_host == PUBLIC and os.geteuid():
            return "only root can add the address that it wants its targets on"
        return f"not installed: {', '.join(absent)}" if absent else ""


def program(name: str) -> str | None:
    """Return the path of a program of others."""
    return shutil.which(name) or peer(name)


def _v2ray(workshop: Workshop, cipher: str) -> Endpoint:
    return _ray(workshop, cipher, ["v2ray", "-config"], {})


def _xray(workshop: Workshop, cipher: str) -> Endpoint:
    allow = {"finalRules": [{"action": "allow"}]}  # or it takes no target on 127.0.0.1
    return _ray(workshop, cipher, [str(program("xray"))], allow)


def _ray(workshop: Workshop, cipher: str, command: list[str], settings: dict[str, Any]) -> Endpoint:
    port = free_port()
    config = server_config(port, cipher, workshop.certificate, workshop.key)
    config["outbounds"][0]["settings"] = settings
    config["log"] = {"loglevel": "error", "access": "none"}
    workshop.start([*command, workshop.write(f"server-{port}.json", json.dumps(config))], port)
    return Endpoint(port, "/ray")


def _libev(workshop: Workshop, cipher: str) -> Endpoint:
    port = free_port()
    options = f"server;tls;mux=0;host=localhost;path=/ray;loglevel=none;cert={workshop.certificate};key={workshop.key}"
    config = {"server": "127.0.0.1", "server_port": port, "password": SECRET, "method": cipher, "timeout": 600, "mode": "tcp_only"}
    file = workshop.write(f"server-{port}.json", json.dumps({**config, "plugin": program("ss-v2ray-plugin"), "plugin_opts": options}))
    workshop.start([str(program("ss-server")), "-c", file], port)
    return Endpoint(port, "/ray")


def _outline(workshop: Workshop, cipher: str) -> Endpoint:
    """Start the real outline-ss-server, which has no TLS, behind nginx."""
    web, port = free_port(), free_port()
    service = {
        "listeners": [{"type": "websocket-stream", "web_server": "web", "path": "/ray"}],
        "keys": [{"id": "user", "cipher": cipher, "secret": SECRET}],
    }
    config = {"web": {"servers": [{"id": "web", "listen": [f"127.0.0.1:{web}"]}]}, "services": [service]}
    workshop.start([str(program("outline-ss-server")), "-config", workshop.write(f"server-{port}.yml", json.dumps(config))], web)
    nginx = (
        f"daemon off; master_process off; pid {workshop.folder}/nginx-{port}.pid; error_log stderr error; events {{ worker_connections 18000; }}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; server_name localhost;\n"
        f"ssl_certificate {workshop.certificate}; ssl_certificate_key {workshop.key}; ssl_protocols TLSv1.3;\n"
        f"location / {{ proxy_pass http://127.0.0.1:{web}; proxy_http_version 1.1; proxy_read_timeout 600s;\n"
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $host; } } }\n"
    )
    workshop.start([str(program("nginx")), "-c", workshop.write(f"nginx-{port}.conf", nginx), "-p", workshop.folder], port)
    return Endpoint(port, "/ray", closes_both=False)


def _libev_udp(workshop: Workshop, cipher: str) -> Endpoint:
    port = _free_port()  # for TCP, by which we see that it runs, and UDP
    config = {"server": "127.0.0.1", "server_port": port, "password": SECRET, "method": cipher, "timeout": 600, "mode": "tcp_and_udp"}
    workshop.start([str(program("ss-server")), "-c", workshop.write(f"server-{port}.json", json.dumps(config))], port)
    return Endpoint(port, packets=PLAIN)


def _ours(workshop: Workshop, cipher: str) -> Endpoint:
    port = free_port()
    _start_ours(workshop, cipher, port, {"path": "/ray", "half_close": "defer"})
    return Endpoint(port, "/ray")


def _ours_udp(workshop: Workshop, cipher: str) -> Endpoint:
    port = free_port()
    _start_ours(workshop, cipher, port, {"packet_path": "/ray"})
    return Endpoint(port, "/ray", packets=MESSAGES)


def _start_ours(workshop: Workshop, cipher: str, port: int, listener: Mapping[str, str]) -> None:
    tls = {"certificate": str(workshop.certificate), "key": str(workshop.key)}
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "ws-h1", "address": f"127.0.0.1:{port}", "tls": tls, **listener}],
        "keys": {"user": {"secret": SECRET, "cipher": cipher}},
        "allow_private_targets": True,
    }
    config = {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}}
    workshop.start([sys.executable, "-m", "outline_lb", "run", "-c", workshop.write(f"server-{port}.yaml", json.dumps(config))], port)


SERVERS: Final = (
    Server("v2ray", "2 KB", ("v2ray",), _v2ray),
    Server("xray", "8 KB", ("xray",), _xray),
    Server("libev", "16 KB in frames of 2 KB", ("ss-server", "ss-v2ray-plugin"), _libev),
    Server("outline", "16 KB", ("outline-ss-server", "nginx", "ip"), _outline, PUBLIC),
    Server("ours", "16 KB", (), _ours),
    Server("udp-libev", "Shadowsocks over UDP", ("ss-server",), _libev_udp, packets=PLAIN),
    Server("udp-ours", "datagrams as WebSocket messages", (), _ours_udp, packets=MESSAGES),
)


@contextlib.contextmanager
def origin(workshop: Workshop, host: str) -> Iterator[Address]:
    """Run our origin at an address of this machine, which is made for as long as it runs if it is `PUBLIC`."""
    ip = shutil.which("ip") if host == PUBLIC else None
    if ip:
        subprocess.run([ip, "addr", "replace", f"{host}/32", "dev", "lo"], check=True, timeout=10)
    try:
        port = _free_port()
        running = workshop.start([workshop.folder / "origin", host, str(port)], port, host=host)
        try:
            yield Address(host, port)
        finally:
            workshop.stop(running)
    finally:
        if ip:
            subprocess.run([ip, "addr", "del", f"{host}/32", "dev", "lo"], check=True, timeout=10)


def _free_port() -> int:
    """Return a port that is free for TCP and UDP."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
            return port
