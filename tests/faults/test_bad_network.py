"""Lines that lose, damage, swallow and delay: rows F2, F3, F19, F20, F22 and F23 of the fault matrix."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import anyio
import pytest
from client import SocksRefusedError, connect
from conftest import StartProgram, TlsFiles
from faults.network import ORIGIN, Network, World, client_config, server_config, upstream_config
from faults.traffic import download, echo, lost, open_echo, refused, upload
from faults.usage import cpu_seconds, descriptors, resident
from origin import pattern_digest

Record = Callable[..., None]

LONG: Final = "OUTLINE_LB_LONG_FAULTS" in os.environ
"""Whether rows take as long as the matrix says (``nox -s faults_long``), not only as long as everybody can wait."""
CONNECT_TIMEOUT: Final = 10.0
STANDBY: Final = 2
"""Connections to a server in use that are open before a flow wants them."""
SLACK: Final = 5.0
"""Seconds that a busy machine may add to a limit."""


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Make a network of two sites."""
    with Network(2) as network:
        yield network


@pytest.fixture
async def world(network: Network, start: StartProgram, tls_files: TlsFiles) -> World:
    """Start two servers and a client."""
    return await World.start(network, start, tls_files)


async def test_f02_syn_black_hole_before_anything_is_known(network: Network, start: StartProgram, tls_files: TlsFiles, record: Record) -> None:
    network.sites[0].link.set(loss=100)  # the first of the configuration is the one that is tried first
    world = await World.start(network, start, tls_files, pool={"probes": []})
    began = asyncio.get_running_loop().time()
    await download(world.client.address, ORIGIN, 1000)
    took = asyncio.get_running_loop().time() - began
    record("seconds to the other upstream", round(took, 2))
    assert took < 5
    assert await world.client.carriers(1) == ["two"]


async def test_f02_syn_black_hole_of_the_upstream_in_use(world: World, record: Record) -> None:
    await world.measured()
    proxy = world.client.address
    await download(proxy, ORIGIN, 1000)
    [current] = await world.client.carriers(1)
    world.links[current].set(loss=100)
    began = asyncio.get_running_loop().time()
    connections = [await connect(proxy, ORIGIN) for _ in range(6)]  # the first ones may still get what was opened before
    took = asyncio.get_running_loop().time() - began
    carriers = (await world.client.carriers(7))[1:]
    record("seconds until six flows were open", round(took, 2))
    record("flows that went into the hole", carriers.count(current))
    assert took < 5
    assert carriers.count(current) <= STANDBY
    aborted = 0.0
    for connection, carrier in zip(connections, carriers, strict=True):
        connection.writer.write(b"D" + (1000).to_bytes(8, "big"))
        if carrier == current:
            aborted = max(aborted, await lost(connection, 20 + 3 * SLACK))
        else:
            assert await connection.read_digest() == (1000, pattern_digest(1000))
        connection.close()
    record("seconds until those were aborted", round(aborted, 2))


async def test_f03_all_black_holed(world: World, record: Record) -> None:
    await world.measured()
    proxy = world.client.address
    for link in world.links.values():
        link.set(loss=100)
    await world.client.logged("upstream down", 30, upstream="one")
    await world.client.logged("upstream down", 30, upstream="two")
    dials, probes, cpu = len(world.client.events("dialling")), len(world.client.events("connecting")), cpu_seconds(world.client)
    refusals = await asyncio.gather(*(refused(proxy, ORIGIN) for _ in range(20)))
    record("seconds to be told", round(max(refusal.seconds for refusal in refusals), 2))
    record("CPU seconds", cpu_seconds(world.client) - cpu)
    assert all(refusal.seconds < 15 for refusal in refusals)
    assert {refusal.code for refusal in refusals} <= {1, 3, 4, 6}
    assert len(world.client.events("dialling")) - dials <= 20 * 2  # each flow tries each upstream once
    probes = len(world.client.events("connecting")) - probes - (len(world.client.events("dialling")) - dials)
    record("probes meanwhile", probes)
    assert probes <= 2 * (CONNECT_TIMEOUT + SLACK)  # not more than one a second and upstream
    for link in world.links.values():
        link.set(loss=0)
    began = asyncio.get_running_loop().time()
    with anyio.fail_after(30):
        while True:
            try:
                await download(proxy, ORIGIN, 1000)
                break
            except SocksRefusedError:
                await anyio.sleep(0.2)
    record("seconds to come back", round(asyncio.get_running_loop().time() - began, 2))


@pytest.mark.timeout(900 if LONG else 180)
async def test_f19_loss_of_5_percent_and_100_ms_corrupt_and_lose_nothing(world: World, record: Record) -> None:
    await world.measured()
    proxy = world.client.address
    for link in world.links.values():
        link.set(delay=50, loss=5)
    memory, seconds, streams, done = resident(world.client), 600 if LONG else 15, 50, 0
    end = asyncio.get_running_loop().time() + seconds

    async def use(number: int) -> None:
        nonlocal done
        while asyncio.get_running_loop().time() < end:
            await (download if number % 2 else upload)(proxy, ORIGIN, 30_000 + number)
            done += 1

    async with anyio.create_task_group() as tasks:
        for number in range(streams):
            tasks.start_soon(use, number)
    switches = len(world.client.events("upstream chosen"))
    downs = world.client.events("upstream down")
    record("transfers", done)
    record("changes of the upstream", switches)
    record("upstreams down", len(downs))
    record("RSS growth, KB", resident(world.client) - memory)
    record("packets lost", sum(link.stats()["lost"] for link in world.links.values()))
    assert done >= streams
    assert not downs
    assert switches <= 2  # the first choice is one


async def test_f20_corruption_of_1_percent_delivers_no_wrong_byte(world: World, record: Record) -> None:
    await world.measured()
    proxy = world.client.address
    for link in world.links.values():
        link.set(corrupt=1, delay=5)
    memory = resident(world.client)
    await asyncio.gather(*(transfer(proxy, ORIGIN, 1_000_000) for transfer in (download, upload) for _ in range(4)))
    corrupted = sum(link.stats()["corrupted"] for link in world.links.values())
    record("packets corrupted", corrupted)
    record("RSS growth, KB", resident(world.client) - memory)
    assert corrupted > 10


@pytest.mark.parametrize("encrypted", [True, False], ids=["by TLS", "by the cipher"])
async def test_f20_forged_segments_abort_the_flow_and_deliver_no_wrong_byte(
    network: Network, start: StartProgram, tls_files: TlsFiles, record: Record, encrypted: bool
) -> None:
    site, tls = network.sites[0], tls_files if encrypted else None
    await start("server", server_config(site.address, tls), prefix=site.namespace.prefix)
    client = await start("client", client_config({"one": upstream_config(site.address, tls)}, {"probes": []}), prefix=network.client.prefix)
    site.link.set(forge=1)
    aborted = right = 0
    for _ in range(20):
        connection = await connect(client.address, ORIGIN)
        connection.writer.write(b"D" + (2_000_000).to_bytes(8, "big"))
        received = bytearray()
        try:
            with anyio.fail_after(30):
                while data := await connection.reader.read(1 << 18):
                    received += data
        except ConnectionResetError:
            aborted += 1
        else:
            assert len(received) == 2_000_000
            right += 1
        finally:
            connection.close()
        assert_is_pattern(received)
        if aborted >= 5:
            break
    record("flows aborted", aborted)
    record("flows complete and right", right)
    record("segments forged", site.link.stats()["forged"])
    assert aborted


def assert_is_pattern(received: bytes | bytearray) -> None:
    """Fail unless these are the first bytes of the origin's pattern."""
    assert hashlib.sha256(received).hexdigest() == pattern_digest(len(received))


async def test_f22_an_mtu_black_hole_is_found_by_probes_that_cannot_pass(
    network: Network, start: StartProgram, tls_files: TlsFiles, record: Record
) -> None:
    network.sites[0].link.set(hole=576)  # a SYN passes, the server's certificate does not
    world = await World.start(network, start, tls_files)
    proxy = world.client.address
    began = asyncio.get_running_loop().time()
    await download(proxy, ORIGIN, 100_000)
    record("seconds of the first flow", round(asyncio.get_running_loop().time() - began, 2))
    assert await world.client.carriers(1) == ["two"]
    await world.client.logged("upstream down", 30, upstream="one")
    record("seconds until it is down", round(asyncio.get_running_loop().time() - began, 2))
    began = asyncio.get_running_loop().time()
    await download(proxy, ORIGIN, 100_000)
    record("seconds of the next flow", round(asyncio.get_running_loop().time() - began, 2))
    assert asyncio.get_running_loop().time() - began < 5
    assert await world.client.carriers(2) == ["two", "two"]


@pytest.mark.timeout(180)
async def test_f22_an_mtu_black_hole_stalls_only_flows_of_that_upstream_and_aborts_them(world: World, record: Record) -> None:
    await world.measured()
    proxy = world.client.address
    stalled = await open_echo(proxy, ORIGIN)
    [current] = await world.client.carriers(1)
    world.links[current].set(hole=576)
    stalled.writer.write(bytes(10_000))  # fills segments
    began = asyncio.get_running_loop().time()
    other = next(name for name in world.servers if name != current)
    for _ in range(3):  # the first ones may get connections that were open already
        with anyio.move_on_after(CONNECT_TIMEOUT):
            await download(proxy, ORIGIN, 100_000)
        if world.carrier() == other:
            break
    record("seconds until flows go elsewhere", round(asyncio.get_running_loop().time() - began, 2))
    assert world.carrier() == other
    if LONG:  # small packets pass, so the server's TCP says that it is there; only its WebSocket is silent
        await lost(stalled, 90)
        record("seconds until the stalled flow was aborted", round(asyncio.get_running_loop().time() - began, 2))
    stalled.close()


@pytest.mark.timeout(180)
async def test_f23_a_full_buffer_does_not_kill_an_upstream_that_moves(
    network: Network, start: StartProgram, tls_files: TlsFiles, record: Record
) -> None:
    for site in network.sites:
        site.link.set(rate=1_000_000, queue=170, delay=10)  # 170 full packets are 2 s
    world = await World.start(network, start, tls_files, pool={"health": {"interval": "1s"}})
    proxy = world.client.address
    await world.measured()
    size, flows, began = 8_000_000 if LONG else 2_000_000, 8, asyncio.get_running_loop().time()
    await asyncio.gather(*(download(proxy, ORIGIN, size // flows) for _ in range(flows)))
    took = asyncio.get_running_loop().time() - began
    not_counted = world.client.events("probe failed, not counted")
    record("seconds", round(took, 2))
    record("bits per second", int(size * 8 / took))
    record("probes that failed and were not counted", len(not_counted))
    record("upstreams down", len(world.client.events("upstream down")))
    record("open descriptors", descriptors(world.client))
    assert not_counted  # so the buffer was full
    assert not world.client.events("upstream down")
    connection = await open_echo(proxy, ORIGIN)
    await echo(connection, b"and on")
    connection.close()


def test_the_line_is_gone_afterwards() -> None:
    """Of the tests above; nothing of theirs may be left when this one runs."""
    assert list(Path("/run/netns").glob(f"olb{os.getpid()}*")) == []
