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
    Reason,
    Resolver,
    SecretUrl,
    SocketAddress,
    SocketListener,
    Stream,
    TransportDeps,
    UpstreamError,
)
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb.testing.upstreams import closed_port
from outline_lb_transport_tcp.options import TransportOptions
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_stream_goes_to_host_and_port_and_ends_in_each_direction_alone(host: str) -> None:
    listener = SocketListener(Address(host, 0))
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    listener.start(accepted.set_result)
    client, server = RecordingSink(), RecordingSink()
    near = await connect(f"tcp://{listener.address}")
    far = await accepted
    near.set_sink(client)
    far.set_sink(server)
    near.resume_reading()
    far.resume_reading()
    near.write(b"question")
    near.write_eof()
    assert await server.received(100) == b"question"
    far.write(b"answer")
    far.write_eof()
    assert await wait_lost(client) is None
    assert await wait_lost(server) is None
    assert bytes(client.data) == b"answer"
    assert client.events == server.events == ["data", "eof", "lost"]
    listener.close()


async def test_nothing_is_delivered_before_it_is_asked_for() -> None:
    listener = SocketListener(Address("127.0.0.1", 0))
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    listener.start(accepted.set_result)
    stream, sink = await connect(f"tcp://{listener.address}"), RecordingSink()
    stream.set_sink(sink)
    (await accepted).write(b"server speaks first")
    await asyncio.sleep(0.02)
    assert sink.events == []
    stream.resume_reading()
    assert await sink.received(19) == b"server speaks first"
    for end in (stream, await accepted):
        end.abort()
    await wait_lost(sink)
    listener.close()


async def test_a_closed_port_is_a_refused_connection() -> None:
    with pytest.raises(UpstreamError, match=r"^connect: Connection refused$") as caught:
        await connect(f"tcp://{closed_port()}")
    assert (caught.value.operation, caught.value.reason) == ("connect", Reason.REFUSED)


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
