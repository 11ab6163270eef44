"""Flows and associations come and go by the thousand, or fail, and leave tasks, descriptors and memory where they were.

The flows go over TLS with connections that wait, the packets of the associations straight to their target.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from client import SocksRefusedError, connect
from conftest import TlsFiles, free_port
from udp_client import associate
from udp_origin import udp_origin

from outline_lb.app import App
from outline_lb.base.address import Address
from outline_lb.config.load import load

FLOWS = 1000
ASSOCIATIONS = 5000
AT_ONCE = 50
SLACK = 2000
"""Kilobytes of memory that come and go by themselves: a leak of 2 KB for each of a thousand flows is more."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc"),
]


def build(name: str, config: dict[str, Any], folder: Path) -> App:
    """Make an app of a configuration, in this process."""
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(config))
    return App(*load(file))


@pytest.fixture
async def ways(tls_files: TlsFiles, tmp_path: Path) -> AsyncIterator[dict[str, Address]]:
    """Run a server and a client over TLS in this process; return where the client listens: for the server, for one that nobody runs, and for
    targets themselves.
    """
    port = free_port()
    tls = {"certificate": str(tls_files.certificate), "key": str(tls_files.key)}
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "ws-h1", "address": f"127.0.0.1:{port}", "tls": tls}],
        "keys": {"user": {"secret": "Secret0"}},
        "allow_private_targets": True,
    }
    server = build("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}}, tmp_path)
    common = {"transport": {"type": "ws-h1", "tls": {"ca": str(tls_files.ca)}}, "secret": "Secret0"}
    upstreams = {"server": {"tcp": f"wss://localhost:{port}/", **common}, "dead": {"tcp": f"wss://localhost:{free_port()}/", **common}}
    upstreams["internet"] = {"transport": "direct"}
    frontends = {name: {"type": "socks5", "listen": "127.0.0.1:0", "to": name} for name in upstreams}
    client = build("client", {"version": 1, "frontends": frontends, "upstreams": upstreams}, tmp_path)
    async with anyio.create_task_group() as tasks:
        for app in (server, client):
            serving = anyio.Event()
            tasks.start_soon(app.run, lambda _, serving=serving: serving.set())
            await serving.wait()
        yield {name: client.frontends[name].addresses[0] for name in frontends}
        tasks.cancel_scope.cancel()


@pytest.fixture
def proxy(ways: dict[str, Address]) -> Address:
    """Return where the client listens for flows over the server."""
    return ways["server"]


def descriptors() -> int:
    """Return the number of open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def resident_kilobytes() -> int:
    """Return the resident memory of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") // 1024


async def come_and_go(proxy: Address, target: Address, flows: int) -> int:
    """Run flows, some at a time; return how many got what they wanted."""
    slots, served = anyio.Semaphore(AT_ONCE), 0

    async def flow(number: int) -> None:
        nonlocal served
        async with slots:
            try:
                connection = await connect(proxy, target)
            except SocksRefusedError:
                return
            connection.writer.write(b"D" + (1000 + number).to_bytes(8, "big"))
            with contextlib.suppress(ConnectionResetError):
                size, _ = await connection.read_digest()
                served += size == 1000 + number
            connection.close()
            with contextlib.suppress(ConnectionResetError):
                await connection.writer.wait_closed()

    async with anyio.create_task_group() as tasks:
        for number in range(flows):
            tasks.start_soon(flow, number)
    return served


def counts() -> tuple[int, int]:
    """Return how many tasks and descriptors there are."""
    return len(asyncio.all_tasks()), descriptors()


async def quiet() -> tuple[int, int]:
    """Wait until nothing comes or goes any more, and return the counts."""
    seen = [counts()]
    while seen[-10:] != seen[-1:] * 10:
        await asyncio.sleep(0.05)
        seen.append(counts())
    return seen[-1]


async def is_as_before(before: tuple[int, int]) -> bool:
    """Tell whether there are no more tasks and no more descriptors than before, as soon as that is so, or after too long."""
    for _ in range(200):
        tasks, open_now = counts()
        if tasks <= before[0] and open_now <= before[1]:
            return True
        await asyncio.sleep(0.05)
    return False


async def leave_nothing(run: Callable[[int], Awaitable[int]], many: int, served: int) -> None:
    """Run flows, and see that they leave nothing: no task, no descriptor, no memory.

    :param run: runs so many, and returns how many got what they wanted
    :param many: how many, twice
    :param served: how many of them get what they want
    """
    await run(200)  # what is made once, is made now
    before = await quiet()
    assert await run(many) == served
    gc.collect()
    memory = resident_kilobytes()
    assert await is_as_before(before)
    assert await run(many) == served
    gc.collect()
    assert await is_as_before(before)
    assert resident_kilobytes() < memory + SLACK


async def test_flows_leave_nothing(proxy: Address, origin: Address) -> None:
    await leave_nothing(partial(come_and_go, proxy, origin), FLOWS, served=FLOWS)


async def test_flows_to_a_target_that_refuses_leave_nothing(proxy: Address, origin: Address) -> None:
    await leave_nothing(partial(come_and_go, proxy, Address("127.0.0.1", free_port())), FLOWS, served=0)
    assert await come_and_go(proxy, origin, 1) == 1


async def test_flows_over_a_server_that_is_down_leave_nothing(ways: dict[str, Address], origin: Address) -> None:
    await leave_nothing(partial(come_and_go, ways["dead"], origin), FLOWS, served=0)
    assert await come_and_go(ways["server"], origin, 1) == 1


async def associate_and_go(proxy: Address, target: Address, associations: int) -> int:
    """Run associations, some at a time; return how many of them got an answer. They end in all the ways that there are, some without a packet."""
    slots, served = anyio.Semaphore(AT_ONCE), 0

    async def one(number: int) -> None:
        nonlocal served
        async with slots:
            association = await associate(proxy)
            if number % 5:
                answer = await association.ask(target, b"%d" % number)
                served += answer == b"%d" % number
            if number % 3:
                association.close()
            else:
                association.writer.transport.abort()
                association.sock.close()
            with contextlib.suppress(ConnectionResetError):
                await association.writer.wait_closed()

    async with anyio.create_task_group() as tasks:
        for number in range(associations):
            tasks.start_soon(one, number)
    return served


async def test_associations_leave_nothing(ways: dict[str, Address]) -> None:
    async with udp_origin() as echo:

        async def run(associations: int) -> int:
            echo.received.clear()  # its own memory is not what is measured
            return await associate_and_go(ways["internet"], echo.address, associations)

        await leave_nothing(run, ASSOCIATIONS, served=ASSOCIATIONS * 4 // 5)
