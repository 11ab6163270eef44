from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from outline_lb.api import Address, Connector, ListenerDeps, PacketChannel, SecretUrl, SocketListener, StartError, Stream, UdpSocket
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.upstreams import closed_port
from outline_lb_transport_tcp import packets
from outline_lb_transport_tcp.listener import ATTEMPTS, TcpListener
from outline_lb_transport_tcp.options import ListenerOptions

DEPS = ListenerDeps(SocketListener, UdpSocket.bind)


async def prepared(address: str = "127.0.0.1:0", udp: bool = True) -> TcpListener:
    listener = TcpListener(ListenerOptions(Address.parse(address), udp), DEPS)
    await listener.prepare()
    return listener


async def test_listens_on_ipv6() -> None:
    listener = await prepared("[::1]:0")
    assert listener.address.host == "::1"
    assert listener.address.port > 0
    await listener.close()


async def test_who_is_not_served_waits_until_somebody_serves_again() -> None:
    listener, streams = await prepared(), asyncio.Queue[Stream]()
    task = asyncio.create_task(listener.serve(streams.put_nowait, lambda channel: channel.close()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    near = await Connector().connect(listener.address)
    await asyncio.sleep(0.02)
    assert streams.empty()
    task = asyncio.create_task(listener.serve(streams.put_nowait, lambda channel: channel.close()))
    far = await streams.get()
    assert far.peer_address == near.local_address
    for stream in (near, far):
        stream.abort()
    task.cancel()
    await asyncio.wait([task])
    await listener.close()


async def test_one_that_was_never_prepared_can_be_closed() -> None:
    await TcpListener(ListenerOptions(Address("127.0.0.1", 0), udp=True), DEPS).close()


def test_url_names_the_host_by_which_clients_reach_it() -> None:
    listener = TcpListener(ListenerOptions(Address("0.0.0.0", 8388), udp=True), DEPS)
    assert listener.url("server.example") == SecretUrl("tcp://server.example:8388")
    assert listener.url("2001:db8::1") == SecretUrl("tcp://[2001:db8::1]:8388")
    assert listener.packet_url("server.example") == SecretUrl("udp://server.example:8388")
    assert TcpListener(ListenerOptions(Address("0.0.0.0", 8388), udp=False), DEPS).packet_url("server.example") is None


class Clients:
    """What a listener tells of the channels that begin: each gets a sink at once."""

    def __init__(self) -> None:
        self.began: list[PacketChannel[bytes]] = []
        self.sinks: list[RecordingPacketSink[bytes]] = []

    def associated(self, channel: PacketChannel[bytes]) -> None:
        self.began.append(channel)
        self.sinks.append(RecordingPacketSink())
        channel.set_sink(self.sinks[-1])


@contextlib.asynccontextmanager
async def serving(listener: TcpListener, clients: Clients) -> AsyncIterator[None]:
    task = asyncio.create_task(listener.serve(lambda stream: stream.abort(), clients.associated))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.contextmanager
def client(listener: TcpListener) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in listener.address.host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((listener.address.host, listener.address.port))
        sock.settimeout(10)
        yield sock


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_packets_are_taken_at_the_same_port(host: str) -> None:
    listener, clients = await prepared(f"{host}:0"), Clients()
    async with serving(listener, clients):
        with client(listener) as one, client(listener) as two:
            for sock in (one, two, one):
                sock.send(b"from %d" % sock.getsockname()[1])
            await settle()
            assert [sink.packets for sink in clients.sinks] == [[b"from %d" % sock.getsockname()[1]] * count for sock, count in ((one, 2), (two, 1))]
            assert [channel.peer_address for channel in clients.began] == [Address(*sock.getsockname()[:2]) for sock in (one, two)]
            clients.began[1].send([b"answer", b"another"])
            assert [two.recv(100), two.recv(100)] == [b"answer", b"another"]
    await listener.close()


async def test_without_udp_there_is_none() -> None:
    listener = await prepared(udp=False)
    UdpSocket.bind(listener.address).close()
    async with serving(listener, Clients()):
        pass
    await listener.close()


class TakenPorts:
    """A system where somebody else has the first ports of UDP that are asked for."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.deps = ListenerDeps(SocketListener, self.bind_udp)

    def bind_udp(self, address: Address) -> UdpSocket:
        if self.left:
            self.left -= 1
            raise StartError(f"cannot listen on UDP {address}: Address already in use")
        return UdpSocket.bind(address)


@pytest.mark.parametrize(("address", "taken"), [("127.0.0.1:0", ATTEMPTS), (f"127.0.0.1:{closed_port().port}", 1)])
async def test_a_port_that_udp_cannot_have_is_not_kept_for_tcp(address: str, taken: int) -> None:
    before = os.listdir("/dev/fd")
    listener = TcpListener(ListenerOptions(Address.parse(address), udp=True), TakenPorts(taken).deps)
    with pytest.raises(StartError, match=r"^cannot listen on UDP "):
        await listener.prepare()
    assert os.listdir("/dev/fd") == before


async def test_of_the_ports_that_the_system_chooses_one_is_taken_that_is_free_for_both() -> None:
    before, ports = len(os.listdir("/dev/fd")), TakenPorts(ATTEMPTS - 1)
    listener = TcpListener(ListenerOptions(Address("127.0.0.1", 0), udp=True), ports.deps)
    await listener.prepare()
    assert ports.left == 0
    assert len(os.listdir("/dev/fd")) == before + 2
    await listener.close()


async def test_a_client_that_was_closed_begins_again() -> None:
    listener, clients = await prepared(), Clients()
    async with serving(listener, clients):
        with client(listener) as sock:
            sock.send(b"first")
            await clients_of(clients, 1)
            clients.began[0].close()
            clients.began[0].send([b"late"])
            sock.send(b"second")
            await clients_of(clients, 2)
            assert [sink.packets for sink in clients.sinks] == [[b"first"], [b"second"]]
            assert clients.sinks[0].lost.is_set()
            clients.began[1].send([b"answer"])
            assert sock.recv(100) == b"answer"
    await listener.close()


async def test_one_that_is_closed_at_once_gets_nothing() -> None:
    class Closing(Clients):
        def associated(self, channel: PacketChannel[bytes]) -> None:
            super().associated(channel)
            channel.close()

    listener, clients = await prepared(), Closing()
    async with serving(listener, clients):
        with client(listener) as sock:
            sock.send(b"first")
            await clients_of(clients, 1)
            await settle()
            assert clients.sinks[0].packets == []
            assert clients.sinks[0].error is None
    await listener.close()


async def test_for_one_client_too_many_the_one_that_was_silent_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_CLIENTS", 3)
    listener, clients = await prepared(), Clients()
    async with serving(listener, clients):
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(client(listener)) for _ in range(4)]
            for index in (0, 1, 2, 0, 3):
                socks[index].send(b"hello")
                await settle()
            assert [sink.lost.is_set() for sink in clients.sinks] == [False, True, False, False]
            assert clients.sinks[1].error is None
    await listener.close()


async def test_channels_outlive_the_serving_and_end_with_the_listener() -> None:
    listener, clients = await prepared(), Clients()
    with client(listener) as known, client(listener) as new:
        async with serving(listener, clients):
            known.send(b"hello")
            await clients_of(clients, 1)
        new.send(b"too late")
        known.send(b"still here")
        assert await clients.sinks[0].received(2) == [b"hello", b"still here"]
        clients.began[0].send([b"answer"])
        assert known.recv(100) == b"answer"
        await settle()
        assert len(clients.began) == 1
        await listener.close()
        await settle()
        assert clients.sinks[0].lost.is_set()
        assert clients.sinks[0].error is None
    UdpSocket.bind(listener.address).close()


async def clients_of(clients: Clients, count: int) -> None:
    async with asyncio.timeout(10):
        while len(clients.began) < count:
            await asyncio.sleep(0.001)
