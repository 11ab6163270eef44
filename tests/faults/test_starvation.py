"""Too little memory, too little processor, and growth: rows F48 and F49 of the fault matrix, and threat T20."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import pytest
from client import SocksRefusedError, connect
from conftest import StartProgram, TlsFiles, free_port
from faults.network import client_config, server_config, upstream_config
from faults.traffic import download, echo, open_echo, upload
from faults.usage import cpu_seconds, descriptors, resident
from origin import pattern_digest
from programs import require_program

from outline_lb.base.address import Address

Record = Callable[..., None]

LONG: Final = "OUTLINE_LB_LONG_FAULTS" in os.environ
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits, affinity and /proc as on Linux")


async def start_servers(start: StartProgram, tls: TlsFiles | None, count: int) -> dict[str, object]:
    """Start servers; return the upstreams over them."""
    servers = [await start(f"server{number}", server_config(Address("127.0.0.1", free_port()), tls)) for number in range(count)]
    return {f"server{number}": upstream_config(server.address, tls) for number, server in enumerate(servers)}


class Switch:
    """A file that another process looks for.

    :param path: of the file
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.path.touch()

    def __exit__(self, *_: object) -> None:
        self.path.unlink()


@pytest.fixture
def no_large_memory(tmp_path: Path) -> Path:
    """Build the library that makes large allocations fail. (``ulimit -v`` makes small ones fail too, and there CPython itself gives up.)"""
    compiler, library = require_program("cc", "apt-get install gcc libc6-dev"), tmp_path / "no_large_memory.so"
    source = Path(__file__).with_name("no_large_memory.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.mark.timeout(180)
@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "no TLS"])
async def test_f48_without_memory_flows_are_aborted_or_right_and_the_program_goes_on(
    start: StartProgram, tls_files: TlsFiles, no_large_memory: Path, origin: Address, tmp_path: Path, record: Record, tls: bool
) -> None:
    scarcity = Switch(tmp_path / "scarce")
    environment = {"LD_PRELOAD": str(no_large_memory), "NO_LARGE_MEMORY": str(scarcity.path)}
    client = await start("client", client_config(await start_servers(start, tls_files if tls else None, 1)), environment=environment)
    proxy = client.address
    await asyncio.gather(*(download(proxy, origin, 100_000) for _ in range(5)))
    memory = resident(client)
    ends: Counter[str] = Counter()

    async def use(number: int) -> None:
        try:
            with anyio.fail_after(60):
                await (slow_download if number % 2 else upload)(proxy, origin, 3_000_000)
        except SocksRefusedError:
            ends["refused"] += 1
        except TimeoutError:
            ends["hung"] += 1
        except (OSError, asyncio.IncompleteReadError):
            ends["aborted"] += 1
        except AssertionError as error:
            ends[f"wrong: {str(error).splitlines()[0]}"] += 1
        else:
            ends["right"] += 1

    with scarcity:
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(use, number)
    for end, count in ends.items():
        record(f"flows {end}", count)
    record("RSS growth", resident(client) - memory, "KB")
    await asyncio.gather(*(download(proxy, origin, 100_000) for _ in range(10)))
    assert ends.keys() <= {"right", "aborted", "refused"}
    assert ends["aborted"] or ends["refused"]  # so there was too little


async def slow_download(proxy: Address, target: Address, size: int) -> None:
    """Ask for bytes, and begin to read a little later; what comes must be the beginning of the right ones.

    :raises ConnectionError: if it was aborted
    """
    connection = await connect(proxy, target)
    try:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        await anyio.sleep(3)
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        received = bytearray()
        try:
            while data := await connection.reader.read(1 << 18):
                received += data
            assert len(received) == size, "a clean end of a part"
        finally:
            assert hashlib.sha256(received).hexdigest() == pattern_digest(len(received)), "wrong bytes"
    finally:
        connection.close()


@pytest.mark.timeout(180)
async def test_f49_a_starved_event_loop_takes_no_upstream_for_dead(
    start: StartProgram, tls_files: TlsFiles, origin: Address, tmp_path: Path, record: Record
) -> None:
    burning = Switch(tmp_path / "burn")
    prefix = (sys.executable, str(Path(__file__).with_name("starve.py")), str(burning.path), "4")
    pool = {"health": {"interval": "500ms", "timeout": "500ms"}}
    client = await start("client", client_config(await start_servers(start, tls_files, 3), pool), prefix=prefix)
    for number in range(3):
        await client.logged("upstream up", upstream=f"server{number}")
    proxy = client.address
    connection = await open_echo(proxy, origin)
    before = len(client.events("upstream probed")) + len(client.events("probe failed, not counted"))
    cpu, delays, refused = cpu_seconds(client), [], 0
    with burning:
        end = asyncio.get_running_loop().time() + (60 if LONG else 12)
        while asyncio.get_running_loop().time() < end:
            delays.append(await echo(connection, b"p"))
            try:
                await download(proxy, origin, 1000)
            except SocksRefusedError:  # in `connect_timeout` it got no turn, on a machine that is busy anyway
                refused += 1
    probes = len(client.events("upstream probed")) + len(client.events("probe failed, not counted")) - before
    record("slowest echo", max(delays), "s")
    record("new flows that were refused", refused)
    record("CPU seconds that it got", cpu_seconds(client) - cpu)
    record("probes", probes)
    record("probes not counted", len(client.events("probe failed, not counted")))
    record("upstreams down", len(client.events("upstream down")))
    assert max(delays) > 0.02  # so it was starved
    assert probes > 3
    assert not client.events("upstream down")
    assert await echo(connection, b"and on") < 5
    connection.close()


@pytest.mark.timeout(600 if LONG else 180)
async def test_t20_ten_times_as_many_connections_take_no_more_memory(
    start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record
) -> None:
    client = await start("client", client_config(await start_servers(start, tls_files, 1)))
    few, proxy = 2000 if LONG else 300, client.address
    await come_and_go(proxy, origin, few)
    memory, open_before = resident(client), descriptors(client)
    await come_and_go(proxy, origin, 9 * few)
    record(f"RSS after {few} connections", memory, "KB")
    record(f"RSS after {10 * few} connections", resident(client), "KB")
    record("CPU seconds", cpu_seconds(client))
    assert resident(client) <= memory * 1.1
    with anyio.fail_after(10):
        while descriptors(client) > open_before:
            await anyio.sleep(0.1)


async def come_and_go(proxy: Address, target: Address, connections: int) -> None:
    """Make so many connections, 50 at a time."""
    slots = anyio.Semaphore(50)

    async def use(number: int) -> None:
        async with slots:
            await download(proxy, target, 1000 + number)

    async with anyio.create_task_group() as tasks:
        for number in range(connections):
            tasks.start_soon(use, number)
