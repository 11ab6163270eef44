"""Clients that are not ours over our server: v2ray, Xray, and shadowsocks-libev's ss-local plain and with v2ray-plugin."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio
import pytest
from client import Connection, connect
from conftest import StartProgram, free_port
from interop import ways
from interop.peer import CIPHERS, SECRET, Peers, TheirClient
from interop.shadowsocks_libev import SS_LOCAL, SS_LOCAL_PLUGIN
from interop.v2ray_peers import V2RAY_CLIENT, XRAY_CLIENT
from origin import pattern_digest

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

CLIENTS = {"v2ray": V2RAY_CLIENT, "xray": XRAY_CLIENT, "ss-local": SS_LOCAL, "ss-local-plugin": SS_LOCAL_PLUGIN}
USERS = 100

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> TheirClient:
    """Run with each client."""
    return CLIENTS[request.param]


async def start_server(start: StartProgram, peers: Peers, client: TheirClient, cipher: str, allow_private_targets: bool = True) -> Program:
    """Start our server, with 100 users: 99 strangers and, the last that it tries, the one whose secret is `SECRET`."""
    keys = {f"stranger-{number}": {"cipher": cipher, "secret": f"Other{number}"} for number in range(USERS - 1)}
    frontend = {
        "type": "outline-server",
        "listen": [client.listener(peers.tls)],
        "keys": {**keys, "ann": {"cipher": cipher, "secret": SECRET}},
        "allow_private_targets": allow_private_targets,
    }
    return await start("our-server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})


def start_client(peers: Peers, client: TheirClient, server: Program, cipher: str, secret: str = SECRET) -> Address:
    """Start their client for a user of our server; return where it listens."""
    port = free_port()
    client.start(peers, port, server.address, cipher, secret)
    return Address("127.0.0.1", port)


@pytest.fixture
async def proxy(start: StartProgram, peers: Peers, client: TheirClient, cipher: str) -> Address:
    """Start their client over our server; return where it listens."""
    return start_client(peers, client, await start_server(start, peers, client, cipher), cipher)


async def ask(proxy: Address, target: Address, size: int) -> Connection:
    """Ask an origin for so many bytes."""
    connection = await connect(proxy, target)
    connection.writer.write(b"D" + size.to_bytes(8, "big"))
    return connection


async def test_sizes_from_one_byte_on_go_both_ways(proxy: Address, origin: Address) -> None:
    await ways.many_sizes(proxy, origin)


async def test_100_mb_go_both_ways(proxy: Address, origin: Address, tmp_path: Path) -> None:
    await ways.much_both_ways(proxy, Address("localhost", origin.port), tmp_path)


async def test_a_target_may_speak_first(proxy: Address, origin: Address) -> None:
    await ways.server_speaks_first(proxy, origin, half_close=False)


async def test_200_flows_at_once(proxy: Address, origin: Address) -> None:
    await ways.many_flows(proxy, Address("localhost", origin.port))


async def test_who_has_no_key_hears_nothing(start: StartProgram, peers: Peers, client: TheirClient, origin: Address) -> None:
    server = await start_server(start, peers, client, CIPHERS[0])
    proxy = start_client(peers, client, server, CIPHERS[0], "Guess")
    connection = await ask(proxy, origin, 1000)
    await server.logged("stream not served")
    with anyio.move_on_after(1) as silence:
        await connection.reader.read(1)
    assert silence.cancelled_caught, "an answer, or an end: either tells something"
    connection.close()
    assert server.events("flow opened") == []


async def test_private_targets_are_refused_unless_they_are_allowed(start: StartProgram, peers: Peers, client: TheirClient, origin: Address) -> None:
    server = await start_server(start, peers, client, CIPHERS[0], allow_private_targets=False)
    proxy = start_client(peers, client, server, CIPHERS[0])
    connection = await ask(proxy, origin, 1000)
    with contextlib.suppress(ConnectionResetError):  # so some of them tell of it
        assert await connection.reader.read() == b""
    connection.close()
    assert (await server.logged("flow failed"))["target"] == str(origin)


async def test_the_log_tells_users_apart(start: StartProgram, peers: Peers, client: TheirClient, origin: Address) -> None:
    server = await start_server(start, peers, client, CIPHERS[0])
    for secret in (SECRET, "Other7"):
        connection = await ask(start_client(peers, client, server, CIPHERS[0], secret), origin, 1000)
        assert await connection.read_digest() == (1000, pattern_digest(1000))
        connection.close()
    assert [flow["user"] for flow in server.events("flow opened")] == ["ann", "stranger-7"]
