"""The programs of the soak: four servers, a client over them, and a server that closes everything with 1011."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any, Final

import trustme
from soak.ledger import PIECE
from soak.target import reset

from outline_lb.base.address import Address
from outline_lb.testing.program import Program
from outline_lb_websocket.encoder import ServerEncoder
from outline_lb_websocket.frames import CLOSE
from outline_lb_websocket.server_handshake import answer

SECRET: Final = "Secret0"
SERVERS: Final = ("one", "two", "three", "plain")
"""WebSockets over TLS, the same with a way that can be torn, WebSockets alone, and Shadowsocks alone."""
FRONTENDS: Final = ("main", *SERVERS)
QUIET: Final = ("--log-level", "info")
"""Lines of every flow for half an hour would fill the disk."""


class World:
    """Everything that runs.

    :param folder: for configurations, logs and certificates
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, Program] = {}
        self.ports = dict.fromkeys(SERVERS, 0)  # any, at first
        self.proxies: list[Address] = []
        """Where the client listens: the balancer first, then the way to each server alone."""
        self.way = Way()
        self.rude = RudeServer()
        self.client: Program
        self._reloads = 0
        self.files: dict[str, str] = {}

    async def start(self) -> None:
        """Start everything."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        self.files = {name: str(self.folder / f"{name}.pem") for name in ("ca", "certificate", "key")}
        authority.cert_pem.write_to_path(self.files["ca"])
        certificate.cert_chain_pems[0].write_to_path(self.files["certificate"])
        certificate.private_key_pem.write_to_path(self.files["key"])
        for name in SERVERS:
            await self.start_server(name)
        await self.way.start(self.ports["two"])
        path = os.pathsep.join([str(Path(__file__).with_name("inside")), *filter(None, [os.environ.get("PYTHONPATH")])])
        inside = {"PYTHONPATH": path, "SOAK_TASKS": str(self.folder / "tasks")}
        self.client = await Program.start("client", self.client_config(), self.folder, *QUIET, environment=inside)
        listening = {line["frontend"]: line["addresses"][0] for line in self.client.events("listening")}
        self.proxies = [Address.parse(listening[name]) for name in FRONTENDS]

    @property
    def changed(self) -> bool:
        """Whether the client has another number of upstreams than it had at first."""
        return self._reloads % 2 == 0

    async def start_server(self, name: str) -> None:
        """Start a server, or start it again."""
        address = f"127.0.0.1:{self.ports[name]}"
        tls = {key: self.files[key] for key in ("certificate", "key")}
        listener: dict[str, Any] = {"type": "tcp", "address": address}
        if name != "plain":
            listener = {"type": "ws-h1", "address": address, "path": f"/{name}", **({} if name == "three" else {"tls": tls})}
        key = {"secret": SECRET, "cipher": "aes-256-gcm" if name == "two" else "chacha20-ietf-poly1305"}
        frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": key}, "allow_private_targets": True}
        config = {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}}
        self.servers[name] = await Program.start(name, config, self.folder, *QUIET)
        self.ports[name] = self.servers[name].address.port

    def client_config(self) -> dict[str, Any]:
        """Return the client's configuration; each one is a little different."""
        self._reloads += 1
        secure = {"transport": {"type": "ws-h1", "tls": {"ca": self.files["ca"]}}, "secret": SECRET}
        upstreams: dict[str, Any] = {
            "one": {"tcp": f"wss://localhost:{self.ports['one']}/one", **secure},
            "two": {"tcp": f"wss://localhost:{self.way.port}/two", "cipher": "aes-256-gcm", **secure},
            "three": {"tcp": f"ws://127.0.0.1:{self.ports['three']}/three", "secret": SECRET, "weight": 1 + self._reloads % 3},
            "plain": {"tcp": f"tcp://127.0.0.1:{self.ports['plain']}", "secret": SECRET},
            "rude": {"tcp": f"ws://127.0.0.1:{self.rude.port}/", "secret": SECRET},
        }
        if self.changed:  # comes and goes, with what it carries
            upstreams["spare"] = upstreams["one"]
        health = {"interval": "2s", "timeout": f"{2 + self._reloads % 2}s", "cooldown": "5s"}
        frontends = {name: {"type": "socks5", "listen": "127.0.0.1:0", "to": name} for name in FRONTENDS}
        return {"version": 1, "frontends": frontends, "pools": {"main": {"health": health}}, "upstreams": upstreams}

    def reload(self) -> None:
        """Give the client another configuration."""
        file = self.folder / "client.yaml"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(self.client_config()))
        new.chmod(0o600)
        new.replace(file)
        self.client.process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End everything."""
        for program in (getattr(self, "client", None), *self.servers.values()):
            if program is not None:
                with contextlib.suppress(ProcessLookupError):
                    program.process.send_signal(signal.SIGCONT)
                await program.stop()
        self.way.close()
        self.rude.close()


class Way:
    """TCP connections in two halves each, so that they can be torn in the middle."""

    def __init__(self) -> None:
        self.port = self._to = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> None:
        """Listen at `self.port`.

        :param port: where it leads
        """
        self._to = port
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def reset(self) -> int:
        """Tear everything; return how much there was."""
        torn = len(self._open)
        for writer in list(self._open):
            reset(writer)
        return torn

    def close(self) -> None:
        """Accept nothing more."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            reset(writer)
            return
        both = {writer, back}
        self._open |= both
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except OSError:
            reset(writer)
            reset(back)
        finally:
            self._open -= both
            writer.close()
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class RudeServer:
    """Upgrades, and closes with 1011 as soon as it hears anything. Nothing listens at its port until it is told to."""

    def __init__(self) -> None:
        self.closed = 0
        self._server: asyncio.Server | None = None
        self._socket = _bound(0)
        self.port = self._socket.getsockname()[1]

    async def start(self) -> None:
        """Begin."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    def stop(self) -> None:
        """Let nothing listen again."""
        assert self._server is not None
        self._server.close()
        self._server = None
        self._socket = _bound(self.port)

    def close(self) -> None:
        """End."""
        if self._server is not None:
            self._server.close()
        self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head[:-4], "/").response)
            if await reader.read(PIECE):
                writer.write(ServerEncoder().control(CLOSE, (1011).to_bytes(2, "big")))
                await writer.drain()
                self.closed += 1
        writer.close()


def _bound(port: int) -> socket.socket:
    """Return a socket to which nobody can connect yet, and whose port nobody else can take."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def tell_tasks(program: Program) -> None:
    """Ask a program that runs with `inside/sitecustomize.py` to write its number of tasks."""
    os.kill(program.process.pid, signal.SIGUSR1)
