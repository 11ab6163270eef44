"""Packets of clients that are not ours through our server, as plain Shadowsocks: shadowsocks-libev's ss-local, Xray and v2ray.

None of them has packets over WebSocket: a client for that is made of the ``websockets`` library here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import websockets
from conftest import StartProgram, free_port
from interop import udp_ways
from interop.outline_ss_server import PACKET_PATH
from interop.peer import CIPHERS, SECRET, Peers, TheirClient
from interop.shadowsocks_libev import SS_LOCAL_PACKETS
from interop.shadowsocks_packets import open_packet, seal_packet
from interop.v2ray_peers import V2RAY_CLIENT_PACKETS, XRAY_CLIENT_PACKETS
from origin import PATTERN
from udp_client import associated
from udp_origin import udp_origin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

CLIENTS = {"ss-local": SS_LOCAL_PACKETS, "xray": XRAY_CLIENT_PACKETS, "v2ray": V2RAY_CLIENT_PACKETS}
SIZES = (1, 100, 1255, 1400)
SECRETS = {"other": "Secret1", "ann": SECRET}
CONES = ["ss-local", "xray"]
"""Those that say who answered. v2ray says that it was the one who had been asked."""
Record = Callable[..., None]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> TheirClient:
    """Run with each client."""
    return CLIENTS[request.param]


async def start_server(start: StartProgram, cipher: str, allow_private_targets: bool = True) -> Program:
    """Start our server: plain Shadowsocks first, and WebSocket second."""
    listeners = [
        {"type": "tcp", "address": "127.0.0.1:0"},
        {"type": "ws-h1", "address": "127.0.0.1:0", "path": "/SECRET_PATH/tcp", "packet_path": PACKET_PATH},
    ]
    keys = {user: {"cipher": cipher, "secret": secret} for user, secret in SECRETS.items()}
    frontend = {"type": "outline-server", "listen": listeners, "keys": keys, "allow_private_targets": allow_private_targets}
    return await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})


def start_client(peers: Peers, client: TheirClient, server: Program, cipher: str, secret: str = SECRET) -> Address:
    """Start their client for a user of our server; return where it listens."""
    port = free_port()
    client.start(peers, port, server.address, cipher, secret)
    return Address("127.0.0.1", port)


async def test_packets_go_both_ways(start: StartProgram, peers: Peers, client: TheirClient, cipher: str, record: Record) -> None:
    server = await start_server(start, cipher)
    proxy = start_client(peers, client, server, cipher)
    async with udp_origin() as origin:
        await udp_ways.sizes(proxy, origin.address, SIZES)
        for count, size in udp_ways.SMALL_BURSTS:
            record(f"of {count} packets of {size} bytes at once", await udp_ways.count_burst(proxy, origin.address, count, size))
        async with associated(proxy) as association:
            assert await association.ask(Address("localhost", origin.address.port), b"by name") == b"by name"
    await udp_ways.many_targets(proxy, ["127.0.0.1"], at_once=5)
    assert {line["user"] for line in server.events("flow opened")} == {"ann"}
    udp_ways.assert_healthy(server)


@pytest.mark.parametrize("client", CONES, indirect=True)
async def test_somebody_who_was_not_asked_may_answer(start: StartProgram, peers: Peers, client: TheirClient) -> None:
    proxy = start_client(peers, client, await start_server(start, CIPHERS[0]), CIPHERS[0])
    async with udp_origin() as origin:
        await udp_ways.full_cone(proxy, origin)


async def test_who_has_no_key_hears_nothing(start: StartProgram, peers: Peers, client: TheirClient) -> None:
    server = await start_server(start, CIPHERS[0])
    proxy = start_client(peers, client, server, CIPHERS[0], "Guess")
    async with udp_origin() as origin, associated(proxy) as association:
        with pytest.raises(TimeoutError):
            await association.ask(origin.address, b"let me in", 1)
        assert origin.received == []
    assert server.events("flow opened") == []


async def test_private_targets_are_refused_unless_they_are_allowed(start: StartProgram, peers: Peers, client: TheirClient) -> None:
    proxy = start_client(peers, client, await start_server(start, CIPHERS[0], allow_private_targets=False), CIPHERS[0])
    async with udp_origin() as origin, associated(proxy) as association:
        with pytest.raises(TimeoutError):
            await association.ask(origin.address, b"let me in", 1)
        assert origin.received == []


def websocket_url(server: Program) -> str:
    """Return where packets go in over WebSocket."""
    return f"ws://{server.events('listening')[0]['addresses'][1]}{PACKET_PATH}"


async def test_a_client_over_websocket_sends_each_packet_as_a_message(start: StartProgram, cipher: str) -> None:
    server = await start_server(start, cipher)
    sizes = (0, 1, 1255, 4033, 20_000, 60_000)
    async with udp_origin() as origin, websockets.connect(websocket_url(server), max_size=None) as socket:
        for size in sizes:
            await socket.send(seal_packet(cipher, SECRET, origin.address, PATTERN[:size]))
            assert open_packet(cipher, SECRET, await answer(socket)) == (origin.address, PATTERN[:size])


async def test_messages_in_many_frames_are_one_packet_each(start: StartProgram, cipher: str) -> None:
    server = await start_server(start, cipher)
    async with udp_origin() as origin, websockets.connect(websocket_url(server)) as socket:
        sealed = seal_packet(cipher, SECRET, origin.address, PATTERN[:5000])  # Outline's clients break what is longer than 4,096 bytes
        await socket.send([sealed[:4096], sealed[4096:]])
        assert open_packet(cipher, SECRET, await answer(socket)) == (origin.address, PATTERN[:5000])
        await socket.send([sealed[at : at + 7] for at in range(0, len(sealed), 7)])
        await socket.ping()
        assert open_packet(cipher, SECRET, await answer(socket)) == (origin.address, PATTERN[:5000])


async def test_a_burst_over_websocket_arrives_whole(start: StartProgram, record: Record) -> None:
    server = await start_server(start, CIPHERS[0])
    for count, size in udp_ways.BURSTS:
        async with udp_origin() as origin, websockets.connect(websocket_url(server), max_queue=None) as socket:
            sent = udp_ways.packets(count, size)
            sealed = [seal_packet(CIPHERS[0], SECRET, origin.address, data) for data in sent]
            for message in sealed:
                await socket.send(message)
            came = {open_packet(CIPHERS[0], SECRET, await answer(socket))[1] for _ in sent}
            assert came == set(sent)
            record(f"of {count} packets of {size} bytes at once", len(came))


async def test_a_bad_first_packet_closes_and_a_later_one_does_not(start: StartProgram) -> None:
    server = await start_server(start, CIPHERS[0])
    async with udp_origin() as origin:
        good, bad = (seal_packet(CIPHERS[0], secret, origin.address, b"packet") for secret in (SECRET, "Guess"))
        async with websockets.connect(websocket_url(server)) as socket:
            await socket.send(bad)
            await asyncio.wait_for(socket.wait_closed(), 5)
            assert socket.close_code == 1000
        async with websockets.connect(websocket_url(server)) as socket:
            for message in (good, bad, bad, good):
                await socket.send(message)
            assert [open_packet(CIPHERS[0], SECRET, await answer(socket))[1] for _ in range(2)] == [b"packet"] * 2
        assert len(origin.received) == 2


async def answer(socket: websockets.ClientConnection) -> bytes:
    """Return the next message."""
    message = await asyncio.wait_for(socket.recv(), 10)
    assert isinstance(message, bytes)
    return message
