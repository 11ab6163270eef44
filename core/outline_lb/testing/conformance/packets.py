"""What every transport that carries packets, and has both halves, must do. Subclass the suite, and say how the halves are made::

class TestPackets(PacketTransportSuite):
    answers = True  # as the endpoint says it
    tells_close = True
    smallest, largest = 1, 65507

    def make_transport(self, deps: TransportDeps) -> PacketTransport:
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
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import ClassVar, Final

import anyio
import pytest

from ...base.address import Address
from ...base.errors import Reason, StartError, UpstreamError
from ...base.packets import MAX_PACKET, PacketChannel
from ...base.secret import SecretUrl
from ...datapath.transport import Endpoint, Listener, ListenerDeps, PacketTransport, TransportDeps
from ...net.connector import Connector
from ...net.listener import SocketListener
from ...net.socket import name_of
from ...net.udp import UdpSocket
from ..clock import settle
from ..packets import RecordingPacketSink
from ..upstreams import closed_port

ANY_PORT: Final = Address("127.0.0.1", 0)
PATIENCE: Final = 20.0
"""Seconds that a test may take which should take a fraction of one."""
BATCH: Final = 50
"""Packets that fit into the buffers of every system on the way, if they are small."""

first_sides = pytest.mark.parametrize("first", ["client", "server"])


def closed_udp_port() -> Address:
    """Return an address of this machine where nobody takes datagrams."""
    sock = UdpSocket.bind(ANY_PORT)
    sock.close()
    return sock.address


@dataclass(slots=True)
class End:
    """One end of a channel, and its sink."""

    channel: PacketChannel[bytes]
    sink: RecordingPacketSink[bytes] = field(default_factory=RecordingPacketSink)

    def __post_init__(self) -> None:
        self.channel.set_sink(self.sink)

    async def received(self, count: int) -> list[bytes]:
        """Wait for so many packets, and return them; the next call begins with those that come after."""
        packets = await self.sink.received(count, PATIENCE)
        self.sink.batches.clear()
        return packets


class Rig:
    """A transport and a listener at work.

    :param endpoint: leads to the listener
    :param listener: prepared
    """

    def __init__(self, endpoint: Endpoint[PacketChannel[bytes]], listener: Listener) -> None:
        self.endpoint = endpoint
        self.listener = listener
        self.associated: asyncio.Queue[End] = asyncio.Queue()
        self.ends: list[End] = []
        self.stopped = anyio.Event()
        self._serving = anyio.CancelScope()

    async def serve(self) -> None:
        """Let the listener accept until `stop`."""
        with self._serving:
            await self.listener.serve(lambda stream: stream.abort(), lambda channel: self.associated.put_nowait(self.end(channel)))
        self.stopped.set()

    def stop(self) -> None:
        """Let it accept no more."""
        self._serving.cancel()

    async def connect(self) -> tuple[End, End]:
        """Open a channel, and return both ends: the client's and the server's. One packet has gone through, for some servers know by nothing else."""
        client = self.end(await self.endpoint.connect())
        client.channel.send([b"hello"])
        server = await self.associated.get()
        assert await server.received(1) == [b"hello"]
        return client, server

    def end_all(self) -> None:
        """Stop, and close the channels."""
        self.stop()
        for end in self.ends:
            end.channel.close()

    def end(self, channel: PacketChannel[bytes]) -> End:
        """Return one end of a channel; it must hear that it is over before the test is."""
        self.ends.append(End(channel))
        return self.ends[-1]


class PacketTransportSuite(ABC):
    """Behaviour that everything above relies on: the four rules of channels, over real sockets.

    How the transport differs from others:
    """

    answers: ClassVar[bool] = True
    """Whether connecting shows that the server is there (`Endpoint.answers`)."""
    tells_close: ClassVar[bool] = True
    """Whether one end hears that the other one was closed."""
    smallest: ClassVar[int] = 0
    """Bytes of the smallest packet that it carries: 0 or 1."""
    largest: ClassVar[int] = MAX_PACKET
    """Bytes of the largest packet that the halves carry as they are made here."""

    @abstractmethod
    def make_transport(self, deps: TransportDeps) -> PacketTransport:
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
        """Return the URL under which the transport finds the packet side of the listener that is bound to an address."""

    def listener(self, address: Address = ANY_PORT) -> Listener:
        """Return a listener, not prepared yet."""
        return self.make_listener(ListenerDeps(SocketListener, UdpSocket.bind), address)

    @contextlib.asynccontextmanager
    async def endpoint(self, address: Address) -> AsyncIterator[Endpoint[PacketChannel[bytes]]]:
        """Prepare a transport, and give its endpoint for an address."""
        transport = self.make_transport(TransportDeps(Connector()))
        await transport.prepare()
        try:
            yield transport.packet_endpoint(self.make_url(address))
        finally:
            await transport.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Rig]:
        """Run both halves. Each channel must hear of its end, in every test, and once."""
        listener = self.listener()
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
                        await end.sink.lost.wait()
                    await settle()  # what would be told twice is told now
        finally:
            await listener.close()

    @contextlib.asynccontextmanager
    async def pair(self, first: str = "client") -> AsyncIterator[tuple[End, End]]:
        """Connect, and give both ends, that of `first` first."""
        async with self.serving() as rig:
            client, server = await rig.connect()
            yield (client, server) if first == "client" else (server, client)

    # -- packets

    @first_sides
    async def test_each_packet_is_one_packet_whatever_its_size(self, first: str) -> None:
        sizes = [size for size in (0, 1, 2, 512, 1400, 4088, 4089, 16384, 65000) if self.smallest <= size < self.largest]
        async with self.pair(first) as (one, two):
            for size in (*sizes, self.largest):
                data = os.urandom(size)
                one.channel.send([data])
                assert await two.received(1) == [data], size

    @first_sides
    async def test_a_batch_arrives_packet_by_packet(self, first: str) -> None:
        sizes = random.Random(1)
        sent = [bytes([number]) * sizes.randint(1, 300) for number in range(BATCH)]
        async with self.pair(first) as (one, two):
            one.channel.send(list(sent))
            assert Counter(await two.received(BATCH)) == Counter(sent)

    @first_sides
    async def test_what_is_there_comes_in_one_delivery(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            one.channel.send([bytes(100)] * BATCH)
            await two.sink.received(BATCH)
            assert len(two.sink.batches) <= 3, "one call for each wake-up, not for each packet"

    async def test_a_batch_that_was_sent_is_not_changed(self) -> None:
        async with self.pair() as (client, server):
            batch = [b"one", b"two", bytes(self.largest + 1)]
            client.channel.send(batch)
            await server.received(2)
            assert batch == [b"one", b"two", bytes(self.largest + 1)]

    async def test_both_directions_at_once(self) -> None:
        async with self.pair() as ends:
            sent = [[os.urandom(200) for _ in range(BATCH)] for _ in ends]
            for end, packets in zip(ends, sent, strict=True):
                end.channel.send(packets)
            for end, packets in zip(ends, reversed(sent), strict=True):
                assert Counter(await end.received(BATCH)) == Counter(packets)

    async def test_an_answer_may_be_sent_from_inside_the_delivery(self) -> None:
        class Echo(RecordingPacketSink[bytes]):
            def packets_received(self, packets: list[bytes]) -> None:
                server.channel.send(packets)

        async with self.pair() as (client, server):
            server.channel.set_sink(echo := Echo())
            for number in range(20):
                client.channel.send([b"%d" % number])
                assert await client.received(1) == [b"%d" % number]
            server.channel.close()
            await echo.lost.wait()
            server.sink.lost.set()  # it was the other sink that heard of it

    @first_sides
    async def test_a_packet_that_is_too_large_is_dropped_and_nothing_else(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            one.channel.send([b"before", bytes(self.largest + 1), b"after"])
            assert Counter(await two.received(2)) == Counter([b"before", b"after"])
            one.channel.send([b"later"])
            assert await two.received(1) == [b"later"]
            assert not one.sink.lost.is_set()

    async def test_channels_do_not_mix(self) -> None:
        async with self.serving() as rig:
            clients = [rig.end(channel) for channel in await asyncio.gather(*[rig.endpoint.connect() for _ in range(30)])]
            for index, client in enumerate(clients):
                client.channel.send([b"%d" % index] * 3)
            servers = [await rig.associated.get() for _ in clients]
            for server in servers:
                packets = await server.received(3)
                assert len(set(packets)) == 1
                server.channel.send(packets[:1])
            for index, client in enumerate(clients):
                assert await client.received(1) == [b"%d" % index]
            assert rig.associated.empty()

    async def test_the_server_knows_where_a_channel_comes_from(self) -> None:
        async with self.pair() as (_, server):
            assert server.channel.peer_address is not None
            assert server.channel.peer_address.host == ANY_PORT.host

    async def test_staying_alive_needs_no_traffic_of_ours(self) -> None:
        async with self.pair() as (client, server):
            for doubt in (False, True):
                client.channel.keep_alive(doubt)
                server.channel.keep_alive(doubt)
            await settle()
            client.channel.send([b"still here"])
            assert await server.received(1) == [b"still here"]
            assert client.sink.packets == []

    # -- sinks and ends

    @first_sides
    async def test_what_comes_goes_to_the_sink_of_the_moment(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            later: RecordingPacketSink[bytes] = RecordingPacketSink()
            two.channel.set_sink(later)
            one.channel.send([b"later"])
            assert await later.received(1) == [b"later"]
            assert two.sink.packets == []
            two.channel.set_sink(two.sink)

    @first_sides
    async def test_close_is_an_end_without_a_cause_and_comes_from_the_loop(self, first: str) -> None:
        async with self.pair(first) as (one, _):
            one.channel.close()
            one.channel.close()
            assert not one.sink.lost.is_set()
            await one.sink.lost.wait()
            assert one.sink.error is None

    @first_sides
    async def test_close_is_clean_for_the_other_end_or_unknown_to_it(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            one.channel.close()
            await one.sink.lost.wait()
            assert one.sink.error is None
            if self.tells_close:
                await two.sink.lost.wait()
                assert two.sink.error is None
            else:
                await settle()
                assert not two.sink.lost.is_set()

    @first_sides
    async def test_close_sends_what_was_taken(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            one.channel.send([b"last words"] * 10)
            one.channel.close()
            assert await two.received(10) == [b"last words"] * 10

    @first_sides
    async def test_after_close_nothing_comes_and_nothing_goes(self, first: str) -> None:
        async with self.pair(first) as (one, two):
            two.channel.send([b"under way"])
            one.channel.close()
            one.channel.send([b"late"])
            await one.sink.lost.wait()
            one.channel.send([b"too late"])
            one.channel.keep_alive(True)
            await settle()
            assert one.sink.packets == two.sink.packets == []

    @first_sides
    async def test_closing_from_inside_a_delivery(self, first: str) -> None:
        class Closing(RecordingPacketSink[bytes]):
            def packets_received(self, packets: list[bytes]) -> None:
                super().packets_received(packets)
                two.channel.close()

        async with self.pair(first) as (one, two):
            two.channel.set_sink(sink := Closing())
            one.channel.send([b"first"])
            await sink.lost.wait()
            assert sink.error is None
            one.channel.send([b"second"])
            await settle()
            assert sink.packets == [b"first"]
            two.sink.lost.set()  # it was the other sink that heard of it

    @first_sides
    async def test_an_end_that_nobody_heard_of_is_told_to_the_next_sink(self, first: str) -> None:
        async with self.pair(first) as (one, _):
            one.channel.close()
            await one.sink.lost.wait()
            late: RecordingPacketSink[bytes] = RecordingPacketSink()
            one.channel.set_sink(late)
            assert not late.lost.is_set()
            await late.lost.wait()
            assert late.error is None

    @first_sides
    async def test_an_end_that_is_under_way_is_told_to_the_sink_of_that_moment(self, first: str) -> None:
        async with self.pair(first) as (one, _):
            one.channel.close()
            late: RecordingPacketSink[bytes] = RecordingPacketSink()
            one.channel.set_sink(late)
            await late.lost.wait()
            await settle()
            assert not one.sink.lost.is_set()
            one.sink.lost.set()  # it was the other sink that heard of it

    # -- connecting and listening

    async def test_the_endpoint_says_whether_its_server_answers(self) -> None:
        async with self.endpoint(closed_port()) as endpoint:
            assert endpoint.answers is self.answers

    async def test_nobody_there(self) -> None:
        nobody = closed_port() if self.answers else closed_udp_port()
        async with self.endpoint(nobody) as endpoint:
            with anyio.fail_after(PATIENCE):
                if self.answers:
                    with pytest.raises(UpstreamError) as caught:
                        await endpoint.connect()
                    assert caught.value.operation == "connect"
                    assert caught.value.reason is Reason.REFUSED
                    return
                end = End(await endpoint.connect())
                end.channel.send([b"anybody?"])
                await end.sink.lost.wait()
                assert isinstance(end.sink.error, ConnectionRefusedError)

    async def test_cancelling_leaves_nothing_open(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with self.endpoint(name_of(silent.getsockname())) as endpoint:
                before = os.listdir("/dev/fd")
                with anyio.move_on_after(0.1):
                    End(await endpoint.connect()).channel.close()  # some have nothing to wait for
                await settle()
                assert os.listdir("/dev/fd") == before

    async def test_a_listener_that_was_closed_gives_the_port_back(self) -> None:
        listener = self.listener()
        await listener.prepare()
        address = listener.address
        await listener.close()
        again = self.listener(address)
        await again.prepare()
        await again.close()

    async def test_a_taken_port_stops_the_start(self) -> None:
        other = self.listener()
        await other.prepare()
        before = os.listdir("/dev/fd")
        listener = self.listener(other.address)
        with pytest.raises(StartError):
            await listener.prepare()
        assert os.listdir("/dev/fd") == before
        await other.close()
        await listener.prepare()
        await listener.close()

    @first_sides
    async def test_channels_outlive_the_serving(self, first: str) -> None:
        async with self.serving() as rig:
            client, server = await rig.connect()
            rig.stop()
            await rig.stopped.wait()
            one, two = (client, server) if first == "client" else (server, client)
            one.channel.send([b"still here"])
            assert await two.received(1) == [b"still here"]

    async def test_nothing_is_left(self) -> None:
        tasks, before = asyncio.all_tasks(), os.listdir("/dev/fd")
        async with self.serving() as rig:
            for _ in range(50):
                client, server = await rig.connect()
                server.channel.send([b"answer"])
                await client.received(1)
        await settle()
        assert asyncio.all_tasks() == tasks
        assert os.listdir("/dev/fd") == before
