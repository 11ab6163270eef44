"""What every transport that has both halves must do. Subclass the suite, and say how the halves are made::

class TestConformance(StreamTransportSuite):
    def make_transport(self, deps: TransportDeps) -> StreamTransport:
        return MyTransport(Options(), deps)

    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        return MyListener(ListenerOptions(address), deps)

    def make_url(self, address: Address) -> SecretUrl:
        return SecretUrl(f"mine://{address}")
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import anyio
import pytest

from ...base.address import Address
from ...base.errors import AbortedError, Reason, StartError, StreamError, UpstreamError
from ...base.secret import SecretUrl
from ...base.stream import ROOM, Stream
from ...datapath.transport import Endpoint, Listener, ListenerDeps, StreamTransport, TransportDeps
from ...net.connector import Connector
from ...net.listener import SocketListener
from ...net.socket import name_of
from ...net.udp import UdpSocket
from ..streams import RecordingSink, wait_lost
from ..upstreams import closed_port

ANY_PORT: Final = Address("127.0.0.1", 0)
PATIENCE: Final = 20.0
"""Seconds that a test may take which should take a fraction of one."""
MUCH: Final = 5_000_000
"""Bytes that do not fit into the buffers on the way."""
TOO_MUCH: Final = 48_000_000
"""Bytes that nobody may keep for a peer that does not read, whatever the system's buffers are."""

first_sides = pytest.mark.parametrize("first", ["client", "server"])


@dataclass(slots=True)
class End:
    """One end of a connection: a stream, still paused, and its sink."""

    stream: Stream
    sink: RecordingSink = field(default_factory=RecordingSink)

    def __post_init__(self) -> None:
        self.stream.set_sink(self.sink)


class Rig:
    """A transport and a listener at work.

    :param endpoint: leads to the listener
    :param listener: prepared
    """

    def __init__(self, endpoint: Endpoint[Stream], listener: Listener) -> None:
        self.endpoint = endpoint
        self.listener = listener
        self.accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self.ends: list[End] = []
        self.stopped = anyio.Event()
        self._serving = anyio.CancelScope()

    async def serve(self) -> None:
        """Let the listener accept until `stop`."""
        with self._serving:
            await self.listener.serve(self.accepted.put_nowait, lambda channel: channel.close())
        self.stopped.set()

    def stop(self) -> None:
        """Let it accept no more."""
        self._serving.cancel()

    async def connect(self) -> tuple[End, End]:
        """Open a stream, and return both ends: the client's and the server's."""
        return self.end(await self.endpoint.connect()), self.end(await self.accepted.get())

    def end_all(self) -> None:
        """Stop, and abort the streams."""
        self.stop()
        for end in self.ends:
            end.stream.abort()

    def end(self, stream: Stream) -> End:
        """Return one end of a connection; it must hear that it is over before the test is."""
        self.ends.append(End(stream))
        return self.ends[-1]


class Pump(RecordingSink):
    """A sink that writes all of its data in parts of any size as soon as there is room, and then ends its direction."""

    def __init__(self, stream: Stream, data: bytes) -> None:
        super().__init__()
        self._stream = stream
        self._left = memoryview(data)
        self._sizes = random.Random(len(data))
        self._full = self._running = False

    def run(self) -> None:
        """Write as much as there is room for."""
        if self._running:
            return
        self._running = True
        while self._left and not self._full:
            size = self._sizes.choice((1, 3, 100, 2048, 5000, 16384, 70_000, 400_000))
            part, self._left = bytearray(self._left[:size]), self._left[size:]
            self._stream.write(memoryview(part))
            part[:] = b"\xee" * len(part)  # it was only borrowed
        self._running = False
        if not self._left:
            self._stream.write_eof()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._full = False
        self.run()


class StreamTransportSuite(ABC):
    """Behaviour that everything above relies on: the five rules of the data path, over real sockets."""

    @abstractmethod
    def make_transport(self, deps: TransportDeps) -> StreamTransport:
        """Return a new transport.

        :param deps: what it is built with
        """

    @abstractmethod
    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        """Return a new listener.

        :param deps: what it is built with
        :param address: where it listens
        """

    @abstractmethod
    def make_url(self, address: Address) -> SecretUrl:
        """Return the URL under which the transport finds the listener that is bound to an address."""

    @contextlib.asynccontextmanager
    async def endpoint(self, address: Address) -> AsyncIterator[Endpoint[Stream]]:
        """Prepare a transport, and give its endpoint for an address."""
        transport = self.make_transport(TransportDeps(Connector()))
        await transport.prepare()
        try:
            yield transport.stream_endpoint(self.make_url(address))
        finally:
            await transport.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Rig]:
        """Run both halves. Each stream must hear of its end, in every test."""
        listener = self.make_listener(ListenerDeps(SocketListener, UdpSocket.bind), ANY_PORT)
        await listener.prepare()
        try:
            with anyio.fail_after(PATIENCE):
                async with self.endpoint(listener.address) as endpoint, anyio.create_task_group() as tasks:
                    rig = Rig(endpoint, listener)
                    tasks.start_soon(rig.serve)
                    try:
                        yield rig
                    finally:
                        rig.end_all()
                    for end in rig.ends:
                        await wait_lost(end.sink)
        finally:
            await listener.close()

    @contextlib.asynccontextmanager
    async def pair(self, first: str = "client") -> AsyncIterator[tuple[End, End]]:
        """Connect, and give both ends, that of `first` first."""
        async with self.serving() as rig:
            client, server = await rig.connect()
            yield (client, server) if first == "client" else (server, client)

    # -- bytes

    async def test_carries_much_both_ways_at_once(self) -> None:
        async with self.serving() as rig:
            streams = [await rig.endpoint.connect(), await rig.accepted.get()]
            data = [random.Random(index).randbytes(MUCH) for index in range(2)]
            pumps = [Pump(stream, sent) for stream, sent in zip(streams, data, strict=True)]
            for stream, pump in zip(streams, pumps, strict=True):
                stream.set_sink(pump)
                stream.resume_reading()
                pump.run()
            for pump, sent in zip(pumps, reversed(data), strict=True):
                assert await wait_lost(pump, PATIENCE) is None
                assert pump.data == sent, "not what was sent"

    @first_sides
    async def test_carries_what_was_put_into_its_room(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            assert len(one.stream.room) >= ROOM
            two.stream.resume_reading()
            sent = b""
            for size in (1, 100, 5000, ROOM):
                data = os.urandom(size)
                sent += data
                one.stream.room[:size] = data
                one.stream.commit(size)
            assert await two.sink.received(len(sent)) == sent

    @first_sides
    async def test_is_born_paused(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            one.stream.write(b"early")
            one.stream.write_eof()
            await anyio.sleep(0.05)
            assert two.sink.events == []
            two.stream.resume_reading()
            assert two.sink.events == [], "resume_reading never calls the sink from inside"
            await two.sink.ended.wait()
            assert two.sink.data == b"early"

    @first_sides
    async def test_pausing_stops_the_deliveries(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            two.stream.resume_reading()
            one.stream.write(b"before")
            await two.sink.received(6)
            two.stream.pause_reading()
            two.stream.pause_reading()
            one.stream.write(b"after")
            await anyio.sleep(0.05)
            assert two.sink.data == b"before"
            two.stream.resume_reading()
            two.stream.resume_reading()
            assert await two.sink.received(11) == b"beforeafter"

    @first_sides
    async def test_what_is_there_comes_in_one_delivery(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            for _ in range(200):
                one.stream.write(bytes(100))
            await anyio.sleep(0.05)
            two.stream.resume_reading()
            await two.sink.received(20_000)
            assert len(two.sink.deliveries) <= 2, "one call for each wake-up, not for each unit of the protocol"

    async def test_server_may_speak_first(self) -> None:
        async with self.pair() as (client, server):
            server.stream.write(b"220 ready")
            client.stream.resume_reading()
            assert await client.sink.received(9) == b"220 ready"

    @first_sides
    async def test_writing_nothing_sends_nothing(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            two.stream.resume_reading()
            one.stream.write(b"")
            one.stream.write(b"x")
            assert await two.sink.received(1) == b"x"
            assert two.sink.events == ["data"]

    async def test_many_streams_do_not_mix(self) -> None:
        async with self.serving() as rig:
            clients = [rig.end(stream) for stream in await asyncio.gather(*[rig.endpoint.connect() for _ in range(30)])]
            servers = [rig.end(await rig.accepted.get()) for _ in clients]
            for index, client in enumerate(clients):
                client.stream.write(b"%03d" % index * 100)
            for server in servers:
                server.stream.resume_reading()
                data = await server.sink.received(300)
                assert data == data[:3] * 100
            assert {bytes(server.sink.data[:3]) for server in servers} == {b"%03d" % index for index in range(len(clients))}

    async def test_addresses_are_those_of_the_connection(self) -> None:
        async with self.serving() as rig:
            client, server = await rig.connect()
            assert client.stream.peer_address == server.stream.local_address == rig.listener.address
            assert server.stream.peer_address == client.stream.local_address

    # -- backpressure

    @first_sides
    async def test_writer_is_paused_while_the_peer_does_not_read(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            data, sent = random.Random(1).randbytes(64 * 1024), 0
            while "pause" not in one.sink.events and sent < TOO_MUCH:
                one.stream.write(data)
                sent += len(data)
                await asyncio.sleep(0)
            assert sent < TOO_MUCH, "pause_writing never came"
            two.stream.resume_reading()
            assert await two.sink.received(sent) == data * (sent // len(data))
            while one.sink.events[-1] != "resume":
                await anyio.sleep(0.001)

    # -- ends

    @first_sides
    async def test_directions_end_one_by_one(self, first: str) -> None:
        answer = os.urandom(300_000)
        async with self.pair(first) as (one, two):
            one.stream.resume_reading()
            two.stream.resume_reading()
            one.stream.write(b"question")
            one.stream.write_eof()
            one.stream.write_eof()
            await two.sink.ended.wait()
            assert two.sink.data == b"question"
            assert two.sink.events == ["data", "eof"]
            assert one.sink.events == []
            two.stream.write(answer)
            two.stream.write_eof()
            await one.sink.ended.wait()
            assert one.sink.data == answer
            assert await wait_lost(one.sink) is None
            assert await wait_lost(two.sink) is None

    @first_sides
    async def test_nothing_is_sent_after_the_end(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            two.stream.resume_reading()
            one.stream.write(b"last")
            one.stream.write_eof()
            one.stream.write(b"late")
            one.stream.commit(4)
            await two.sink.ended.wait()
            await anyio.sleep(0.02)
            assert two.sink.data == b"last"
            assert two.sink.events == ["data", "eof"]

    @first_sides
    async def test_abort_is_never_a_clean_end(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            two.stream.resume_reading()
            one.stream.write(b"data")
            await two.sink.received(4)
            cause = StreamError("the other side of it broke")
            one.stream.abort(cause)
            one.stream.write(b"late")
            assert one.sink.events == [], "connection_lost comes from the loop"
            assert await wait_lost(one.sink) is cause
            assert await wait_lost(two.sink) is not None
            assert "eof" not in two.sink.events

    async def test_abort_without_a_cause_has_one(self) -> None:
        async with self.pair() as (client, _):
            client.stream.abort()
            assert isinstance(await wait_lost(client.sink), AbortedError)

    @first_sides
    async def test_close_delivers_what_was_written(self, first: str) -> None:
        data = random.Random(2).randbytes(3_000_000)
        async with self.pair(first) as (one, two):
            one.stream.write(data)
            one.stream.close()
            one.stream.close()
            await anyio.sleep(0.02)
            two.stream.resume_reading()
            await two.sink.ended.wait()
            assert two.sink.data == data
            assert "eof" in two.sink.events
            two.stream.close()
            assert await wait_lost(one.sink) is None

    async def test_close_on_both_sides(self) -> None:
        async with self.pair() as ends:
            for end in ends:
                end.stream.resume_reading()
            for end in ends:
                end.stream.close()
            for end in ends:
                assert await wait_lost(end.sink) is None
                assert end.sink.data == b""

    # -- connecting and listening

    async def test_nobody_there_is_an_upstream_error(self) -> None:
        async with self.endpoint(closed_port()) as endpoint:
            with pytest.raises(UpstreamError) as caught, anyio.fail_after(PATIENCE):
                await endpoint.connect()
        assert caught.value.operation == "connect"
        assert caught.value.reason is Reason.REFUSED

    async def test_cancelling_leaves_nothing_open(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with self.endpoint(name_of(silent.getsockname())) as endpoint:
                before = os.listdir("/dev/fd")
                with anyio.move_on_after(0.1):
                    (await endpoint.connect()).abort()  # some have nothing to wait for
                await asyncio.sleep(0)
                assert os.listdir("/dev/fd") == before

    async def test_taken_port_stops_the_start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = name_of(other.getsockname())
            listener = self.make_listener(ListenerDeps(SocketListener, UdpSocket.bind), taken)
            with pytest.raises(StartError):
                await listener.prepare()
        await listener.prepare()
        assert listener.address == taken
        await listener.close()

    async def test_close_gives_the_port_back(self) -> None:
        listener = self.make_listener(ListenerDeps(SocketListener, UdpSocket.bind), ANY_PORT)
        await listener.prepare()
        address = listener.address
        await listener.close()
        again = self.make_listener(ListenerDeps(SocketListener, UdpSocket.bind), address)
        await again.prepare()
        await again.close()

    async def test_streams_outlive_the_serving(self) -> None:
        async with self.serving() as rig:
            client, server = await rig.connect()
            rig.stop()
            await rig.stopped.wait()
            server.stream.resume_reading()
            client.stream.write(b"still here")
            assert await server.sink.received(10) == b"still here"
