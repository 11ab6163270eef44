"""Peers that hardly read, hardly send, or hold on for ever: rows F27 and F28 of the fault matrix, and threat T11."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

import anyio
import pytest
from client import Connection, connect
from conftest import StartProgram, TlsFiles
from faults.bad_upstream import TARGET, config, falls_to, good, greeted, until_quiet
from faults.network import server_config
from faults.traffic import download
from faults.usage import cpu_seconds, descriptors, resident
from origin import PATTERN
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.datapath.cipher import ServerCipher
from outline_lb.testing.bad_server import BadServer, Read, Shadowsocks, Stall, Upgrade
from outline_lb.testing.program import Program

Record = Callable[..., None]
Clock = Callable[[], float]

CLIENTS = 100
GIGABYTE = 1_000_000_000
FAST = 30_000_000
"""Bytes by which the rate of a fast client is measured."""


async def rate(proxy: Address, origin: Address) -> float:
    """Return the bytes per second that one fast client gets."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await download(proxy, origin, FAST)
    return FAST / (clock() - began)


async def slow_down(connections: list[Connection], rounds: int) -> None:
    """Read a kilobyte a second from each."""
    for _ in range(rounds):
        for connection in connections:
            with anyio.fail_after(10):
                await connection.reader.readexactly(1000)
        await asyncio.sleep(1)


async def narrow(proxy: Address, target: Address) -> Connection:
    """Connect with a reader that keeps nothing of its own."""
    connection = await connect(proxy, target)
    connection.reader._limit = 1000  # type: ignore[attr-defined]
    return connection


@pytest.mark.timeout(120)
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
async def test_f27_slow_readers_take_little_memory_and_no_speed(
    start: StartProgram, tls_files: TlsFiles, origin: Address, secured: bool, record: Record
) -> None:
    tls = tls_files if secured else None
    server = await start("server", server_config(Address("127.0.0.1", 0), tls))
    client = await start("client", config(server.address, tls=tls))
    alone = max([await rate(client.address, origin) for _ in range(3)])
    memory = resident(client)
    connections = [await narrow(client.address, origin) for _ in range(CLIENTS)]
    for connection in connections:
        connection.writer.write(b"D" + GIGABYTE.to_bytes(8, "big"))
    await slow_down(connections, rounds=5)
    grown, cpu = resident(client) - memory, cpu_seconds(client)
    await slow_down(connections, rounds=3)
    record("CPU meanwhile", (cpu_seconds(client) - cpu) / 3, "cores")
    beside = max([await rate(client.address, origin) for _ in range(3)])
    record("RSS growth for each of 100", grown / CLIENTS, "KB")
    record("rate of a fast client alone", alone / 1e6, "MB/s")
    record("its rate beside them", beside / alone, "of that")
    for connection in connections:
        connection.close()
    assert grown < CLIENTS * 256
    assert beside > 0.25 * alone  # half of it, on a quiet machine
    assert client.process.returncode is None


@pytest.mark.timeout(120)
async def test_f28_a_server_that_stops_reading_takes_little_memory_and_no_speed(
    start: StartProgram, cipher: ServerCipher, tls_files: TlsFiles, origin: Address, record: Record
) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), None))
    async with BadServer(Upgrade(), Shadowsocks(cipher), Read(1), Stall()) as bad:
        configuration = config(bad.address, server.address)
        configuration["frontends"]["beside"] = {"type": "socks5", "listen": "127.0.0.1:0", "to": "beside"}
        configuration["pools"]["beside"] = {"upstreams": ["two"]}
        configuration["pools"]["main"]["upstreams"] = ["one"]
        client = await start("client", configuration)
        (fast,) = [line["addresses"][0] for line in client.events("listening") if line["frontend"] == "beside"]
        proxy = Address.parse(fast)
        alone = max([await rate(proxy, origin) for _ in range(3)])
        memory, stuck = resident(client), 0
        connections = [await connect(client.address, TARGET) for _ in range(CLIENTS)]
        for connection in connections:
            stuck += await push(connection)
        grown = await until_quiet(lambda: resident(client) // 256) * 256 - memory
        beside = max([await rate(proxy, origin) for _ in range(3)])
        record("bytes that left each application", stuck / CLIENTS / 1e6, "MB")
        record("RSS growth for each of 100", grown / CLIENTS, "KB")
        record("rate of a fast client beside them", beside / alone, "of its own")
        for connection in connections:
            connection.writer.transport.abort()
        assert grown < CLIENTS * 256
        assert beside > 0.25 * alone


async def push(connection: Connection) -> int:
    """Send until nobody takes more, and return how much was taken by the system."""
    sock: socket.socket = connection.writer.get_extra_info("socket")
    descriptor, sent, refused = os.dup(sock.fileno()), 0, 0
    try:
        while refused < 20:
            try:
                sent += os.write(descriptor, PATTERN)
                refused = 0
            except BlockingIOError:
                refused += 1
                await asyncio.sleep(0.002)
    finally:
        os.close(descriptor)
    return sent


# -- T11


async def drip(address: Address, first: bytes, then: bytes, over: list[float]) -> None:
    """Send something, then a byte every half second; note how long the connection lasted."""
    clock = asyncio.get_running_loop().time
    reader, writer = await asyncio.open_connection(address.host, address.port)
    began = clock()
    ended = asyncio.ensure_future(reader.read(-1))
    try:
        writer.write(first)
        for index in range(100):
            writer.write(then[index : index + 1])
            await asyncio.wait({ended}, timeout=0.5)
            if ended.done():
                break
        assert ended.done(), "still held"
        with contextlib.suppress(ConnectionError):
            ended.result()
        over.append(clock() - began)
    finally:
        ended.cancel()
        writer.close()


HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(40)  # of 512 bytes
SLOW: dict[str, tuple[bytes, bytes]] = {
    "says nothing": (b"", b""),
    "greeting in bytes": (b"", b"\x05\xff" + bytes(range(100, 200))),
    "request in bytes": (b"\x05\x01\x00", b"\x05\x01\x00\x03\xff" + b"a" * 100),
}


@pytest.mark.timeout(120)
async def test_t11_slow_socks_clients_are_let_go_after_ten_seconds(start: StartProgram, cipher: ServerCipher, record: Record) -> None:
    async with BadServer(*good(cipher)) as server:
        client = await start("client", config(server.address))
        await held_and_let_go(client, client.address, SLOW, lambda: greeted(client.address), record)
        refused = await client.logged("handshake refused")
        assert refused["reason"] == "the handshake takes longer than 10 s"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
async def test_t11_slow_clients_of_our_server_are_let_go_after_ten_seconds(
    start: StartProgram, tls_files: TlsFiles, origin: Address, secured: bool, record: Record
) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files if secured else None))
    client = await start("client", config(server.address, tls=tls_files if secured else None))
    slow = {"says nothing": (b"", b""), "half a handshake": (HELLO, b"")}
    if not secured:
        slow = {"says nothing": (b"", b""), "a field in bytes": (b"GET /tcp HTTP/1.1\r\nX-Slow: ", b"a" * 100)}

    await held_and_let_go(server, server.address, slow, lambda: download(client.address, origin, 1000), record)


async def held_and_let_go(
    program: Program, address: Address, slow: dict[str, tuple[bytes, bytes]], use: Callable[[], Awaitable[object]], record: Record
) -> None:
    """Hold 20 connections of each kind, use the program meanwhile, and see all let go."""
    files, memory = await until_quiet(lambda: descriptors(program)), resident(program)
    over: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for first, then in slow.values():
            for _ in range(20):
                tasks.create_task(drip(address, first, then, over))
        for _ in range(5):
            await use()
            await asyncio.sleep(0.5)
        record("descriptors held", descriptors(program) - files)
    record("let go after", f"{min(over):.1f} to {max(over):.1f}", "s")
    record("RSS growth", resident(program) - memory, "KB")
    assert len(over) == 20 * len(slow)
    assert min(over) > 9
    assert max(over) < 20
    assert await falls_to(files, lambda: descriptors(program))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", ["-H", "-B", "-X"])
async def test_t11_slowhttptest_leaves_our_websocket_listener_available(start: StartProgram, origin: Address, attack: str, record: Record) -> None:
    slowhttptest = require_program("slowhttptest", "apt-get install slowhttptest")
    server = await start("server", server_config(Address("127.0.0.1", 0), None))
    client = await start("client", config(server.address))
    await download(client.address, origin, 1000)
    files, memory = await until_quiet(lambda: descriptors(server)), resident(server)
    window = ("-w", "10", "-y", "20", "-n", "2", "-z", "5", "-k", "3") if attack == "-X" else ("-i", "2", "-x", "24")
    process = await asyncio.create_subprocess_exec(
        *(slowhttptest, attack, "-c", "300", "-r", "100", "-l", "15", "-p", "3", *window, "-u", f"http://{server.address}/tcp"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = ""
    try:
        with anyio.move_on_after(10):
            while True:  # meanwhile
                await download(client.address, origin, 1000)
                await asyncio.sleep(0.3)
        record("RSS growth", resident(server) - memory, "KB")
        with anyio.fail_after(60):
            output = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    available = [line.split()[-1] for line in output.splitlines() if "service available" in line]
    record("service available", f"{sum('YES' in word for word in available)} of {len(available)} looks")
    assert available, output
    assert "NO" not in "".join(available), output
    assert await falls_to(files, lambda: descriptors(server))
