"""Packets of our client through servers that are not ours, as plain Shadowsocks: shadowsocks-libev, Xray and v2ray.

The real outline-ss-server: test_udp_outline_ss_server.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import StartProgram, free_port
from interop import udp_ways
from interop.peer import SECRET, Peers, TheirServer
from interop.shadowsocks_libev import SS_SERVER_PACKETS
from interop.v2ray_peers import V2RAY_SERVER_PACKETS, XRAY_SERVER_PACKETS
from udp_origin import udp_origin

from outline_lb.testing.program import Program

SERVERS = {"ss-server": SS_SERVER_PACKETS, "xray": XRAY_SERVER_PACKETS, "v2ray": V2RAY_SERVER_PACKETS}
SIZES = (1, 100, 1255, 1400)
"""Shadowsocks-libev has room for a packet of an Ethernet, v2ray and Xray for one of 2 KB."""
CONES = ["ss-server", "xray"]
"""Those that say who answered. v2ray says that it was the one who had been asked."""
Record = Callable[..., None]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> TheirServer:
    """Run with each server."""
    return SERVERS[request.param]


@pytest.fixture
async def client(start: StartProgram, peers: Peers, server: TheirServer, cipher: str) -> Program:
    """Start our client over their server."""
    port = free_port()
    server.start(peers, port, cipher)
    upstream = {"udp": f"udp://127.0.0.1:{port}", "cipher": cipher, "secret": SECRET}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "upstreams": {"theirs": upstream}})


async def test_packets_go_both_ways(client: Program, record: Record) -> None:
    async with udp_origin() as origin:
        await udp_ways.sizes(client.address, origin.address, SIZES)
        for count, size in udp_ways.SMALL_BURSTS:
            record(f"of {count} packets of {size} bytes at once", await udp_ways.count_burst(client.address, origin.address, count, size))
        await udp_ways.name(client.address, "localhost", origin)
    await udp_ways.many_targets(client.address, ["127.0.0.1"], at_once=5)
    udp_ways.assert_healthy(client)


@pytest.mark.parametrize("server", CONES, indirect=True)
async def test_somebody_who_was_not_asked_may_answer(client: Program) -> None:
    async with udp_origin() as origin:
        await udp_ways.full_cone(client.address, origin)
