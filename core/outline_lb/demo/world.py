"""The demo's world: two origins, for pages and datagrams, three servers that are processes of their own, and the distance between them and us."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import trustme

from ..base.address import Address
from ..base.errors import StartError
from ..testing.program import Program
from .datagram import Echo

LOCAL: Final = "127.0.0.1"
SECRET: Final = "only-for-the-demo"
"""Not much of one: every run makes its own servers, which only this machine can reach."""
PAGE: Final = b"Hello from the other side of the tunnel.\n"


@dataclass(slots=True)
class Server:
    """One Outline server, some way off.

    :param name: as in the client's configuration
    :param program: its process
    :param delay: seconds that a byte takes to it or back
    :param address: where it seems to be, that far away
    """

    name: str
    program: Program
    delay: float
    address: Address


class World:
    """Makes everything in one folder, and ends everything when it is left.

    :param folder: for certificates, configurations and logs
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closing = contextlib.AsyncExitStack()
        self.servers: list[Server] = []
        self.origin = Address(LOCAL, 0)
        self.echo = Address(LOCAL, 0)

    async def __aenter__(self) -> World:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self._folder / "ca.pem"))
        certificate = authority.issue_cert(LOCAL, "localhost")
        certificate.private_key_pem.write_to_path(str(self._folder / "key.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(self._folder / "certificate.pem"))
        origin = await asyncio.start_server(_serve_page, LOCAL, 0)
        self._closing.push_async_callback(_close_server, origin)
        self.origin = _bound(origin)
        echo, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, (LOCAL, 0))
        self._closing.callback(echo.close)
        self.echo = Address(LOCAL, echo.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def start_servers(self, delays: dict[str, float]) -> None:
        """Start one server for each name, that many seconds away."""
        async with anyio.create_task_group() as tasks:
            for name, delay in delays.items():
                tasks.start_soon(self._start_server, name, delay)
        self.servers.sort(key=lambda server: server.delay)

    async def _start_server(self, name: str, delay: float) -> None:
        program = await self._start(
            name,
            {
                "version": 1,
                "frontends": {
                    "server": {
                        "type": "outline-server",
                        "listen": [
                            {
                                "type": "ws-h1",
                                "address": f"{LOCAL}:0",
                                "path": f"/{name}/tcp",
                                "packet_path": f"/{name}/udp",
                                "tls": {"certificate": str(self._folder / "certificate.pem"), "key": str(self._folder / "key.pem")},
                            }
                        ],
                        "keys": {"you": {"secret": SECRET}},
                        "allow_private_targets": True,
                    }
                },
                "upstreams": {"internet": {"transport": "direct"}},
            },
        )
        far = await asyncio.start_server(_Distance(program.address, delay).carry, LOCAL, 0)
        self._closing.push_async_callback(_close_server, far)
        self.servers.append(Server(name, program, delay, _bound(far)))

    async def start_client(self) -> Program:
        """Start the proxy over all servers."""
        upstreams = {
            server.name: {
                "tcp": f"wss://{server.address}/{server.name}/tcp",
                "udp": f"wss://{server.address}/{server.name}/udp",
                "transport": {"type": "ws-h1", "tls": {"ca": str(self._folder / "ca.pem")}},
                "secret": SECRET,
            }
            for server in self.servers
        }
        pool = {"health": {"interval": "2s"}, "upstreams": [server.name for server in self.servers]}
        config = {
            "version": 1,
            "frontends": {"local": {"type": "socks5", "listen": f"{LOCAL}:{_free_port(1080)}"}},
            "pools": {"main": pool},
            "upstreams": upstreams,
        }
        return await self._start("client", config)

    async def _start(self, name: str, config: object) -> Program:
        program = await Program.start(name, config, self._folder)
        self._closing.push_async_callback(program.stop)
        return program


class _Distance:
    """Carries bytes to an address and back, late: what a long way does to them."""

    def __init__(self, target: Address, delay: float) -> None:
        self._target = target
        self._delay = delay

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            await asyncio.sleep(2 * self._delay)  # a connection request there, its answer back
            far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, reader, far_writer)
            tasks.start_soon(self._pump, far_reader, writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        later = asyncio.get_running_loop().call_later
        try:
            while data := await reader.read(65536):
                later(self._delay, self._deliver, writer, data)
            later(self._delay, writer.close)
        except OSError:
            later(self._delay, writer.transport.abort)

    @staticmethod
    def _deliver(writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.transport.is_closing():
            writer.write(data)


async def _serve_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PAGE) + PAGE)
        await writer.drain()
    writer.close()


async def _close_server(server: asyncio.Server) -> None:
    server.close()


def _bound(server: asyncio.Server) -> Address:
    host, port = server.sockets[0].getsockname()[:2]
    return Address(host, port)


def _free_port(wanted: int) -> int:
    """Return the wanted port if it is free, else any that is."""
    for port in (wanted, 0):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((LOCAL, port))
            return int(sock.getsockname()[1])
    raise StartError("no port is free")
