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
    Reason,
    Resolver,
    SecretUrl,
    SocketAddress,
    SocketListener,
    Stream,
    StreamTransport,
    TransportDeps,
    UpstreamError,
)
from outline_lb.testing.conformance.transport import StreamTransportSuite
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


async def connect(url: str, resolver: Resolver | None = None) -> Stream:
    transport = TcpTransport(TransportOptions(connect_timeout=10), TransportDeps(Connector(resolver=resolver)))
    return await transport.stream_endpoint(SecretUrl(url)).connect_stream()


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
        return TcpListener(ListenerOptions(address), deps)

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
