"""Our client and our server with nginx and HAProxy with TLS between them, as servers are really set up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client import connect
from conftest import StartProgram, TlsFiles
from interop import ways
from interop.fronts import FRONTS, front

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

PATH = "/SECRET_PATH/tcp"
CIPHERS = ["chacha20-ietf-poly1305", "aes-256-gcm"]

pytestmark = pytest.mark.timeout(180)


async def start_server(start: StartProgram, cipher: str) -> Program:
    """Start our server, with a user."""
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "ws-h1", "address": "127.0.0.1:0", "path": PATH}],
        "keys": {"other": {"secret": "Secret1"}, "user": {"cipher": cipher, "secret": "Secret0"}},
        "allow_private_targets": True,
    }
    return await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})


async def start_client(start: StartProgram, port: int, cipher: str, tls: TlsFiles) -> Program:
    """Start our client over a front."""
    upstream = {
        "tcp": f"wss://localhost:{port}{PATH}",
        "transport": {"type": "ws-h1", "tls": {"ca": str(tls.ca)}},
        "cipher": cipher,
        "secret": "Secret0",
    }
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "upstreams": {"front": upstream}})


@pytest.fixture(params=[(kind, cipher) for kind in FRONTS for cipher in CIPHERS], ids="-".join)
async def client(request: pytest.FixtureRequest, start: StartProgram, tls_files: TlsFiles, tmp_path: Path) -> AsyncIterator[Program]:
    """Start our client, a front, and our server, with each cipher."""
    kind, cipher = request.param
    server = await start_server(start, cipher)
    with front(kind, server.address, tmp_path / kind, tls_files) as port:
        yield await start_client(start, port, cipher, tls_files)


async def test_it_carries_sizes_from_one_byte_on(client: Program, origin: Address) -> None:
    await ways.many_sizes(client.address, origin)


async def test_it_carries_100_mb_both_ways(client: Program, origin: Address, tmp_path: Path) -> None:
    await ways.much_both_ways(client.address, origin, tmp_path)


async def test_it_hears_a_server_that_speaks_first(client: Program, origin: Address) -> None:
    await ways.server_speaks_first(client.address, origin)


async def test_it_carries_200_flows_at_once(client: Program, origin: Address) -> None:
    await ways.many_flows(client.address, origin)


async def test_an_answer_may_begin_after_our_end(client: Program, origin: Address) -> None:
    await ways.we_end_first(client.address, origin)


async def test_we_may_go_on_after_the_targets_end(client: Program, origin: Address) -> None:
    await ways.they_end_first(client.address, origin)


@pytest.mark.parametrize("kind", FRONTS)
async def test_a_server_killed_under_load_cuts_its_flows(
    start: StartProgram, tls_files: TlsFiles, tmp_path: Path, origin: Address, kind: str
) -> None:
    server = await start_server(start, CIPHERS[0])
    with front(kind, server.address, tmp_path / kind, tls_files) as port:
        client = await start_client(start, port, CIPHERS[0], tls_files)
        running = [await connect(client.address, origin) for _ in range(8)]
        for connection in running:
            connection.writer.write(b"D" + (200 * ways.MEGABYTE).to_bytes(8, "big"))
            await connection.reader.readexactly(100_000)
        await server.kill()
        for connection in running:
            with pytest.raises(ConnectionResetError):
                await connection.read_digest()
            connection.close()
