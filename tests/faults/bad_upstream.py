"""Clients of bad servers: their configuration, and applications that use them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
from client import Connection, connect
from conftest import TlsFiles

from outline_lb.app import App
from outline_lb.base.address import Address
from outline_lb.config.load import load
from outline_lb.datapath.cipher import ServerCipher
from outline_lb.testing.bad_server import ReadAll, Send, Shadowsocks, Step, Upgrade

SECRET: Final = "Secret0"
TARGET: Final = Address("target.invalid", 80)
"""Where applications want to go; bad servers answer themselves."""
GREETING: Final = b"a good server"


def good(cipher: ServerCipher) -> tuple[Step, ...]:
    """Return the script of a server that greets, and takes what comes."""
    return Upgrade(), Shadowsocks(cipher), Send(GREETING), ReadAll()


def config(*servers: Address, tls: TlsFiles | None = None, transport: Mapping[str, Any] | None = None, **pool: Any) -> dict[str, Any]:
    """Return the configuration of a client. The first server is used as long as it is usable, then the second one, and so on: ``one``, ``two``, ...

    One failure in a row makes a server down, and nothing but flows finds that out, unless the pool's options say otherwise.

    :param servers: their addresses
    :param tls: the servers are localhost, over TLS
    :param transport: options of ws-h1
    :param pool: options of the pool
    """
    names = ("one", "two", "three")[: len(servers)]
    options: dict[str, Any] = {"type": "ws-h1", **(transport or {})}
    if tls is not None:
        options["tls"] = {"ca": str(tls.ca)}
    upstreams = {
        name: {
            "tcp": f"wss://localhost:{address.port}/tcp" if tls else f"ws://{address}/tcp",
            "transport": options,
            "secret": SECRET,
        }
        for name, address in zip(names, servers, strict=True)
    }
    members = [{"name": name, "tier": tier} for tier, name in enumerate(names)]
    main = {"standby": 0, "probes": [], "upstreams": members, **pool, "health": {"fail_threshold": 1, **pool.get("health", {})}}
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0", "to": "main"}}
    return {"version": 1, "frontends": frontends, "pools": {"main": main}, "upstreams": upstreams}


@asynccontextmanager
async def running(configuration: dict[str, Any], folder: Path) -> AsyncIterator[Address]:
    """Run a client in this process, so that it lives by the clock of the test; give where it listens."""
    file = folder / "client.yaml"
    file.write_text(json.dumps(configuration))
    file.chmod(0o600)
    app = App(*load(file))
    async with anyio.create_task_group() as tasks:
        serving = anyio.Event()
        tasks.start_soon(app.run, lambda _: serving.set())
        await serving.wait()
        yield app.frontends["local"].addresses[0]
        tasks.cancel_scope.cancel()


async def greeted(proxy: Address, seconds: float = 30) -> bytes:
    """Open a flow, and return what the server says first; b"" if it ended it.

    :raises SocksRefusedError: if the flow was refused
    :raises ConnectionError: if it was aborted
    """
    connection = await connect(proxy, TARGET)
    try:
        with anyio.fail_after(seconds):
            return await connection.reader.read(100)
    finally:
        connection.close()


async def aborted(connection: Connection, seconds: float = 30) -> bytes:
    """Read until the flow is aborted, and return what came before; fail if it ends cleanly.

    :raises TimeoutError: if it is not, for so long
    """
    came = bytearray()
    with anyio.fail_after(seconds):
        while True:
            try:
                data = await connection.reader.read(1 << 16)
            except ConnectionResetError:
                return bytes(came)
            assert data, f"a clean end after {len(came)} bytes"
            came += data


async def until_quiet(function: Callable[[], int], seconds: float = 30) -> int:
    """Wait until a figure stays the same for a second, and return it."""
    seen: list[int] = []
    with anyio.fail_after(seconds):
        while len(seen) < 10 or len(set(seen[-10:])) > 1:
            seen.append(function())
            await asyncio.sleep(0.1)
    return seen[-1]


async def falls_to(limit: int, function: Callable[[], int], seconds: float = 30) -> bool:
    """Wait until a figure is no higher than this; tell whether that happened."""
    with anyio.move_on_after(seconds):
        while function() > limit:
            await asyncio.sleep(0.1)
    return function() <= limit
