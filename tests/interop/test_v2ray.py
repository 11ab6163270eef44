"""v2ray 4.34 (Debian), Shadowsocks over WebSocket over TLS: our client to its server, its client to ours."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from client import connect, curl
from conftest import StartProgram, TlsFiles, free_port
from interop.v2ray import StartV2ray, client_config, server_config
from origin import pattern_digest

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

MEGABYTE = 1_000_000
CIPHERS = ["chacha20-ietf-poly1305", "aes-256-gcm"]


@pytest.fixture(params=CIPHERS)
def cipher(request: pytest.FixtureRequest) -> str:
    """Run with each cipher."""
    return str(request.param)


@pytest.fixture
async def our_client(start: StartProgram, start_v2ray: StartV2ray, tls_files: TlsFiles, cipher: str) -> Program:
    """Start our client over a v2ray server."""
    port = free_port()
    start_v2ray("server", server_config(port, cipher, tls_files.certificate, tls_files.key), port)
    upstream = {
        "tcp": f"wss://localhost:{port}/ray",
        "transport": {"type": "ws-h1", "tls": {"ca": str(tls_files.ca)}},
        "cipher": cipher,
        "secret": "Secret0",
        "half_close": "defer",
    }
    frontend = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": frontend}, "upstreams": {"v2ray": upstream}})


@pytest.fixture
async def their_client(start: StartProgram, start_v2ray: StartV2ray, tls_files: TlsFiles, cipher: str) -> Address:
    """Start a v2ray client over our server; return where it listens."""
    tls = {"certificate": str(tls_files.certificate), "key": str(tls_files.key)}
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "ws-h1", "address": "127.0.0.1:0", "path": "/ray", "tls": tls, "half_close": "defer"}],
        "keys": {"other": {"secret": "Secret1"}, "user": {"cipher": cipher, "secret": "Secret0"}},
        "allow_private_targets": True,
    }
    server = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    port = free_port()
    start_v2ray("client", client_config(port, server.address, cipher), port)
    return Address("127.0.0.1", port)


async def load_both_ways(proxy: Address, origin: Address, folder: Path) -> None:
    """Load 100 MB down and up with curl, and check the hashes."""
    size, through = 100 * MEGABYTE, ("--socks5-hostname", str(proxy))
    down = await curl(*through, f"http://localhost:{origin.port}/bytes/{size}", "-o", str(folder / "down"))
    assert down.code == 0, down.error
    with (folder / "down").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == pattern_digest(size)
    up = await curl(*through, f"http://localhost:{origin.port}/", "--data-binary", f"@{folder / 'down'}")
    assert (up.code, up.output.decode()) == (0, pattern_digest(size)), up.error


async def many_flows(proxy: Address, origin: Address) -> None:
    """Run 200 flows at once, and check their hashes."""

    async def flow(size: int) -> None:
        connection = await connect(proxy, Address("localhost", origin.port))
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        assert await connection.read_digest() == (size, pattern_digest(size))
        connection.close()

    await asyncio.gather(*(flow(100_000 + index) for index in range(200)))


async def test_our_client_loads_100_mb_both_ways(our_client: Program, origin: Address, tmp_path: Path) -> None:
    await load_both_ways(our_client.address, origin, tmp_path)


async def test_our_client_carries_200_flows_at_once(our_client: Program, origin: Address) -> None:
    await many_flows(our_client.address, origin)


async def test_our_client_gets_the_whole_answer_after_its_end_where_the_answer_does_not_wait_for_it(our_client: Program, origin: Address) -> None:
    connection = await connect(our_client.address, origin)
    connection.writer.write(b"D" + (3 * MEGABYTE).to_bytes(8, "big"))
    connection.writer.write_eof()  # v2ray would drop the answer if it heard of this now
    assert await connection.read_digest() == (3 * MEGABYTE, pattern_digest(3 * MEGABYTE))
    connection.close()


async def test_their_server_killed_under_load_cuts_its_flows_and_ours_takes_over(
    start: StartProgram, start_v2ray: StartV2ray, tls_files: TlsFiles, origin: Address
) -> None:
    port = free_port()
    killed = start_v2ray("server", server_config(port, CIPHERS[0], tls_files.certificate, tls_files.key), port)
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "tcp", "address": "127.0.0.1:0"}],
        "keys": {"user": {"secret": "Secret0"}},
        "allow_private_targets": True,
    }
    other = await start("other", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    upstreams = {
        "theirs": {"tcp": f"wss://localhost:{port}/ray", "transport": {"type": "ws-h1", "tls": {"ca": str(tls_files.ca)}}, "secret": "Secret0"},
        "ours": {"tcp": f"tcp://{other.address}", "secret": "Secret0"},
    }
    pools = {"main": {"upstreams": ["theirs", {"name": "ours", "tier": 1}]}}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    client = await start("client", {"version": 1, "frontends": {"local": local}, "pools": pools, "upstreams": upstreams})
    running = [await connect(client.address, origin) for _ in range(8)]
    for connection in running:
        connection.writer.write(b"D" + (50 * MEGABYTE).to_bytes(8, "big"))
        await connection.reader.readexactly(100_000)
    killed.kill()
    for connection in running:
        with pytest.raises(ConnectionResetError):
            await connection.read_digest()
        connection.close()
    again = await connect(client.address, origin)
    again.writer.write(b"D" + MEGABYTE.to_bytes(8, "big"))
    assert await again.read_digest() == (MEGABYTE, pattern_digest(MEGABYTE))
    again.close()
    assert client.events("flow opened")[-1]["upstream"] == "ours"


async def test_their_client_loads_100_mb_both_ways(their_client: Address, origin: Address, tmp_path: Path) -> None:
    await load_both_ways(their_client, origin, tmp_path)


async def test_their_client_carries_200_flows_at_once(their_client: Address, origin: Address) -> None:
    await many_flows(their_client, origin)
