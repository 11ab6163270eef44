"""The log from outside: an output that takes nothing stops no traffic, and debug lines tell the story of a connection."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from client import connect
from conftest import StartProgram, TlsFiles, free_port

from outline_lb.base.address import Address

PIPE_SIZE = 4096


def client_config(port: int, **more: Any) -> dict[str, Any]:
    """Return the configuration of a proxy that connects by itself."""
    frontends = {"local": {"type": "socks5", "listen": f"127.0.0.1:{port}"}}
    return {"version": 1, "frontends": frontends, "upstreams": {"internet": {"transport": "direct"}}, **more}


@asynccontextmanager
async def running(
    folder: Path, stderr: int | IO[bytes] | None, *command: str, form: str = "json"
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Address]]:
    """Run a proxy at level debug with this standard error, until it serves and then to the end of the context."""
    port = free_port()
    file = folder / "config.yaml"
    file.write_text(json.dumps(client_config(port)))
    file.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        *command, sys.executable, "-m", "outline_lb", "-c", str(file), "--log-level", "debug", "--log-format", form, stderr=stderr
    )
    try:
        for _ in range(200):
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
        yield process, Address("127.0.0.1", port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def use(proxy: Address, origin: Address, flows: int = 50) -> None:
    """Open flows and see that they work."""
    for _ in range(flows):
        connection = await connect(proxy, origin)
        connection.writer.write(b"e123")
        assert await asyncio.wait_for(connection.reader.readexactly(3), 10) == b"123"
        connection.close()


async def end(process: asyncio.subprocess.Process) -> None:
    """End it as a service manager does, and see that it ends well and soon."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert time.monotonic() - began < 5


async def test_traffic_goes_on_with_a_full_disk(tmp_path: Path, origin: Address) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with running(tmp_path, full) as (process, proxy):
        os.close(full)
        await use(proxy, origin)
        await end(process)


async def test_traffic_goes_on_with_a_closed_pipe(tmp_path: Path, origin: Address) -> None:
    reading, writing = os.pipe()
    async with running(tmp_path, writing) as (process, proxy):
        os.close(writing)
        assert os.read(reading, 1)
        os.close(reading)
        await use(proxy, origin)
        await end(process)


async def test_traffic_goes_on_without_any_standard_error(tmp_path: Path, origin: Address) -> None:
    async with running(tmp_path, None, "sh", "-c", 'exec "$@" 2>&-', "sh") as (process, proxy):
        await use(proxy, origin)
        await end(process)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return both ends of a small pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    yield reading, writing
    os.close(reading)


async def test_traffic_goes_on_with_a_pipe_that_nobody_reads(tmp_path: Path, origin: Address, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with running(tmp_path, writing) as (process, proxy):
        os.close(writing)
        await use(proxy, origin)
        await end(process)
        assert PIPE_SIZE - len(os.read(reading, 2 * PIPE_SIZE)) < 500, "was it full at all?"


async def test_nothing_is_lost_when_a_slow_reader_comes_back(tmp_path: Path, origin: Address, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    async with running(tmp_path, writing) as (process, proxy):
        os.close(writing)
        await use(proxy, origin)
        found = b""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(reading), "rb")
        )
        while found.count(b'"flow closed"') < 50:
            found += await asyncio.wait_for(reader.readline(), 10)
        await end(process)
        found += await reader.read()
        transport.close()
    events = [json.loads(line)["event"] for line in found.splitlines()]
    assert (events.count("flow opened"), events.count("flow closed"), events[-1]) == (50, 50, "stopped")


async def test_a_full_disk_that_has_room_again_says_how_many_lines_were_lost(tmp_path: Path, origin: Address) -> None:
    """A file size limit stands for the disk: raising it makes room."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        async with running(tmp_path, output, "sh", "-c", 'ulimit -S -f 8; exec "$@"', "sh") as (process, proxy):
            await use(proxy, origin)
            assert log.stat().st_size in {4096, 8192}
            output.truncate(0)
            output.seek(0)
            await use(proxy, origin, 1)
            await end(process)
    text = log.read_text()
    assert json.loads(text.splitlines()[1])["event"] == "log lines lost"
    assert json.loads(text.splitlines()[1])["lines"] > 10
    assert json.loads(text.splitlines()[-1])["event"] == "stopped"


async def test_debug_lines_tell_all_about_a_connection(start: StartProgram, origin: Address, tls_files: TlsFiles) -> None:
    tls = {"certificate": str(tls_files.certificate), "key": str(tls_files.key)}
    listener = {"type": "ws-h1", "address": "127.0.0.1:0", "path": "/S3CR3T-path", "tls": tls}
    frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": "S3CR3T-key"}}, "allow_private_targets": True}
    server = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    upstream = {
        "tcp": f"wss://localhost:{server.address.port}/S3CR3T-path",
        "transport": {"type": "ws-h1", "tls": {"ca": str(tls_files.ca)}},
        "secret": "S3CR3T-key",
    }
    config = {
        "version": 1,
        "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}},
        "pools": {"main": {"probes": [], "standby": 0}},
        "upstreams": {"far": upstream},
    }
    client = await start("client", config)
    connection = await connect(client.address, origin)
    connection.writer.write(b"e123")
    assert await connection.reader.readexactly(3) == b"123"
    connection.writer.write_eof()
    assert await connection.reader.read() == b""
    connection.close()
    closed = await client.logged("flow closed", upstream="far")
    assert (closed["sent"], closed["received"]) == (4, 3)
    url = f"wss://localhost:{server.address.port}/***"
    story = [line["event"] for line in map(json.loads, client.log.read_text().splitlines()) if url in line.values()]
    assert story == ["connecting", "TLS handshake done", "WebSocket opened", "WebSocket ended"]
    handshake, opened, ended = (client.events(event)[0] for event in story[1:])
    assert handshake["version"].startswith("TLSv1.")
    assert handshake["alpn"] == "http/1.1"
    assert opened["status"] == 101
    assert (ended["close_sent"], ended["close_received"]) == (1000, 1000)
    assert "error" not in ended
    await server.logged("WebSocket ended", close_sent=1000, close_received=1000)
    for program in (client, server):
        assert "S3CR3T" not in program.log.read_text()


async def test_rooms_can_be_shown_and_hidden(start: StartProgram, origin: Address) -> None:
    quiet = await start("quiet", client_config(0), "--log-level", "info,nte=debug")
    loud = await start("loud", client_config(0), "--log-level", "info,balancer=debug")
    for program in (quiet, loud):
        await use(program.address, origin, 1)
        await program.stop()
    assert (len(quiet.events("flow opened")), len(loud.events("flow opened"))) == (0, 1)
    [warning] = quiet.events("log level of an unknown room")
    assert warning["room"] == "nte"
    assert {"balancer", "net", "health", "socks5"} <= set(warning["known"])


def test_a_wrong_level_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "outline_lb", "--log-level", "info,net=loud"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False)
    assert ended.returncode == 2
    assert "'net=loud' is no level" in ended.stderr


async def test_what_strangers_say_does_not_control_the_terminal(tmp_path: Path) -> None:
    name = b"a\r\nlevel=error\x1b[2J\x00"
    with (tmp_path / "log").open("wb") as output:
        async with running(tmp_path, output, form="console") as (process, proxy):
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes([len(name)]) + name + b"\x00\x50")
            await reader.read()
            writer.close()
            await end(process)
    lines = (tmp_path / "log").read_bytes().decode().split("\n")
    [line] = [line for line in lines if "handshake refused" in line]
    assert "level=error" in line
    assert all(line.isprintable() for line in lines)
