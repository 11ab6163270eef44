"""Too many connections: rows F30 and F31 of the fault matrix, and threat T19."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final

import anyio
import pytest
from client import Connection, SocksRefusedError, connect
from conftest import StartProgram, TlsFiles
from faults.bad_upstream import config, falls_to, until_quiet
from faults.network import server_config
from faults.traffic import download
from faults.usage import cpu_seconds, descriptors, resident
from origin import pattern_digest
from programs import require_program

from outline_lb.base.address import Address

Record = Callable[..., None]
Clock = Callable[[], float]

LONG: Final = "OUTLINE_LB_LONG_FAULTS" in os.environ
"""Whether rows take as long as the matrix says (``nox -s faults_long``), not only as long as everybody can wait."""
SECONDS: Final = 600 if LONG else 15
RATE: Final = 200


async def flow(proxy: Address, target: Address, size: int) -> None:
    """Come, load a little, and go."""
    connection = await connect(proxy, target)
    try:
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        with anyio.fail_after(30):
            assert await connection.read_digest() == (size, pattern_digest(size))
    finally:
        connection.close()


@pytest.mark.timeout(SECONDS + 120)
async def test_f30_churn_of_200_connections_a_second_fails_none_and_leaves_nothing(
    start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record, clock: Clock
) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    client = await start("client", config(server.address, tls=tls_files, standby=2))
    await asyncio.gather(*(flow(client.address, origin, 1000) for _ in range(50)))
    files, memory = await until_quiet(lambda: descriptors(client)), resident(client)
    began, started, highest, cpu, own = clock(), 0, 0, cpu_seconds(client), time.process_time()
    slots = asyncio.Semaphore(100)  # where the machine is slower than that, the rate falls

    async def one() -> None:
        async with slots:
            await flow(client.address, origin, 1000)

    async with asyncio.TaskGroup() as tasks:
        while clock() - began < SECONDS:
            async with slots:
                tasks.create_task(one())
            started += 1
            highest = max(highest, descriptors(client)) if started % 100 == 0 else highest
            await asyncio.sleep(max(0.0, began + started / RATE - clock()))
    seconds = clock() - began
    record("connections", started)
    record("a second", started / seconds)
    record("CPU", (cpu_seconds(client) - cpu) / seconds, "cores")
    record("RSS growth", resident(client) - memory, "KB")
    record("most descriptors", highest)
    record("CPU of the test itself", (time.process_time() - own) / seconds, "cores")
    assert await falls_to(files, lambda: descriptors(client))
    assert resident(client) - memory < 0.1 * memory + 4096
    assert client.events("upstream down") == []
    assert client.events("flow failed") == []


async def try_to_connect(proxy: Address, target: Address) -> Connection | None:
    """Open a flow; None if that is refused, cut, or not answered."""
    try:
        with anyio.fail_after(15):
            connection = await connect(proxy, target)
            connection.writer.write(b"e.")
            await connection.reader.readexactly(1)
            return connection
    except (SocksRefusedError, OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
        return None


@pytest.mark.timeout(120)
async def test_f31_t19_descriptor_exhaustion_is_survived_without_a_busy_loop(
    start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record, clock: Clock
) -> None:
    prlimit = require_program("prlimit", "apt-get install util-linux")
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    client = await start("client", config(server.address, tls=tls_files, standby=2), prefix=(prlimit, "--nofile=128"))
    await download(client.address, origin, 1000)
    files, memory = await until_quiet(lambda: descriptors(client)), resident(client)
    attempts = [asyncio.ensure_future(try_to_connect(client.address, origin)) for _ in range(500)]
    await client.logged("cannot accept", 30)
    most, cpu, looked = descriptors(client), cpu_seconds(client), clock()
    await asyncio.sleep(3)
    record("CPU at the limit", (cpu_seconds(client) - cpu) / (clock() - looked), "cores")
    assert (cpu_seconds(client) - cpu) / (clock() - looked) < 0.7
    connections = [connection for connection in await asyncio.gather(*attempts) if connection is not None]
    record("flows that were served", len(connections))
    record("descriptors", most)
    assert connections
    assert client.process.returncode is None
    for connection in connections:  # those that got in still work
        connection.writer.write(b"again")
        with anyio.fail_after(10):
            assert b"again" in await connection.reader.readexactly(5)
        connection.close()
    began = clock()
    while True:
        if (again := await try_to_connect(client.address, origin)) is not None:
            again.close()
            break
        assert clock() - began < 25
    record("recovered after", clock() - began, "s")
    await download(client.address, origin, 100_000)
    assert await falls_to(files + 2, lambda: descriptors(client))  # two connections may wait for flows
    record("RSS growth", resident(client) - memory, "KB")
