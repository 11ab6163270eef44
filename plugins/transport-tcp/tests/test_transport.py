from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outline_lb.api import (
    Address,
    AddressError,
    Connector,
    Listener,
    ListenerDeps,
    PacketChannel,
    Reason,
    Resolver,
    SecretUrl,
    SocketAddress,
    SocketListener,
    Stream,
    StreamTransport,
    TransportDeps,
    UpstreamError,
    Via,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.conformance.transport import StreamTransportSuite
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb_transport_tcp.listener import TcpListener
from outline_lb_transport_tcp.options import ListenerOptions, TransportOptions
from outline_lb_transport_tcp.transport import TcpTransport


class FakeResolver(Resolver):
    """Says what it was made with; None: nothing, ever."""

    def __init__(self, answer: list[SocketAddress] | OSError | None) -> None:
        self._answer = answer

    async def resolve(self, address: Address) -> list[SocketAddress]:
        if self._answer is None:
            await asyncio.Event().wait()
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer or []


def transport(resolver: Resolver | None = None, via: Via | None = None) -> TcpTransport:
    return TcpTransport(TransportOptions(connect_timeout=10), TransportDeps(Connector(via or Via(), resolver)))


async def connect(url: str, resolver: Resolver | None = None) -> Stream:
    return await transport(resolver).stream_endpoint(SecretUrl(url)).connect()


async def connect_packets(url: str, resolver: Resolver | None = None, via: Via | None = None) -> PacketChannel[bytes]:
    return await transport(resolver, via).packet_endpoint(SecretUrl(url)).connect()


@contextmanager
def black_hole() -> Iterator[Address]:
    """Provide an address that never answers: a listening socket whose queue is full."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())


class TestConformance(StreamTransportSuite):
    def make_transport(self, deps: TransportDeps) -> StreamTransport:
        return TcpTransport(TransportOptions(connect_timeout=10), deps)

    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        return TcpListener(ListenerOptions(address, udp=True), deps)

    def make_url(self, address: Address) -> SecretUrl:
        return SecretUrl(f"tcp://{address}")


async def test_an_ipv6_server() -> None:
    listener = SocketListener(Address("::1", 0))
    stream, sink = await connect(f"tcp://{listener.address}"), RecordingSink()
    assert stream.peer_address == listener.address
    stream.set_sink(sink)
    stream.abort()
    await wait_lost(sink)
    listener.close()


@pytest.mark.parametrize("answer", [[], socket.gaierror(socket.EAI_NONAME, "Name or service not known")])
async def test_a_name_that_nobody_knows(answer: list[SocketAddress] | OSError) -> None:
    with pytest.raises(UpstreamError, match=r"^resolve: ") as caught:
        await connect("tcp://server.test:8388", FakeResolver(answer))
    assert (caught.value.operation, caught.value.reason) == ("resolve", Reason.HOST_UNREACHABLE)


@pytest.mark.fake_clock
async def test_a_name_server_that_does_not_answer() -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(UpstreamError, match=r"^resolve: no answer within 10 s$") as caught:
        await connect("tcp://server.test:8388", FakeResolver(None))
    assert (caught.value.operation, caught.value.reason) == ("resolve", Reason.TIMEOUT)
    assert asyncio.get_running_loop().time() - started == pytest.approx(10)


@pytest.mark.fake_clock
async def test_a_server_that_does_not_answer() -> None:
    with black_hole() as address, pytest.raises(UpstreamError, match=r"^connect: no answer within 10 s$") as caught:
        await connect(f"tcp://{address}")
    assert (caught.value.operation, caught.value.reason) == ("connect", Reason.TIMEOUT)


@pytest.mark.fake_clock
async def test_the_timeout_is_for_all_addresses_together() -> None:
    started = asyncio.get_running_loop().time()
    with black_hole() as address, pytest.raises(UpstreamError, match="no answer within 10 s"):
        await connect("tcp://server.test:8388", FakeResolver([(socket.AF_INET, (address.host, address.port))] * 3))
    assert asyncio.get_running_loop().time() - started == pytest.approx(10)


async def test_giving_up_leaves_no_socket_behind() -> None:
    with black_hole() as address:
        task = asyncio.create_task(connect(f"tcp://{address}"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task  # a socket that is left open becomes a ResourceWarning, which is an error here


async def test_a_path_is_refused_without_showing_it() -> None:
    with pytest.raises(AddressError, match=r"a tcp:// URL has no path: write tcp://server\.test:8388$") as caught:
        await connect("tcp://server.test:8388/secret-path")
    assert "secret-path" not in str(caught.value)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("udp://server.test:8388", r"^udp://server\.test:8388/: streams go to a tcp:// URL: write tcp://server\.test:8388$"),
            ("tcp://server.test:8388/secret-path", r"^tcp://server\.test:8388/\*\*\*: a tcp:// URL has no path: write tcp://server\.test:8388$"),
        ],
    )
    def test_streams_go_to_tcp(self, url: str, message: str) -> None:
        with pytest.raises(AddressError, match=message):
            transport().stream_endpoint(SecretUrl(url))

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("tcp://[2001:db8::1]:8388", r"^tcp://\[2001:db8::1\]:8388/: packets go to a udp:// URL: write udp://\[2001:db8::1\]:8388$"),
            ("udp://server.test:8388/?secret", r"^udp://server\.test:8388/\*\*\*: a udp:// URL has no path: write udp://server\.test:8388$"),
        ],
    )
    def test_packets_go_to_udp(self, url: str, message: str) -> None:
        with pytest.raises(AddressError, match=message):
            transport().packet_endpoint(SecretUrl(url))


class TestPackets:
    async def test_go_to_the_first_address_that_there_is_a_way_to(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
            found: list[SocketAddress] = [(socket.AF_INET, ("255.255.255.255", port)), (socket.AF_INET, ("127.0.0.1", port))]
            channel = await connect_packets("udp://server.test:8388", FakeResolver(found))
            assert channel.peer_address == Address("127.0.0.1", port)
            channel.send([b"to the second"])
            server.settimeout(10)
            assert server.recv(100) == b"to the second"
            channel.close()

    async def test_no_way_to_any_address(self) -> None:
        found: list[SocketAddress] = [(socket.AF_INET, ("255.255.255.255", 8388))]  # where one may not just connect to
        with pytest.raises(UpstreamError, match=r"^connect: ") as caught:
            await connect_packets("udp://server.test:8388", FakeResolver(found * 2))
        assert caught.value.reason is Reason.NOT_ALLOWED

    async def test_a_source_that_is_not_ours(self) -> None:
        with pytest.raises(UpstreamError, match=r"^bind: Cannot assign requested address$"):
            await connect_packets("udp://127.0.0.1:8388", via=Via(source="192.0.2.1"))

    @pytest.mark.parametrize("answer", [[], socket.gaierror(socket.EAI_NONAME, "Name or service not known")])
    async def test_a_name_that_nobody_knows(self, answer: list[SocketAddress] | OSError) -> None:
        with pytest.raises(UpstreamError, match=r"^resolve: ") as caught:
            await connect_packets("udp://server.test:8388", FakeResolver(answer))
        assert (caught.value.operation, caught.value.reason) == ("resolve", Reason.HOST_UNREACHABLE)

    @pytest.mark.fake_clock
    async def test_a_name_server_that_does_not_answer(self) -> None:
        with pytest.raises(UpstreamError, match=r"^resolve: no answer within 10 s$"):
            await connect_packets("udp://server.test:8388", FakeResolver(None))

    async def test_what_comes_before_there_is_a_sink_waits_for_it(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            channel = await connect_packets(f"udp://127.0.0.1:{server.getsockname()[1]}")
            channel.send([b"hello"])
            server.settimeout(10)
            server.sendto(b"answer", server.recvfrom(100)[1])
            await settle()
            sink: RecordingPacketSink[bytes] = RecordingPacketSink()
            channel.set_sink(sink)
            assert await sink.received(1) == [b"answer"]
            channel.close()
