"""Both halves against an implementation of others: the `websockets` library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from outline_lb.api import (
    Address,
    Buffer,
    ClientTls,
    Connector,
    GoingAwayError,
    ListenerDeps,
    PacketChannel,
    Secret,
    SecretUrl,
    SocketListener,
    Stream,
    StreamError,
    TransportDeps,
    UdpSocket,
)
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb_transport_ws_h1.listener import WsH1Listener
from outline_lb_transport_ws_h1.options import ConnectOptions, ListenOptions
from outline_lb_transport_ws_h1.transport import WsH1Transport


class Echo(RecordingSink):
    """Sends back what comes, the end too."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream
        stream.set_sink(self)
        stream.resume_reading()

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self.stream.write(data)

    def eof_received(self) -> None:
        super().eof_received()
        self.stream.write_eof()


class PacketEcho(RecordingPacketSink[bytes]):
    """Sends back what comes."""

    def __init__(self, channel: PacketChannel[bytes]) -> None:
        super().__init__()
        self.channel = channel
        channel.set_sink(self)

    def packets_received(self, packets: list[bytes]) -> None:
        super().packets_received(packets)
        self.channel.send(packets)


@contextlib.asynccontextmanager
async def client_of_ours(path: str = "/path", packets: list[PacketEcho] | None = None) -> AsyncIterator[tuple[ClientConnection, list[Echo]]]:
    """Their client, connected to our listener, which echoes."""
    options = ListenOptions(Address("127.0.0.1", 0), Secret("/path"), None, 10, packet_path=Secret("/packets"))
    listener = WsH1Listener(options, ListenerDeps(SocketListener, UdpSocket.bind))
    await listener.prepare()
    echoes: list[Echo] = []
    packet_echoes = [] if packets is None else packets
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, lambda stream: echoes.append(Echo(stream)), lambda channel: packet_echoes.append(PacketEcho(channel)))
            try:
                async with connect(f"ws://{listener.address}{path}", compression="deflate", proxy=None, max_size=None) as client:
                    yield client, echoes
            finally:
                tasks.cancel_scope.cancel()
    finally:
        await listener.close()


@contextlib.asynccontextmanager
async def our_client(handler: Callable[[ServerConnection], Coroutine[Any, Any, None]]) -> AsyncIterator[tuple[Stream, RecordingSink]]:
    """Our client, connected to their server."""
    async with serve(handler, "127.0.0.1", 0, compression="deflate") as server:
        host, port = server.sockets[0].getsockname()
        transport = WsH1Transport(ConnectOptions(ClientTls(), (), 10, None), TransportDeps(Connector()))
        await transport.prepare()
        stream, sink = await transport.stream_endpoint(SecretUrl(f"ws://{host}:{port}/path")).connect(), RecordingSink()
        stream.set_sink(sink)
        stream.resume_reading()
        yield stream, sink
        stream.abort()
        await wait_lost(sink)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_their_client_gets_everything_back() -> None:
    data = os.urandom(700_000)
    async with client_of_ours() as (client, echoes):
        await client.send(data)
        await client.send([data[:70_000], b"", data[70_000:70_001]])  # fragments
        await (await client.ping(b"alive?"))
        received = b""
        while len(received) < 770_001:
            message = await client.recv(decode=False)
            assert isinstance(message, bytes)
            received += message
        assert received == data + data[:70_001]
        await client.close()
        assert await wait_lost(echoes[0]) is None
        assert echoes[0].events == ["data", "eof", "lost"] or "pause" in echoes[0].events
        assert client.close_code == 1000


async def test_their_client_gets_its_packets_back_one_by_one() -> None:
    packets: list[PacketEcho] = []
    async with client_of_ours("/packets", packets) as (client, streams):
        assert streams == []
        for size in (1, 125, 126, 4089, 65_535):
            await client.send(data := os.urandom(size))
            assert await client.recv(decode=False) == data
            await client.send([data[: size // 2], b"", data[size // 2 :]])  # fragments
            assert await client.recv(decode=False) == data
        await (await client.ping(b"alive?"))
        await client.close()
        await packets[0].lost.wait()
        assert packets[0].error is None
        assert client.close_code == 1000


@pytest.mark.parametrize(("message", "code"), [("text", 1003), (b"", 1000), (bytes(70_000), 1009)])
async def test_their_client_sends_what_is_no_packet(message: str | bytes, code: int) -> None:
    async with client_of_ours("/packets") as (client, _):
        await client.send(message)
        await client.wait_closed()
        assert client.close_code == code


async def test_their_client_is_told_that_text_is_nothing_for_us() -> None:
    async with client_of_ours() as (client, _):
        await client.send("text")
        with pytest.raises(ConnectionClosedError) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_their_client_on_a_wrong_path() -> None:
    with pytest.RaisesGroup(InvalidStatus):
        async with client_of_ours("/other"):
            pass


async def test_our_client_gets_everything_back_from_their_server() -> None:
    data = os.urandom(1_500_000)
    async with our_client(echo) as (stream, sink):
        stream.write(data)
        assert await sink.received(len(data)) == data
        stream.write_eof()
        assert await wait_lost(sink) is None
        assert sink.events[-2:] == ["eof", "lost"]


async def test_our_client_answers_their_pings() -> None:
    answered = anyio.Event()

    async def ping(connection: ServerConnection) -> None:
        await (await connection.ping(b"alive?"))
        answered.set()
        await connection.wait_closed()

    async with our_client(ping) as (stream, _):
        with anyio.fail_after(5):
            await answered.wait()
        stream.close()


@pytest.mark.parametrize(("code", "error"), [(1000, None), (1011, "1011 ('no more')")])
async def test_our_client_tells_their_closes_apart(code: int, error: str | None) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send(b"bye")
        await connection.close(code, "no more")

    async with our_client(leave) as (stream, sink):
        await sink.ended.wait()
        assert sink.data == b"bye"
        assert ("eof" in sink.events) is (error is None)
        stream.write_eof()
        lost = await wait_lost(sink)
        assert lost is None if error is None else error in str(lost)


async def test_our_packets_come_back_from_their_server() -> None:
    async with serve(echo, "127.0.0.1", 0, compression="deflate", max_size=None) as server:
        host, port = server.sockets[0].getsockname()
        for limit, sizes in ((4088, [155] * 300), (4088, [1255] * 300), (65_600, [1, 65_600, 70] * 10)):
            transport = WsH1Transport(ConnectOptions(ClientTls(), (), 10, None, limit), TransportDeps(Connector()))
            await transport.prepare()
            channel = await transport.packet_endpoint(SecretUrl(f"ws://{host}:{port}/path")).connect()
            channel.set_sink(sink := RecordingPacketSink[bytes]())
            sent = [os.urandom(size) for size in sizes]
            channel.send(sent)
            assert await sink.received(len(sent)) == sent
            channel.close()
            await sink.lost.wait()
            assert sink.error is None


@pytest.mark.parametrize(("code", "error"), [(1000, None), (1001, GoingAwayError), (1011, StreamError)])
async def test_our_packets_tell_their_closes_apart(code: int, error: type[Exception] | None) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send(b"bye")
        await connection.close(code, "no more")

    async with serve(leave, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        transport = WsH1Transport(ConnectOptions(ClientTls(), (), 10, None), TransportDeps(Connector()))
        await transport.prepare()
        channel = await transport.packet_endpoint(SecretUrl(f"ws://{host}:{port}/path")).connect()
        channel.set_sink(sink := RecordingPacketSink[bytes]())
        await sink.lost.wait()
        assert sink.packets == [b"bye"]
        assert type(sink.error) is (error or type(None))
