"""Our client over servers that are not ours: v2ray, Xray, and shadowsocks-libev plain and behind v2ray-plugin."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from client import connect
from conftest import StartProgram, free_port
from interop import ways
from interop.peer import CIPHERS, SECRET, Peers, TheirServer
from interop.shadowsocks_libev import SS_SERVER, SS_SERVER_PLUGIN
from interop.v2ray_peers import V2RAY_SERVER, XRAY_SERVER
from origin import pattern_digest

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

SERVERS = {"v2ray": V2RAY_SERVER, "xray": XRAY_SERVER, "ss-server": SS_SERVER, "ss-server-plugin": SS_SERVER_PLUGIN}

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> TheirServer:
    """Run with each server."""
    return SERVERS[request.param]


@pytest.fixture
async def our_client(start: StartProgram, peers: Peers, server: TheirServer, cipher: str) -> Program:
    """Start our client over their server."""
    port = free_port()
    server.start(peers, port, cipher)
    upstream = {**server.upstream(port, peers.tls), "cipher": cipher, "secret": SECRET}
    frontend = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("our-client", {"version": 1, "frontends": {"local": frontend}, "upstreams": {"theirs": upstream}})


async def test_sizes_from_one_byte_on_go_both_ways(our_client: Program, origin: Address) -> None:
    await ways.many_sizes(our_client.address, origin)


async def test_100_mb_go_both_ways(our_client: Program, origin: Address, tmp_path: Path) -> None:
    await ways.much_both_ways(our_client.address, Address("localhost", origin.port), tmp_path)


async def test_a_target_may_speak_first(our_client: Program, origin: Address) -> None:
    await ways.server_speaks_first(our_client.address, origin, half_close=False)


async def test_200_flows_at_once(our_client: Program, origin: Address) -> None:
    await ways.many_flows(our_client.address, Address("localhost", origin.port))


@pytest.mark.parametrize("server", [name for name, server in SERVERS.items() if not server.ends_at_our_end], indirect=True)
async def test_the_whole_answer_comes_after_our_end_where_it_does_not_wait_for_it(our_client: Program, origin: Address) -> None:
    size = 3 * ways.MEGABYTE
    connection = await connect(our_client.address, origin)
    connection.writer.write(b"D" + size.to_bytes(8, "big"))
    connection.writer.write_eof()  # with half_close: defer they hear of it last
    assert await connection.read_digest() == (size, pattern_digest(size))
    connection.close()


async def test_a_server_killed_under_load_cuts_its_flows_and_another_takes_over(
    start: StartProgram, peers: Peers, server: TheirServer, origin: Address
) -> None:
    port = free_port()
    killed = server.start(peers, port, CIPHERS[0])
    frontend = {
        "type": "outline-server",
        "listen": [{"type": "tcp", "address": "127.0.0.1:0"}],
        "keys": {"user": {"secret": SECRET}},
        "allow_private_targets": True,
    }
    other = await start("other", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    upstreams = {"theirs": {**server.upstream(port, peers.tls), "secret": SECRET}, "ours": {"tcp": f"tcp://{other.address}", "secret": SECRET}}
    pools = {"main": {"upstreams": ["theirs", {"name": "ours", "tier": 1}]}}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    client = await start("our-client", {"version": 1, "frontends": {"local": local}, "pools": pools, "upstreams": upstreams})
    running = [await connect(client.address, origin) for _ in range(8)]
    for connection in running:
        connection.writer.write(b"D" + (50 * ways.MEGABYTE).to_bytes(8, "big"))
        await connection.reader.readexactly(100_000)
    peers.kill(killed)
    for connection in running:
        # Of a process that was killed the kernel ends a connection in order, if nothing is left to read there: Shadowsocks alone cannot tell.
        with contextlib.suppress(ConnectionResetError) if server.end_is_in_order else pytest.raises(ConnectionResetError):
            size, _ = await connection.read_digest()
            assert size < ways.MEGABYTE * 50
        connection.close()
    again = await connect(client.address, origin)
    again.writer.write(b"D" + ways.MEGABYTE.to_bytes(8, "big"))
    assert await again.read_digest() == (ways.MEGABYTE, pattern_digest(ways.MEGABYTE))
    again.close()
    assert await client.carriers(9) == ["theirs"] * 8 + ["ours"]
