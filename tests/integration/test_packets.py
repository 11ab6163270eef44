"""Packets from a client's cipher over our transports to our server, and back: what it serves, and what it does with those who have no key."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import anyio
import pytest

from outline_lb.base.address import Address
from outline_lb.base.drops import Drops
from outline_lb.base.packets import Packet, PacketChannel
from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.datapath.carrier import Carrier
from outline_lb.datapath.frontend import Frontend, FrontendDeps
from outline_lb.datapath.transport import PacketTransport, TransportDeps
from outline_lb.datapath.tunnel import TunnelChannel
from outline_lb.net.connector import Connector
from outline_lb.net.listener import SocketListener
from outline_lb.net.udp import UdpSocket
from outline_lb.plugin.registration import ComponentSpec, Registration
from outline_lb.testing.dialers import EchoDialer
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb_cipher_aead import plugin as ciphers
from outline_lb_frontend_outline_server import plugin as frontends
from outline_lb_transport_tcp import plugin as tcp
from outline_lb_transport_ws_h1 import plugin as ws_h1

TARGET = Address("192.0.2.1", 443)
QUERY = Packet(Address("192.0.2.1", 53), b"query")
SECRETS = {"alice": "Secret0", "bob": "Secret1"}
PATIENCE = 20.0
"""Seconds that something may take which should take a fraction of one."""

TLS: dict[str, Any] = {"ca": None, "pins": [], "server_name": None, "insecure": False}
OURS: dict[str, tuple[ModuleType, str, dict[str, Any], dict[str, Any]]] = {
    "ws": (
        ws_h1,
        "ws-h1",
        {"path": Secret("/tcp"), "packet_path": Secret("/udp"), "tls": None, "handshake_timeout": "10s", "half_close": "close-frame"},
        {"tls": TLS, "headers": {}, "connect_timeout": "10s", "half_close": "close-frame", "packet_max_message": 4088},
    ),
    "udp": (tcp, "tcp", {"udp": True}, {"connect_timeout": "10s"}),
}
"""Scheme of a URL for packets: the plugin, its type, and options of its listener and of its transport."""

ways = pytest.mark.parametrize("way", OURS)


def registered(registrations: Iterable[Registration[Any, Any, Any]], name: str) -> Registration[Any, Any, Any]:
    [found] = (registration for registration in registrations if registration.type == name)
    return found


CIPHER = registered(ciphers.outline_lb_ciphers(), "chacha20-ietf-poly1305")
CIPHER_OPTIONS = CIPHER.parse({"replay_history": 0, "codec": "auto"})


@dataclass
class Server:
    """Our server, on one listener, in front of targets that send everything back."""

    way: str
    dialer: EchoDialer = field(default_factory=EchoDialer)
    frontend: Frontend = field(init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        module, name, listen, _ = OURS[self.way]
        listener = registered(module.outline_lb_listeners(), name)
        spec = ComponentSpec("listener", listener, listener.parse({"address": "127.0.0.1:0"} | listen))
        cipher = ComponentSpec("cipher", CIPHER, CIPHER_OPTIONS)
        keys = {user: {"cipher": cipher, "secret": Secret(secret)} for user, secret in SECRETS.items()}
        [server] = frontends.outline_lb_frontends()
        options = server.parse({"listen": [spec], "keys": keys, "allow_private_targets": False, "udp_timeout": "5m"})
        async with anyio.create_task_group() as tasks:
            self.frontend = server.build(options, FrontendDeps("server", self.dialer, Carrier(tasks), SocketListener, UdpSocket.bind))
            await self.frontend.prepare()
            tasks.start_soon(self.frontend.serve)
            try:
                yield
            finally:
                await self.frontend.close()
                tasks.cancel_scope.cancel()

    async def connect(self, secret: str = SECRETS["alice"]) -> tuple[PacketChannel[Packet], RecordingPacketSink[Packet]]:
        """Return a client's channel, and its sink."""
        module, name, _, connect = OURS[self.way]
        transport = registered(module.outline_lb_transports(), name)
        built = transport.build(transport.parse(connect), TransportDeps(Connector()))
        assert isinstance(built, PacketTransport)
        await built.prepare()
        url = SecretUrl(f"{self.way}://{self.frontend.addresses[0]}{'/udp' if self.way == 'ws' else ''}")
        codec = CIPHER.build(CIPHER_OPTIONS, None).client(Secret(secret), b"").packets()
        channel = TunnelChannel(await built.packet_endpoint(url).connect(), codec, Drops())
        sink = RecordingPacketSink[Packet]()
        channel.set_sink(sink)
        return channel, sink


@asynccontextmanager
async def closing(channel: PacketChannel[Packet], sink: RecordingPacketSink[Packet]) -> AsyncIterator[None]:
    """Close a channel at the end, and see it end."""
    try:
        yield
    finally:
        channel.close()
        with anyio.fail_after(PATIENCE):
            await sink.lost.wait()


@ways
async def test_packets_come_to_their_targets_and_back_in_the_name_of_their_user(way: str) -> None:
    server = Server(way)
    async with server.running():
        for secret in SECRETS.values():
            channel, sink = await server.connect(secret)
            async with closing(channel, sink):
                packets = [Packet(TARGET, os.urandom(size)) for size in (1, 1200, 4000)]
                for packet in packets:
                    channel.send([packet])
                    assert (await sink.received(len(sink.packets) + 1))[-1] == packet
    assert [(flow.user, flow.target, flow.public_only) for flow in server.dialer.flows] == [("alice", TARGET, True), ("bob", TARGET, True)]


@pytest.mark.parametrize("size", [155, 1255])
async def test_of_a_burst_of_300_packets_over_a_websocket_300_come_and_come_back(size: int) -> None:
    server = Server("ws")
    packets = [Packet(TARGET, random.Random(number).randbytes(size)) for number in range(300)]
    async with server.running():
        channel, sink = await server.connect()
        async with closing(channel, sink):
            channel.send(packets)
            assert await sink.received(300, seconds=PATIENCE) == packets


@ways
async def test_who_has_no_key_is_not_answered_and_not_served(way: str) -> None:
    server = Server(way)
    async with server.running():
        channel, sink = await server.connect("another secret")
        channel.send([Packet(TARGET, b"hello")])
        if way == "ws":
            with anyio.fail_after(PATIENCE):
                await sink.lost.wait()  # at once
            assert sink.error is None, "1000"
        other, its_sink = await server.connect()
        async with closing(other, its_sink):
            other.send([Packet(TARGET, b"hello")])
            await its_sink.received(1)
        channel.close()
        await sink.lost.wait()
        assert sink.packets == []
    assert [flow.user for flow in server.dialer.flows] == ["alice"]


@ways
async def test_later_packets_of_another_key_are_dropped_and_the_association_lives(way: str) -> None:
    server = Server(way)
    foreign = CIPHER.build(CIPHER_OPTIONS, None).client(Secret(SECRETS["bob"]), b"").packets().seal([Packet(TARGET, b"foreign")])
    async with server.running():
        channel, sink = await server.connect()
        assert isinstance(channel, TunnelChannel)
        async with closing(channel, sink):
            channel.send([Packet(TARGET, b"one")])
            await sink.received(1)
            channel.lower.send(foreign)
            channel.send([Packet(TARGET, b"two")])
            assert [packet.data for packet in await sink.received(2)] == [b"one", b"two"]
    assert [flow.user for flow in server.dialer.flows] == ["alice"]


async def test_a_websocket_ends_with_the_answer_to_the_only_query() -> None:
    server = Server("ws")
    async with server.running():
        channel, sink = await server.connect()
        channel.send([QUERY])
        with anyio.fail_after(PATIENCE):
            await sink.lost.wait()
        assert sink.packets == [QUERY]
        assert sink.error is None
    assert server.dialer.channels[0].closed


@ways
async def test_the_end_of_the_server_ends_what_it_carries(way: str) -> None:
    server = Server(way)
    async with server.running():
        channel, sink = await server.connect()
        channel.send([Packet(TARGET, b"hello")])
        await sink.received(1)
        await server.frontend.close()
        with anyio.fail_after(PATIENCE):
            while not server.dialer.channels[0].closed:
                await anyio.sleep(0.01)
            if way == "ws":
                await sink.lost.wait()
        channel.close()
