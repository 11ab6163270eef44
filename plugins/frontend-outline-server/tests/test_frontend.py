from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from unittest import mock

import anyio
import pytest

from outline_lb.api import (
    AccessKey,
    Address,
    Carrier,
    Cipher,
    ComponentSpec,
    Dialer,
    Drops,
    Frontend,
    FrontendDeps,
    Listener,
    ListenerDeps,
    Network,
    Packet,
    PacketChannel,
    Secret,
    SecretUrl,
    SocketListener,
    SocketStream,
    StartError,
    Stream,
    TunnelChannel,
    TunnelStream,
    UdpSocket,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.conformance.frontend import ANY_PORT, PacketFrontendSuite
from outline_lb.testing.dialers import EchoDialer
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb_frontend_outline_server import frontend as module
from outline_lb_frontend_outline_server.frontend import OutlineServer
from outline_lb_frontend_outline_server.options import Key, Options

CipherSpec = Callable[[int], ComponentSpec[None, Cipher]]
UdpClient = Callable[[Address], PacketChannel[bytes]]
ListenerSpec = Callable[[Address], ComponentSpec[ListenerDeps, Listener]]
TARGET = Address("example.com", 443)


class TestConformance(PacketFrontendSuite):
    tells_end = False

    @pytest.fixture(autouse=True)
    def _parts(self, cipher: CipherSpec, listener: ListenerSpec, udp_client: UdpClient) -> None:
        self.cipher = cipher(1)
        self.listener = listener
        self.udp_client = udp_client

    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        return OutlineServer(Options((self.listener(listen),), {"alice": Key(self.cipher, Secret("x"))}), deps)

    async def open_flow(self, server: Address) -> Stream:
        stream = TunnelStream(SocketStream(await connect(server)), *self.cipher.build(None).client(Secret("x"), b"").stream(TARGET))
        stream.expect_data()
        return stream

    async def open_packets(self, server: Address) -> PacketChannel[Packet]:
        return TunnelChannel(self.udp_client(server), self.cipher.build(None).client(Secret("x"), b"").packets(), Drops())


@pytest.fixture
def make(cipher: CipherSpec, listener: ListenerSpec) -> Callable[..., OutlineServer]:
    def make(dialer: Dialer, carrier: Carrier, *addresses: Address) -> OutlineServer:
        options = Options(tuple(map(listener, addresses)), {"alice": Key(cipher(1), Secret("x"))})
        return OutlineServer(options, FrontendDeps("server", dialer, carrier, SocketListener, UdpSocket.bind))

    return make


@pytest.mark.parametrize("allowed", [False, True])
async def test_private_targets_are_for_those_who_allow_them(cipher: CipherSpec, listener: ListenerSpec, allowed: bool) -> None:
    def make(dialer: Dialer, carrier: Carrier) -> OutlineServer:
        options = Options((listener(ANY_PORT),), {"alice": Key(cipher(1), Secret("x"))}, allow_private_targets=allowed)
        return OutlineServer(options, FrontendDeps("server", dialer, carrier, SocketListener, UdpSocket.bind))

    async with serving(make, dialer := EchoDialer()) as frontend:
        with await connect(frontend.addresses[0]) as sock:
            room = memoryview(bytearray(1000))
            sock.send(room[: cipher(1).build(None).client(Secret("x"), b"").stream(TARGET)[0].seal_into(b"hello", room)])
            await receive(sock, 5)
    assert [flow.public_only for flow in dialer.flows] == [not allowed]


@contextlib.asynccontextmanager
async def serving(make: Callable[..., OutlineServer], dialer: Dialer, *addresses: Address) -> AsyncIterator[OutlineServer]:
    async with anyio.create_task_group() as tasks:
        frontend = make(dialer, Carrier(tasks), *addresses)
        await frontend.prepare()
        tasks.start_soon(frontend.serve)
        try:
            yield frontend
        finally:
            await frontend.close()
            tasks.cancel_scope.cancel()


async def connect(server: Address) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (server.host, server.port))
    return sock


async def receive(sock: socket.socket, size: int) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, size), 5)


async def test_all_listeners_serve_the_same_keys(make: Callable[..., OutlineServer], cipher: CipherSpec) -> None:
    async with serving(make, dialer := EchoDialer(), ANY_PORT, ANY_PORT) as frontend:
        assert len(set(frontend.addresses)) == 2
        for address in frontend.addresses:
            with await connect(address) as sock:
                sealer, opener = cipher(1).build(None).client(Secret("x"), b"").stream(TARGET)
                room = memoryview(bytearray(1000))
                sock.send(room[: sealer.seal_into(b"hello", room)])
                assert opener.feed(await receive(sock, 100)) == [b"hello"]
    assert [flow.user for flow in dialer.flows] == ["alice", "alice"]


async def test_nothing_is_bound_if_one_listener_cannot_be(cipher: CipherSpec, listener: ListenerSpec) -> None:
    bound: list[SocketListener] = []

    def bind(address: Address) -> SocketListener:
        bound.append(SocketListener(address))
        return bound[-1]

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address(*other.getsockname())
        options = Options((listener(ANY_PORT), listener(taken)), {"alice": Key(cipher(1), Secret("x"))})
        async with anyio.create_task_group() as tasks:
            frontend = OutlineServer(options, FrontendDeps("server", EchoDialer(), Carrier(tasks), bind, UdpSocket.bind))
            with pytest.raises(StartError, match=str(taken)):
                await frontend.prepare()
    [first] = bound
    SocketListener(first.address).close()  # its port is free again


async def test_the_oldest_stream_without_a_key_makes_room(make: Callable[..., OutlineServer]) -> None:
    with mock.patch.object(module, "MAX_WAITING", 2):
        async with serving(make, EchoDialer(), ANY_PORT) as frontend:
            with contextlib.ExitStack() as stack:
                socks = [stack.enter_context(await connect(frontend.addresses[0])) for _ in range(3)]
                assert await receive(socks[0], 1) == b""
                for sock in socks[1:]:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 0.05)


async def test_close_resets_the_streams_without_a_key(make: Callable[..., OutlineServer]) -> None:
    async with serving(make, EchoDialer(), ANY_PORT) as frontend:
        sock = await connect(frontend.addresses[0])
        sock.send(b"\1")
        await asyncio.sleep(0.05)
    with sock, pytest.raises(ConnectionResetError):
        await receive(sock, 1)


async def test_each_user_has_an_access_key_for_each_listener_with_a_url(
    cipher: CipherSpec, listener: ListenerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"alice": Key(cipher(1), Secret("x")), "bob": Key(cipher(2), Secret("y"))}
    async with anyio.create_task_group() as tasks:
        frontend = OutlineServer(
            Options((listener(ANY_PORT),), keys), FrontendDeps("server", EchoDialer(), Carrier(tasks), SocketListener, UdpSocket.bind)
        )
        assert list(frontend.access_keys("server.example")) == []
        monkeypatch.setattr(Listener, "url", lambda _, host: SecretUrl(f"tcp://{host}:8388"))
        url, packet_url = SecretUrl("tcp://server.example:8388"), SecretUrl("udp://server.example:8388")
        assert frontend.access_keys("server.example") == [AccessKey("alice", url, "toy", Secret("x")), AccessKey("bob", url, "toy", Secret("y"))]
        monkeypatch.setattr(Listener, "packet_url", lambda _, host: SecretUrl(f"udp://{host}:8388"))
        assert [key.packet_url for key in frontend.access_keys("server.example")] == [packet_url, packet_url]


@pytest.mark.parametrize("allowed", [False, True])
async def test_packets_are_carried_by_the_same_rules(cipher: CipherSpec, listener: ListenerSpec, udp_client: UdpClient, allowed: bool) -> None:
    def make(dialer: Dialer, carrier: Carrier) -> OutlineServer:
        options = Options((listener(ANY_PORT),), {"alice": Key(cipher(1), Secret("x"))}, allow_private_targets=allowed)
        return OutlineServer(options, FrontendDeps("server", dialer, carrier, SocketListener, UdpSocket.bind))

    async with serving(make, dialer := EchoDialer()) as frontend:
        client, sink = udp_client(frontend.addresses[0]), RecordingPacketSink[bytes]()
        client.set_sink(sink)
        sealed = cipher(1).build(None).client(Secret("x"), b"").packets().seal([Packet(TARGET, b"hello")])
        client.send(sealed)
        assert await sink.received(1) == sealed
        client.close()
    [flow] = dialer.flows
    assert (flow.network, flow.user, flow.target, flow.public_only) == (Network.UDP, "alice", TARGET, not allowed)


async def test_packets_end_with_the_frontend(make: Callable[..., OutlineServer], cipher: CipherSpec, udp_client: UdpClient) -> None:
    async with serving(make, dialer := EchoDialer(), ANY_PORT) as frontend:
        client, sink = udp_client(frontend.addresses[0]), RecordingPacketSink[bytes]()
        client.set_sink(sink)
        client.send(cipher(1).build(None).client(Secret("x"), b"").packets().seal([Packet(TARGET, b"hello")]))
        await sink.received(1)
        assert not dialer.channels[0].closed
        await frontend.close()
        await settle()
        assert dialer.channels[0].closed
        client.close()
