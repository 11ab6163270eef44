"""What every transport that dials targets itself must do, tried with real sockets on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Final

import anyio
import pytest

from ...base.address import Address
from ...base.dialer import PacketDialer, StreamDialer
from ...base.errors import DialError, Reason
from ...base.flow import Flow, Network
from ...base.packets import MAX_PACKET, Packet, PacketChannel
from ...datapath.transport import TransportDeps
from ...net.connector import Connector
from ...net.resolver import Resolver, SocketAddress
from ...net.udp import Datagram, UdpSocket
from ..clock import settle
from ..packets import RecordingPacketSink
from ..streams import RecordingSink, wait_lost

MANY: Final = 2_000_000
BATCH: Final = 50
"""Packets that fit into the buffers of every system, if they are small."""
NAME: Final = "example.test"
"""A name that leads to this machine; no other one leads anywhere."""


def flow_to(target: Address, network: Network = Network.TCP) -> Flow:
    """Return a flow to a target."""
    return Flow("test", network, None, "", target, asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def target() -> AsyncIterator[tuple[Address, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]]:
    """Listen on this machine; yield where, and the connections that come."""
    arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.put((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2]), arrived
    finally:
        server.close()


class StreamDialerSuite:
    """Subclass it, say how the transport is made, and pytest does the rest::

    class TestConformance(StreamDialerSuite):
        def make_dialer(self, deps):
            return Direct(Options.parse({...}), deps)
    """

    @abstractmethod
    def make_dialer(self, deps: TransportDeps) -> StreamDialer:
        """Return the transport, as its registration would build it."""

    def dialer(self) -> StreamDialer:
        """Return one that connects as this machine does."""
        return self.make_dialer(TransportDeps(Connector()))

    async def test_what_comes_first_goes_first(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address), b"first, ")
            stream.write(b"second")
            reader, writer = await arrived.get()
            assert await reader.readexactly(13) == b"first, second"
            stream.close()
            writer.close()

    async def test_is_born_paused(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink = RecordingSink()
            stream.set_sink(sink)
            _, writer = await arrived.get()
            writer.write(b"hello")
            await asyncio.sleep(0.05)  # time enough to do it wrong
            assert not sink.data
            stream.resume_reading()
            assert await sink.received(5) == b"hello"
            stream.close()
            writer.close()

    async def test_carries_much_both_ways_and_ends_each_by_itself(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink, data = RecordingSink(), os.urandom(MANY)
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(data)
            stream.write_eof()
            reader, writer = await arrived.get()
            assert await reader.read(-1) == data
            writer.write(data)
            writer.write_eof()
            assert await sink.received(MANY) == data
            assert await wait_lost(sink) is None
            assert "eof" in sink.events
            writer.close()

    async def test_a_reset_is_never_a_clean_end(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink = RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            _, writer = await arrived.get()
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            writer.transport.abort()
            assert await wait_lost(sink) is not None
            assert "eof" not in sink.events

    async def test_a_refused_target_says_so(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            closed = Address(*sock.getsockname())
            with pytest.raises(DialError) as refused:
                await self.dialer().dial_stream(flow_to(closed))
        assert refused.value.reason is Reason.REFUSED

    async def test_a_name_that_is_none_says_so(self) -> None:
        with pytest.raises(DialError) as unknown:
            await self.dialer().dial_stream(flow_to(Address("no-such-name.invalid", 80)))
        assert unknown.value.reason is Reason.HOST_UNREACHABLE

    async def test_a_dial_that_is_cancelled_leaves_nothing(self) -> None:
        dialer, tasks = self.dialer(), asyncio.all_tasks()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()  # nobody accepts, so every descriptor here is the dialer's
            before = len(os.listdir("/dev/fd"))
            for turns in range(6):
                dial = asyncio.create_task(dialer.dial_stream(flow_to(Address(*listener.getsockname()))))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dial.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await dial).abort()
            assert len(os.listdir("/dev/fd")) == before
        assert asyncio.all_tasks() <= tasks


class _OneName(Resolver):
    async def resolve(self, address: Address) -> list[SocketAddress]:
        await asyncio.sleep(0)
        host = "127.0.0.1" if address.host == NAME else address.host
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
        return [(socket.AF_INET if ip.version == 4 else socket.AF_INET6, (host, address.port))]


class Echo:
    """A target that sends every packet back; `seen` has where they came from.

    :param host: where it is
    """

    def __init__(self, host: str) -> None:
        self.socket = UdpSocket.bind(Address(host, 0))
        self.address = self.socket.address
        self.seen: list[Datagram] = []
        self.socket.start(self._received)

    def _received(self, datagrams: list[Datagram]) -> None:
        self.seen += datagrams
        for data, name in datagrams:
            self.socket.send(data, name)


@contextlib.contextmanager
def echo(host: str = "127.0.0.1") -> Iterator[Echo]:
    """Run a target that sends every packet back."""
    target = Echo(host)
    try:
        yield target
    finally:
        target.socket.close()


class PacketDialerSuite(ABC):
    """Subclass it, say how the transport is made, and pytest does the rest::

    class TestPackets(PacketDialerSuite):
        def make_dialer(self, deps):
            return Direct(Options.parse({...}), deps)
    """

    @abstractmethod
    def make_dialer(self, deps: TransportDeps) -> PacketDialer:
        """Return the transport, as its registration would build it."""

    @contextlib.asynccontextmanager
    async def channel(self, target: Address) -> AsyncIterator[tuple[PacketChannel[Packet], RecordingPacketSink[Packet]]]:
        """Open a channel, and give its sink. It must hear of its end, in every test, and once."""
        dialer = self.make_dialer(TransportDeps(Connector(resolver=_OneName())))
        channel = await dialer.dial_packets(flow_to(target, Network.UDP))
        sink: RecordingPacketSink[Packet] = RecordingPacketSink()
        channel.set_sink(sink)
        try:
            with anyio.fail_after(20):
                yield channel, sink
                channel.close()
                await sink.lost.wait()
                assert sink.error is None
                await settle()  # what would be told twice is told now
        finally:
            channel.close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    @pytest.mark.parametrize("size", [0, 1, 1400, MAX_PACKET])
    async def test_each_packet_goes_to_its_target_and_comes_from_it(self, host: str, size: int) -> None:
        with echo(host) as target:
            packet = Packet(target.address, os.urandom(size))
            async with self.channel(target.address) as (channel, sink):
                channel.send([packet])
                assert await sink.received(1) == [packet]

    async def test_a_batch_for_many_targets(self) -> None:
        with contextlib.ExitStack() as stack:
            targets = [stack.enter_context(echo(host)) for host in ("127.0.0.1", "127.0.0.2", "::1")]
            packets = [Packet(targets[number % 3].address, b"%d" % number) for number in range(BATCH)]
            async with self.channel(targets[0].address) as (channel, sink):
                channel.send(list(packets))
                assert Counter(await sink.received(BATCH)) == Counter(packets)
                for target in targets:
                    assert len({name for _, name in target.seen}) == 1, "a target sees one sender"

    async def test_whoever_knows_the_sender_may_answer(self) -> None:
        with echo() as target, echo("127.0.0.2") as stranger:
            async with self.channel(target.address) as (channel, sink):
                channel.send([Packet(target.address, b"here I am")])
                await sink.received(1)
                stranger.socket.send(b"hello from elsewhere", target.seen[0][1])
                assert (await sink.received(2))[1] == Packet(stranger.address, b"hello from elsewhere")

    async def test_a_name_is_found_and_answers_come_from_its_address(self) -> None:
        with echo() as target:
            named = Address(NAME, target.address.port)
            async with self.channel(named) as (channel, sink):
                channel.send([Packet(named, b"one"), Packet(named, b"two")])
                channel.send([Packet(named, b"three")])
                assert await sink.received(3) == [Packet(target.address, data) for data in (b"one", b"two", b"three")]

    async def test_what_cannot_go_is_dropped_and_nothing_else(self) -> None:
        with echo() as target:
            unknown = Address("no-such-name.invalid", 53)
            async with self.channel(unknown) as (channel, sink):
                channel.send([Packet(unknown, b"nowhere"), Packet(target.address, b"one")])
                channel.send([Packet(target.address, bytes(MAX_PACKET + 1)), Packet(target.address, b"two")])
                assert await sink.received(2) == [Packet(target.address, data) for data in (b"one", b"two")]
                assert not sink.lost.is_set()

    async def test_channels_are_told_apart(self) -> None:
        with echo() as target:
            async with self.channel(target.address) as (one, ones), self.channel(target.address) as (two, twos):
                one.send([Packet(target.address, b"one")])
                two.send([Packet(target.address, b"two")])
                assert await ones.received(1) == [Packet(target.address, b"one")]
                assert await twos.received(1) == [Packet(target.address, b"two")]

    async def test_after_close_nothing_comes_and_nothing_goes(self) -> None:
        with echo() as target:
            async with self.channel(target.address) as (channel, sink):
                channel.send([Packet(target.address, b"under way")])
                channel.close()
                channel.close()
                channel.send([Packet(target.address, b"late")])
                assert not sink.lost.is_set(), "connection_lost comes from the loop"
                await sink.lost.wait()
                await settle()
                assert sink.packets == []
                assert [data for data, _ in target.seen] == [b"under way"]

    async def test_an_end_that_nobody_heard_of_is_told_to_the_next_sink(self) -> None:
        async with self.channel(Address("127.0.0.1", 1)) as (channel, sink):
            channel.close()
            await sink.lost.wait()
            late: RecordingPacketSink[Packet] = RecordingPacketSink()
            channel.set_sink(late)
            await late.lost.wait()
            assert late.error is None

    async def test_nothing_is_left(self) -> None:
        with echo() as target, echo("::1") as other:
            tasks, before = asyncio.all_tasks(), os.listdir("/dev/fd")
            for _ in range(30):
                async with self.channel(target.address) as (channel, sink):
                    channel.send([Packet(target.address, b"one"), Packet(other.address, b"two"), Packet(Address(NAME, 9), b"three")])
                    await sink.received(2)
            async with self.channel(target.address) as (channel, _):
                channel.send([Packet(Address("no-such-name.invalid", 53), b"closed while it is looked for")])
            assert asyncio.all_tasks() == tasks
            assert os.listdir("/dev/fd") == before
