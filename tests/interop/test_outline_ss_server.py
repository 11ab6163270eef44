"""Our client with the real outline-ss-server (v1.9.2): as WebSocket and plain, and behind nginx and HAProxy with TLS."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from client import Connection, connect
from conftest import StartProgram, TlsFiles
from interop import ways
from interop.fronts import front
from interop.outline_ss_server import PATH, SECRET, RealServer, origin_at
from origin import pattern_digest

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

CIPHERS = ["chacha20-ietf-poly1305", "aes-256-gcm"]
WAYS = ["websocket", "plain", "nginx", "haproxy"]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def origin() -> Iterator[Address]:
    """Run an origin whose address is not private."""
    with origin_at("203.0.113.41") as address:
        yield address


@contextlib.contextmanager
def upstream(way: str, server: RealServer, cipher: str, folder: Path, tls: TlsFiles) -> Iterator[dict[str, Any]]:
    """Yield what our configuration says of a server that is reached in some way."""
    both = {"cipher": cipher, "secret": SECRET}
    if way == "plain":
        yield {"tcp": f"tcp://{server.plain}", **both}
    elif way == "websocket":
        yield {"tcp": f"ws://{server.web}{PATH}", **both}
    else:
        with front(way, server.web, folder / way, tls) as port:
            yield {"tcp": f"wss://localhost:{port}{PATH}", "transport": {"type": "ws-h1", "tls": {"ca": str(tls.ca)}}, **both}


def client_config(**upstreams: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a client with one tier for each upstream."""
    tiers = [{"name": name, "tier": tier} for tier, name in enumerate(upstreams)]
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return {"version": 1, "frontends": {"local": local}, "pools": {"main": {"upstreams": tiers}}, "upstreams": upstreams}


@pytest.fixture(params=[(way, cipher) for way in WAYS for cipher in CIPHERS], ids="-".join)
async def client(request: pytest.FixtureRequest, start: StartProgram, tls_files: TlsFiles, tmp_path: Path, origin: Address) -> AsyncIterator[Program]:
    """Start our client over the real server, in each way and with each cipher."""
    way, cipher = request.param
    server = RealServer.start(tmp_path, cipher)
    try:
        with upstream(way, server, cipher, tmp_path, tls_files) as real:
            yield await start("client", client_config(real=real))
    finally:
        server.stop()


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


async def is_cut(connection: Connection, size: int, clean: bool) -> bool:
    """Tell whether a load ends too early, and with a reset; `clean`: or perhaps as if it were complete.

    Shadowsocks by itself has no mark for the end of a direction: a connection that the kernel of a killed server ends between two chunks looks like
    one that the server has ended.
    """
    try:
        received, _ = await connection.read_digest()
    except ConnectionResetError:
        return True
    return clean and received < size - 100_000


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_killed_under_load_cuts_its_flows_and_another_takes_over(
    start: StartProgram, tls_files: TlsFiles, tmp_path: Path, origin: Address, way: str
) -> None:
    killed, other = RealServer.start(tmp_path, name="killed"), RealServer.start(tmp_path, name="other")
    try:
        with upstream(way, killed, CIPHERS[0], tmp_path, tls_files) as first, upstream("websocket", other, CIPHERS[0], tmp_path, tls_files) as second:
            client = await start("client", client_config(first=first, second=second))
            running = [await connect(client.address, origin) for _ in range(8)]
            for connection in running:
                connection.writer.write(b"D" + (200 * ways.MEGABYTE).to_bytes(8, "big"))
                await connection.reader.readexactly(100_000)
            killed.stop()
            for connection in running:
                assert await is_cut(connection, 200 * ways.MEGABYTE, clean=way == "plain")
                connection.close()
            again = await connect(client.address, origin)
            again.writer.write(b"D" + ways.MEGABYTE.to_bytes(8, "big"))
            assert await again.read_digest() == (ways.MEGABYTE, pattern_digest(ways.MEGABYTE))
            again.close()
            assert (await client.carriers(9))[-1] == "second"
    finally:
        killed.stop()
        other.stop()
