"""Reloading while it runs: what changes, what stays, and that no flow notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from client import Connection, connect
from conftest import StartProgram, free_port
from origin import pattern_digest
from service_manager import ServiceManager

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

SIZE = 300_000
RELOADS = 60
ANN, BOB = {"ann": "one"}, {"bob": "two"}
SOCKS = {"type": "socks5", "listen": "127.0.0.1:0", "users": ANN}
DIRECT = {"transport": "direct"}


def config(**changes: Any) -> dict[str, Any]:
    """Return a configuration that needs no server, with some sections exchanged."""
    return {"version": 1, "frontends": {"local": SOCKS}, "upstreams": {"one": DIRECT}, **changes}


def file_of(program: Program) -> Path:
    """Return the configuration file of a program."""
    return program.log.with_suffix(".yaml")


def write(program: Program, content: object) -> None:
    """Put another file in the place of the configuration, in one step."""
    new = program.log.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2))
    new.replace(file_of(program))


async def reload(program: Program, content: object) -> None:
    """Exchange the file, send SIGHUP, and wait until the log says how it went."""
    before = len(hangups(program))
    write(program, content)
    program.process.send_signal(signal.SIGHUP)
    with anyio.fail_after(15):
        while len(hangups(program)) == before:
            await anyio.sleep(0.02)


def hangups(program: Program) -> list[dict[str, Any]]:
    """Return what became of each SIGHUP so far."""
    return [line for event in ("reloaded", "reload refused") for line in program.events(event) if "SIGHUP" in line["by"]]


async def open_echo(program: Program, origin: Address) -> Connection:
    """Open a flow to a target that echoes, and see that it does."""
    connection = await connect(program.address, origin, ("ann", "one"))
    connection.writer.write(b"e")
    await check_echo(connection)
    return connection


async def check_echo(connection: Connection) -> None:
    """Send something, and see that it comes back."""
    text = os.urandom(20)
    connection.writer.write(text)
    assert await asyncio.wait_for(connection.reader.readexactly(len(text)), 10) == text


async def test_flows_go_on_over_an_upstream_that_is_gone_and_new_ones_never_use_it(start: StartProgram, origin: Address) -> None:
    program = await start("client", config())
    old = await open_echo(program, origin)
    pool = {"health": {"interval": "2s"}}
    await reload(program, config(upstreams={"two": DIRECT}, pools={"main": pool}, frontends={"local": {**SOCKS, "users": ANN | BOB}}))
    line = await program.logged("reloaded")
    assert (line["level"], line["added"], line["removed"]) == ("info", ["/upstreams/two"], ["/upstreams/one"])
    assert line["changed"] == ["/frontends/local", "/pools/main"]
    await program.logged("upstream draining", upstream="one", flows=1)
    new = await open_echo(program, origin)  # at the same address
    assert await program.carriers(2) == ["one", "two"]
    await check_echo(old)
    assert not program.events("upstream closed")
    old.close()
    await program.logged("upstream closed", upstream="one")
    await check_echo(new)
    new.close()


async def test_a_bad_file_changes_nothing_and_each_problem_is_a_line(start: StartProgram, origin: Address) -> None:
    program = await start("client", config())
    connection = await open_echo(program, origin)
    await reload(program, {**config(upstreams={"two": DIRECT}), "pools": {"main": {"upstreams": ["three"]}}, "nonsense": 1})
    file = file_of(program)
    lines = program.events("reload refused")
    assert len(lines) == 2
    assert all(line["level"] == "error" for line in lines)
    assert [line["problem"].startswith(f"{file}:") and line["problem"].split(":")[2].isdigit() for line in lines] == [True, True]
    assert {line["problem"].split(": ")[1] for line in lines} >= {"/pools/main/upstreams/0"}
    await check_echo(connection)
    connection.close()
    (await open_echo(program, origin)).close()
    assert await program.carriers(2) == ["one", "one"]


async def test_a_port_in_use_changes_nothing(start: StartProgram, origin: Address) -> None:
    program = await start("client", config())
    taken, free = origin, Address("127.0.0.1", free_port())
    frontends = {"local": {**SOCKS, "listen": str(free)}, "other": {**SOCKS, "listen": str(taken)}}
    await reload(program, config(frontends=frontends, upstreams={"two": DIRECT}))
    line = await program.logged("reload refused")
    assert line["problem"] == f"cannot listen on {taken}: Address already in use"
    (await open_echo(program, origin)).close()
    assert await program.carriers(1) == ["one"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(free.host, free.port)


async def test_the_command_line_goes_over_the_file_after_a_reload_too(start: StartProgram) -> None:
    port = free_port()
    program = await start("client", config(), "--set", f"frontends.local.listen=127.0.0.1:{port}")
    await reload(program, config(drain_timeout="1s"))
    line = await program.logged("reloaded")
    assert line["changed"] == ["/drain_timeout"]
    assert program.address.port == port


def in_place(program: Program, text: str) -> None:
    """Write as `>` does."""
    file_of(program).write_text(text)


def rename_over(program: Program, text: str) -> None:
    """Write as most editors do."""
    new = program.log.with_suffix(".new")
    new.write_text(text)
    new.replace(file_of(program))


def swap_link(program: Program, text: str) -> None:
    """Write as the kubelet does with ConfigMaps: a link to the folder of all files is exchanged."""
    folder, link = program.log.parent, program.log.parent / "..data"
    new, old = folder / "..second", link.resolve()
    new.mkdir()
    (new / "client.yaml").write_text(text)
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").replace(link)
    (old / "client.yaml").unlink()
    old.rmdir()


@pytest.mark.parametrize("change", [in_place, rename_over, swap_link])
async def test_a_change_of_the_file_is_seen(start: StartProgram, origin: Address, tmp_path: Path, change: Callable[[Program, str], None]) -> None:
    if change is swap_link:
        (tmp_path / "..first").mkdir()
        (tmp_path / "..data").symlink_to("..first")
        (tmp_path / "client.yaml").symlink_to("..data/client.yaml")
    program = await start("client", config())
    change(program, json.dumps(config(upstreams={"two": DIRECT})))
    line = await program.logged("reloaded", by="file")
    assert line["removed"] == ["/upstreams/one"]
    (await open_echo(program, origin)).close()
    assert await program.carriers(1) == ["two"]
    in_place(program, "frontends: [")
    line = await program.logged("reload refused", by="file")
    assert line["problem"].startswith(f"{file_of(program)}:1:")


async def test_no_flow_notices_60_reloads(start: StartProgram, origin: Address, manager: ServiceManager) -> None:
    program = await start("client", config())
    proxy = program.address
    finished, going_on = 0, True

    async def load() -> None:
        nonlocal finished
        while going_on:
            connection = await connect(proxy, origin, ("ann", "one"))
            connection.writer.write(b"D" + SIZE.to_bytes(8, "big"))
            assert await connection.read_digest() == (SIZE, pattern_digest(SIZE))
            connection.close()
            finished += 1

    steady = [await open_echo(program, origin) for _ in range(5)]
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(load)
        for number in range(RELOADS):
            good = number % 2 == 0
            write(program, (good_config if good else bad_config)(number))
            program.process.send_signal(signal.SIGHUP)
            while not (await manager.told())[-1].startswith("STATUS=serving" if good else "STATUS=reload refused"):
                pass
            await check_echo(steady[number % 5])
        going_on = False
    assert finished >= RELOADS
    for connection in steady:
        await check_echo(connection)
        connection.close()
    assert "Traceback" not in program.log.read_text()
    assert not program.events("flow failed")


def good_config(number: int) -> dict[str, Any]:
    """Return one of three configurations that differ in everything."""
    return [
        config(upstreams={"two": DIRECT}, frontends={"local": {**SOCKS, "users": ANN | BOB}}),
        config(upstreams={"one": DIRECT, "two": DIRECT}, pools={"main": {"health": {"interval": "2s"}}}),
        config(),
    ][number // 2 % 3]


def bad_config(number: int) -> dict[str, Any]:
    """Return one of three configurations in which something else is wrong each."""
    return [
        config(upstreams={"two": DIRECT}, nonsense=1),
        config(upstreams={"two": DIRECT}, pools={"main": {"upstreams": ["three"]}}),
        config(upstreams={"two": DIRECT}, frontends={"other": {**SOCKS, "listen": f"192.0.2.1:{1000 + number}"}}),
    ][number // 2 % 3]
