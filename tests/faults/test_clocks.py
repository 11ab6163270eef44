"""Clocks that jump, and a process that sleeps: rows F32 and F33 of the fault matrix."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import trustme
from conftest import StartProgram, TlsFiles, free_port
from faults.network import ORIGIN, Network, World, client_config, server_config, upstream_config
from faults.traffic import download, echo, lost, open_echo
from faults.usage import cpu_seconds
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

Record = Callable[..., None]

LONG: Final = "OUTLINE_LB_LONG_FAULTS" in os.environ
SLEEP: Final = 60 if LONG else 9
"""Seconds that the process is stopped; more than 5 count as sleep."""
WATCH: Final = 8
"""Seconds in which probes are counted."""


class Clock:
    """The wall clock of a program, which can be set while it runs (see faketime(1)). Other clocks go on as they are.

    :param file: that the program looks into
    :param library: libfaketime, for programs with threads
    """

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set("+0")

    def set(self, offset: str) -> None:
        """Move it, such as by ``+400d`` or ``-1h``."""
        new = self._file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._file)  # never half written


@pytest.fixture
def wall_clock(tmp_path: Path) -> Clock:
    """Return a clock that is right."""
    require_program("faketime", "apt-get install faketime")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketimeMT.so.1 is not where Debian puts it")
    return Clock(tmp_path / "clock", found[0])


def certificate_until(folder: Path, days: int) -> TlsFiles:
    """Make a CA, and a certificate for this machine that ends so many days from now."""
    folder.mkdir()
    files = TlsFiles(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    authority = trustme.CA()
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    certificate = authority.issue_cert("127.0.0.1", "localhost", not_after=end)
    authority.cert_pem.write_to_path(str(files.ca))
    certificate.cert_chain_pems[0].write_to_path(str(files.certificate))
    certificate.private_key_pem.write_to_path(str(files.key))
    return files


@pytest.fixture
async def client(start: StartProgram, wall_clock: Clock, tmp_path: Path) -> Program:
    """Start a server whose certificate ends in 200 days, one whose certificate ends in 800, and a client with that clock over both."""
    upstreams: dict[str, Any] = {}
    for name, days, weight in (("short", 200, 100), ("long", 800, 1)):
        files = certificate_until(tmp_path / name, days)
        server = await start(f"server-{name}", server_config(Address("127.0.0.1", free_port()), files))
        upstreams[name] = upstream_config(server.address, files, weight=weight)
    pool = {"health": {"interval": "1s"}, "policy": {"type": "fastest", "sticky_ttl": "1h"}}
    return await start("client", client_config(upstreams, pool), environment=wall_clock.environment)


async def probes(client: Program, seconds: float) -> int:
    """Count the connections that are made in so many seconds while nobody uses it."""
    before = len(client.events("connecting"))
    await anyio.sleep(seconds)
    return len(client.events("connecting")) - before


async def test_f32_a_wall_clock_that_jumps_400_days_moves_no_timer_and_judges_certificates_anew(
    client: Program, wall_clock: Clock, origin: Address, record: Record
) -> None:
    for name in ("short", "long"):
        await client.logged("upstream up", upstream=name)
    running = await open_echo(client.address, origin)
    assert await client.carriers(1) == ["short"]  # by its weight
    cpu, before = cpu_seconds(client), await probes(client, WATCH)
    wall_clock.set("+400d")
    began = asyncio.get_running_loop().time()
    down = await client.logged("upstream down", upstream="short")
    record("seconds until the certificate was refused", round(asyncio.get_running_loop().time() - began, 2))
    assert "expired" in down["reason"]
    assert down["timestamp"][:4] > client.events("listening")[0]["timestamp"][:4]  # so the program sees the jump
    after = await probes(client, WATCH)
    record(f"probes in {WATCH} s, before and after", f"{before}, {after}")
    record("CPU seconds", round(cpu_seconds(client) - cpu, 2))
    assert after <= 2 * before + 4
    assert await echo(running, b"as ever") < 5
    await download(client.address, origin, 100_000)
    assert await client.carriers(2) == ["short", "long"]
    assert not client.events("was asleep, probing everything")
    running.close()


async def test_f32_a_wall_clock_that_is_set_back_one_hour_moves_no_timer(client: Program, wall_clock: Clock, origin: Address, record: Record) -> None:
    for name in ("short", "long"):
        await client.logged("upstream up", upstream=name)
    running = await open_echo(client.address, origin)
    before = await probes(client, WATCH)
    wall_clock.set("-1h")
    after = await probes(client, WATCH)
    record(f"probes in {WATCH} s, before and after", f"{before}, {after}")
    assert before // 3 <= after <= 2 * before + 4
    await echo(running, b"as ever")
    await download(client.address, origin, 100_000)
    assert client.events("upstream probed")[-1]["timestamp"] < client.events("listening")[0]["timestamp"]  # so the program sees the jump
    assert not client.events("was asleep, probing everything")
    assert not client.events("upstream down")
    running.close()


@pytest.fixture
def network() -> Iterator[Network]:
    """Make a network of two sites."""
    with Network(2) as network:
        yield network


@pytest.fixture
async def world(network: Network, start: StartProgram, tls_files: TlsFiles) -> AsyncIterator[World]:
    """Start two servers and a client, which is not left stopped."""
    world = await World.start(network, start, tls_files)
    yield world
    world.client.process.send_signal(signal.SIGCONT)


async def sleep(program: Program) -> None:
    """Stop a program for so long as counts as sleep."""
    program.process.send_signal(signal.SIGSTOP)
    await anyio.sleep(SLEEP)
    program.process.send_signal(signal.SIGCONT)


@pytest.mark.timeout(300)
async def test_f33_after_a_sleep_everything_is_probed_once_and_not_in_one_moment(world: World, record: Record) -> None:
    await world.measured()
    connection = await open_echo(world.client.address, ORIGIN)
    await sleep(world.client)
    began = asyncio.get_running_loop().time()
    before = len(world.client.events("connecting"))
    await echo(connection, b"awake")
    record("seconds until a flow went on", round(asyncio.get_running_loop().time() - began, 2))
    await world.client.logged("was asleep, probing everything")
    await anyio.sleep(2)
    connections = len(world.client.events("connecting")) - before
    record("connections in the first 2 s", connections)
    assert connections <= 2 + 2 * 2  # a probe for each upstream; waiting connections grew too old
    assert not world.client.events("upstream down")
    connection.close()


@pytest.mark.timeout(300)
async def test_f33_tunnels_that_died_in_the_sleep_are_found_and_new_flows_go_elsewhere(world: World, record: Record) -> None:
    await world.measured()
    running = [await open_echo(world.client.address, ORIGIN) for _ in range(10)]
    current = (await world.client.carriers(10))[-1]
    world.links[current].set(loss=100)
    await sleep(world.client)
    began = asyncio.get_running_loop().time()
    with anyio.fail_after(30):
        await download(world.client.address, ORIGIN, 1000)
    record("seconds until a new flow was through", round(asyncio.get_running_loop().time() - began, 2))
    *carriers, last = await world.client.carriers(11)
    assert last != current
    carried = [name == current for name in carriers]
    dead = [connection for connection, there in zip(running, carried, strict=True) if there]
    assert dead
    await asyncio.gather(*(lost(connection, 30) for connection in dead))
    took = asyncio.get_running_loop().time() - began
    record("dead tunnels", len(dead))
    record("seconds until all were found", round(took, 2))
    for connection in running:
        connection.close()
    assert took < 15 + 3
