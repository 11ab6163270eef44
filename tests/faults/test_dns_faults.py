"""Name servers that fail while the program runs: row F24 of the fault matrix.

Upstream ``one`` is reached by a name that gets into trouble, upstream ``two`` by one that does not. Each has a frontend of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
from conftest import StartProgram, TlsFiles
from faults.names import NXDOMAIN, SERVFAIL, Answer, NameServer
from faults.network import ORIGIN, SERVER_PORT, Network, run, server_config, upstream_config
from faults.traffic import Pulse, download, echo, open_echo

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

Record = Callable[..., None]


@pytest.fixture
def network() -> Iterator[Network]:
    """Make a network of two sites, whose client asks a name server of the test."""
    with Network(2) as network:
        network.client.set_file("resolv.conf", "nameserver 127.0.0.1\n")
        network.client.set_file("nsswitch.conf", "hosts: files dns\n")
        run("ip", "address", "add", "fd77::1/64", "dev", "lk1", "nodad")  # or nobody asks for AAAA
        yield network


@pytest.fixture
async def names(network: Network) -> AsyncIterator[NameServer]:
    """Start the name server; all is well."""
    server, transport = await NameServer.start()
    for name, site in zip(("one.test", "two.test"), network.sites, strict=True):
        server.set(name, [site.address.host], [])
    yield server
    transport.close()


@pytest.fixture
async def client(network: Network, names: NameServer, start: StartProgram, tls_files: TlsFiles) -> Program:
    """Start a server at each site, and a client with a frontend for each."""
    await asyncio.gather(
        *(start(f"server{site.address.host}", server_config(site.address, tls_files), prefix=site.namespace.prefix) for site in network.sites)
    )
    config: dict[str, Any] = {"version": 1, "frontends": {}, "pools": {}, "upstreams": {}}
    for name in ("one", "two"):
        config["frontends"][name] = {"type": "socks5", "listen": "127.0.0.1:0", "to": f"pool-{name}"}
        config["pools"][f"pool-{name}"] = {"upstreams": [name], "health": {"interval": "1s"}}
        config["upstreams"][name] = upstream_config(Address(f"{name}.test", SERVER_PORT), tls_files)
    return await start("client", config, prefix=network.client.prefix)


def proxy(client: Program, name: str) -> Address:
    """Return where the frontend of an upstream listens."""
    lines = [line for line in client.events("listening") if line["frontend"] == name]
    return Address.parse(lines[0]["addresses"][0])


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("a", "aaaa"), [(NXDOMAIN, NXDOMAIN), (SERVFAIL, SERVFAIL), (None, None)], ids=["NXDOMAIN", "SERVFAIL", "silence"])
async def test_f24_a_name_that_cannot_be_found_any_more_keeps_its_last_address(
    client: Program, names: NameServer, record: Record, a: Answer, aaaa: Answer
) -> None:
    clock = asyncio.get_running_loop().time
    await client.logged("upstream up", upstream="one")
    await download(proxy(client, "one"), ORIGIN, 1000)
    pulse = Pulse(await open_echo(proxy(client, "two"), ORIGIN))
    before = await pulse.beat(2)
    names.set("one.test", a, aaaa)
    slowest = 0.0

    async def use() -> None:
        nonlocal slowest
        for _ in range(10):
            began = clock()
            await asyncio.gather(*(download(proxy(client, "one"), ORIGIN, 1000) for _ in range(5)))
            slowest = max(slowest, clock() - began)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        during = await pulse.beat(6)
    pulse.connection.close()
    record("echo of others, ms, before and during", f"{before * 1000:.1f}, {during * 1000:.1f}")
    record("slowest new flow to the name, s", round(slowest, 2))
    await client.logged("name not found, taking its last address", name="one.test")  # so it was asked
    stood_still = sum(seconds for seconds in pulse.times if seconds > before + 0.05)
    assert stood_still < 0.5  # in 6 s; a loop that waits for a name server does so for a second at the least
    assert slowest < 5
    assert not client.events("upstream down")


@pytest.mark.timeout(120)
async def test_f24_a_silent_name_server_holds_up_no_flow_to_other_names_and_no_end(client: Program, names: NameServer, record: Record) -> None:
    clock = asyncio.get_running_loop().time
    names.set("one.test", None, None)
    await download(proxy(client, "two"), ORIGIN, 1000)

    async def hang() -> None:
        with anyio.move_on_after(5), pytest.raises(Exception):  # noqa: B017, PT011
            await download(proxy(client, "one"), ORIGIN, 1000)

    slowest = 0.0
    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(hang)
        await anyio.sleep(0.5)
        for _ in range(5):
            began = clock()
            await asyncio.gather(*(download(proxy(client, "two"), ORIGIN, 1000) for _ in range(4)))
            slowest = max(slowest, clock() - began)
        tasks.cancel_scope.cancel()
    record("slowest new flow to another name, s", round(slowest, 2))
    assert slowest < 2
    began = clock()
    await client.stop()
    record("seconds to stop", round(clock() - began, 2))
    assert clock() - began < 3


async def test_f24_a_changed_address_is_used_for_new_connections_and_moves_no_flow(
    network: Network, client: Program, names: NameServer, record: Record
) -> None:
    new = network.sites[1].address
    running = await open_echo(proxy(client, "one"), ORIGIN)
    names.set("one.test", [new.host], [])
    began = asyncio.get_running_loop().time()
    await client.logged("WebSocket opened", server=f"wss://one.test:{SERVER_PORT}/***", address=str(new))
    record("seconds until the new address was used", round(asyncio.get_running_loop().time() - began, 2))
    await echo(running, b"still there")
    running.close()


@pytest.mark.parametrize("aaaa", [None, SERVFAIL, NXDOMAIN, ["fd77::dead"]], ids=["silence", "SERVFAIL", "NXDOMAIN", "an address that leads nowhere"])
async def test_f24_only_aaaa_broken(client: Program, network: Network, names: NameServer, record: Record, aaaa: Answer) -> None:
    names.set("one.test", [network.sites[0].address.host], aaaa)
    await client.logged("upstream up", upstream="two")
    took = []
    for _ in range(5):
        began = asyncio.get_running_loop().time()
        await download(proxy(client, "one"), ORIGIN, 1000)
        took.append(asyncio.get_running_loop().time() - began)
    record("slowest of 5 flows, s", round(max(took), 2))
    assert max(took) < 3
    assert not client.events("upstream down")
