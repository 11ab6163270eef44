"""Ending: new flows are refused at once, running ones have their time."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from typing import Any

import pytest
from client import Connection, can_connect, connect
from conftest import StartProgram
from origin import PATTERN, pattern_digest
from service_manager import ServiceManager

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

SIZE = 40_000_000


def config(drain_timeout: str) -> dict[str, Any]:
    """Return a configuration that needs no server."""
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}
    return {"version": 1, "drain_timeout": drain_timeout, "frontends": frontends, "upstreams": {"one": {"transport": "direct"}}}


async def download(program: Program, origin: Address) -> Connection:
    """Begin a download, and read some of it."""
    connection = await connect(program.address, origin)
    connection.writer.write(b"D" + SIZE.to_bytes(8, "big"))
    assert await connection.reader.readexactly(1000) == PATTERN[:1000]
    return connection


async def ended(program: Program) -> int:
    """Wait for the end, and return the exit code."""
    return await asyncio.wait_for(program.process.wait(), 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_flows_it_ends_at_once(start: StartProgram, number: signal.Signals) -> None:
    program = await start("client", config("1h"))
    program.process.send_signal(number)
    assert await ended(program) == 0
    assert program.events("stopping")[0]["by"] == number.name
    assert program.events("stopped")
    assert not program.events("aborting flows")


async def test_a_download_that_is_running_finishes_and_nobody_else_comes_in(start: StartProgram, origin: Address) -> None:
    program = await start("client", config("1h"))
    address = program.address
    connection = await download(program, origin)
    program.process.send_signal(signal.SIGTERM)
    line = await program.logged("stopping")
    assert (line["flows"], line["drain_timeout"]) == (1, "3600s")
    assert not can_connect(address.port)
    assert program.process.returncode is None
    rest = await connection.reader.read(-1)
    assert hashlib.sha256(PATTERN[:1000] + rest).hexdigest() == pattern_digest(SIZE)
    connection.close()
    assert await ended(program) == 0
    assert not program.events("aborting flows")


async def test_a_download_that_takes_too_long_is_reset(start: StartProgram, origin: Address) -> None:
    program = await start("client", config("300ms"))
    connection = await download(program, origin)
    program.process.send_signal(signal.SIGTERM)
    assert await ended(program) == 0
    with pytest.raises(ConnectionResetError):
        await connection.read_digest()
    connection.close()
    assert program.events("aborting flows")[0]["flows"] == 1


async def test_a_second_signal_ends_it_now(start: StartProgram, origin: Address) -> None:
    program = await start("client", config("1h"))
    connection = await download(program, origin)
    program.process.send_signal(signal.SIGTERM)
    await program.logged("stopping")
    program.process.send_signal(signal.SIGTERM)
    assert await ended(program) == 0
    with pytest.raises(ConnectionResetError):
        await connection.read_digest()
    connection.close()


async def test_the_service_manager_is_told(manager: ServiceManager, start: StartProgram) -> None:
    program = await start("client", config("1h"))
    assert await manager.told() == ["READY=1", "STATUS=serving 1 frontends over 1 upstreams"]
    program.process.send_signal(signal.SIGHUP)
    reloading, monotonic, status = await manager.told()
    assert (reloading, status) == ("RELOADING=1", "STATUS=reloading")
    assert monotonic.startswith("MONOTONIC_USEC=")
    assert (await manager.told())[0] == "READY=1"
    program.log.with_suffix(".yaml").write_text("nonsense: 1")
    assert (await manager.told())[0] == "RELOADING=1"
    ready, status = await manager.told()
    assert ready == "READY=1"
    assert status.startswith("STATUS=reload refused: ")
    program.process.send_signal(signal.SIGTERM)
    assert (await manager.told())[0] == "STOPPING=1"
    assert await ended(program) == 0
