"""One direction ends and the other goes on: rows F25 and F26 of the fault matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest
from client import connect
from conftest import StartProgram, TlsFiles
from faults.bad_upstream import TARGET, config
from faults.network import server_config
from origin import PATTERN, pattern_digest

from outline_lb.base.address import Address
from outline_lb.datapath.cipher import ServerCipher
from outline_lb.testing.bad_server import BadServer, Close, Read, ReadAll, Send, Shadowsocks, Upgrade
from outline_lb.testing.program import Program

Record = Callable[..., None]
Clock = Callable[[], float]

SIZE = 10_000_000


@pytest.fixture
async def client(start: StartProgram, tls_files: TlsFiles) -> Program:
    """Start an Outline server over TLS, and a client."""
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    return await start("client", config(server.address, tls=tls_files))


async def test_f25_half_close_of_the_client_lets_10_mb_arrive(client: Program, origin: Address, record: Record, clock: Clock) -> None:
    connection = await connect(client.address, origin)
    connection.writer.write(b"D" + SIZE.to_bytes(8, "big"))
    connection.writer.write_eof()
    began = clock()
    with anyio.fail_after(50):
        assert await connection.read_digest() == (SIZE, pattern_digest(SIZE))
    record("10 MB after our end", clock() - began, "s")
    connection.close()
    assert (await client.logged("flow closed", received=SIZE)).get("error") is None


async def test_f25_half_close_after_10_mb_up_gets_the_answer(client: Program, origin: Address, record: Record, clock: Clock) -> None:
    connection = await connect(client.address, origin)
    began = clock()
    connection.writer.write(b"u")
    await connection.send_pattern(SIZE)
    connection.writer.write_eof()
    with anyio.fail_after(50):
        assert await connection.reader.read(-1) == bytes.fromhex(pattern_digest(SIZE))
    record("10 MB up and the answer", clock() - began, "s")
    connection.close()
    assert (await client.logged("flow closed", received=32)).get("error") is None


async def test_f26_half_close_of_the_target_lets_10_mb_arrive(client: Program, origin: Address, record: Record, clock: Clock) -> None:
    connection = await connect(client.address, origin)
    connection.writer.write(b"f")
    began = clock()
    with anyio.fail_after(10):
        assert await connection.reader.read(-1) == b""  # the target's end, before we sent anything
    await connection.send_pattern(SIZE)
    connection.writer.write_eof()
    assert (await client.logged("flow closed", sent=SIZE + 1)).get("error") is None
    count = 0
    with anyio.fail_after(30):
        while not count:  # the target may still be reading
            verdict = await connect(client.address, origin)
            verdict.writer.write(b"v")
            count = int.from_bytes(await verdict.reader.readexactly(8), "big")
            verdict.close()
            await asyncio.sleep(0.05)
    record("10 MB after the target's end", clock() - began, "s")
    assert count == SIZE
    connection.close()


async def test_f26_a_close_frame_of_the_server_ends_its_direction_only(start: StartProgram, cipher: ServerCipher, record: Record) -> None:
    script = (Upgrade(), Shadowsocks(cipher), Read(5), Send(b"bye"), Close(1000), ReadAll())
    async with BadServer(*script) as server:
        client = await start("client", config(server.address))
        connection = await connect(client.address, TARGET)
        connection.writer.write(b"hello")
        assert await connection.reader.read(-1) == b"bye"
        await connection.send_pattern(SIZE)
        connection.writer.write_eof()
        peer = server.visits[0]
        with anyio.fail_after(30):
            await peer.over.wait()
        assert bytes(peer.received) == b"hello" + (PATTERN * 10)[:SIZE]
        assert peer.close_codes == [1000]
        assert peer.trouble is None
        connection.close()
        record("bytes at the server after its Close", len(peer.received) - 5)
