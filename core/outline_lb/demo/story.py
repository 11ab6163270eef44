"""The demo's story, told on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio

from ..base.address import Address, encode_address
from ..base.errors import OutlineLBError
from ..testing.program import Program
from .datagram import exchange
from .world import PAGE, Server, World

DISTANCES: Final = {"amsterdam": 0.010, "frankfurt": 0.030, "sydney": 0.150}
"""Seconds that a byte takes to each server."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stage:
    """Prints the steps; in colour on a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.failed = False

    def paint(self, text: str, code: int) -> str:
        """Return the text in a colour (an SGR code)."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def say(self, text: str = "") -> None:
        """Print a line."""
        print(f"  {text}".rstrip(), flush=True)

    def step(self, worked: bool, what: str, detail: str) -> None:
        """Print a step and how it went."""
        mark = self.paint("✓", 32) if worked else self.paint("✗", 31)
        self.failed = self.failed or not worked
        self.say(f"{mark} {what:<12} {detail}")


async def tell(once: bool) -> int:
    """Tell the story.

    :param once: end after it instead of waiting for Ctrl-C
    :return: 0 if all of it worked, else 1
    """
    stage = Stage()
    print(stage.paint("\noutline-lb demo", 1) + ": three Outline servers, one local proxy, one accident\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="outline-lb-demo-") as folder:
        try:
            async with World(Path(folder)) as world:
                told = False
                with _until_signal():
                    client = await _play(stage, world)
                    told = True
                    if not once and not stage.failed:
                        _invite(stage, world, client)
                        await anyio.sleep_forever()
                stage.failed = stage.failed or not told
        except OutlineLBError as error:
            stage.step(False, "failed", str(error))
    return 1 if stage.failed else 0


@contextlib.contextmanager
def _until_signal() -> Iterator[None]:
    """Go on until Ctrl-C, the end of the terminal, or whatever else asks us to end: the servers are to end with us."""
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        for number in SIGNALS:
            loop.add_signal_handler(number, scope.cancel)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


async def _play(stage: Stage, world: World) -> Program:
    began = time.monotonic()
    await world.start_servers(DISTANCES)
    client = await world.start_client()
    for server in world.servers:
        away = f"{server.delay * 1e3:.0f} ms away" + (", slow" if server.delay > 0.1 else "")
        stage.say(f"{stage.paint('●', 36)} {server.name:<12} wss://{server.address}/…  {stage.paint(away, 2)}")
    stage.say(f"{stage.paint('●', 36)} {'the proxy':<12} socks5://{client.address}")
    stage.say()
    stage.step(True, "started", f"three servers with TLS and a client, in {time.monotonic() - began:.1f} s")
    await _measured(stage, world, client)
    fastest = await _request(stage, world, client, "request")
    if fastest is None:
        return client
    await fastest.program.kill()
    stage.say(f"{stage.paint('✗', 33)} {'accident':<12} {stage.paint(fastest.name, 1)} is killed (SIGKILL to process {fastest.program.process.pid})")
    second = await _request(stage, world, client, "again")
    if second is not None:
        stage.step(second is not fastest, "failed over", f"from {fastest.name} to {second.name}; the request itself was carried on")
        await _datagram(stage, world, client)
    return client


def _invite(stage: Stage, world: World, client: Program) -> None:
    """Say how to go on by hand."""
    alive = [server for server in world.servers if server.program.process.returncode is None]
    stage.say()
    stage.say("Try it yourself, as long as this runs:")
    stage.say(stage.paint(f"    curl --socks5-hostname {client.address} http://localhost:{world.origin.port}/", 1))
    if alive:
        stage.say(f"or kill another one:  kill {alive[0].program.process.pid}   # {alive[0].name}")
    stage.say("Ctrl-C ends it.\n")


async def _measured(stage: Stage, world: World, client: Program) -> None:
    """Wait until the client has measured every server."""
    found: dict[str, str] = {}
    with anyio.move_on_after(10):
        while len(found) < len(world.servers):
            await anyio.sleep(0.05)
            found = {str(line["upstream"]): str(line.get("rtt")) for line in client.events("upstream up")}
    detail = "a stream opens in: " + " · ".join(f"{server.name} {found.get(server.name, '?')}" for server in world.servers)
    stage.step(len(found) == len(world.servers), "measured", detail)


async def _request(stage: Stage, world: World, client: Program, what: str) -> Server | None:
    """Fetch the page through the proxy; return the server that carried it."""
    began, flows = time.monotonic(), len(client.events("flow opened"))
    try:
        answer = await asyncio.wait_for(_fetch(client.address, Address("localhost", world.origin.port)), 15)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        stage.step(False, what, f"failed: {error!r}")
        return None
    took = time.monotonic() - began
    carrier = (await client.carriers(flows + 1))[-1]
    server = next(server for server in world.servers if server.name == carrier)
    worked = answer.endswith(b"\r\n\r\n" + PAGE)
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    stage.step(worked, what, f"{status} in {took * 1e3:.0f} ms through {stage.paint(server.name, 1)}")
    return server


async def _datagram(stage: Stage, world: World, client: Program) -> None:
    """Send a datagram through the proxy, and see it come back."""
    began, flows = time.monotonic(), len(client.events("flow opened"))
    try:
        answer = await asyncio.wait_for(exchange(client.address, world.echo, b"ping"), 15)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        stage.step(False, "datagram", f"failed: {error!r}")
        return
    took = time.monotonic() - began
    carrier = (await client.carriers(flows + 1))[-1]
    stage.step(answer == b"ping", "datagram", f"UDP there and back in {took * 1e3:.0f} ms through {stage.paint(carrier, 1)}")


async def _fetch(proxy: Address, target: Address) -> bytes:
    """Get ``/`` from a web server through a SOCKS5 proxy that resolves its name (RFC 1928)."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        writer.write(b"\x05\x01\x00")
        await reader.readexactly(2)
        writer.write(b"\x05\x01\x00" + encode_address(target))
        reply = await reader.readexactly(10)
        if reply[1]:
            raise ConnectionError(f"the proxy answered with code {reply[1]}")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return await reader.read(-1)
    finally:
        writer.close()
