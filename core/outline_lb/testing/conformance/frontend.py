"""What every frontend must do. Subclass the suite, and say how the frontend is made and used::

class TestMine(FrontendSuite):
    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        return MyFrontend(Options(listen), deps)

    async def open_flow(self, server: Address) -> Stream:
        ...

One that carries packets too is a `PacketFrontendSuite`, and says how those are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Final

import anyio
import pytest

from ...base.address import Address
from ...base.dialer import Dialer
from ...base.errors import StartError, StreamError
from ...base.flow import Network
from ...base.packets import Packet, PacketChannel
from ...base.stream import Stream
from ...datapath.carrier import Carrier
from ...datapath.frontend import Frontend, FrontendDeps
from ...net.listener import SocketListener
from ...net.socket import name_of
from ...net.udp import UdpSocket
from ..clock import settle
from ..dialers import EchoDialer
from ..packets import RecordingPacketSink
from ..streams import RecordingSink, wait_lost

ANY_PORT: Final = Address("127.0.0.1", 0)
PATIENCE: Final = 10.0
"""Seconds that something may take that should happen at once."""


class FrontendSuite(ABC):
    """The suite. A frontend listens on one address here, and its flows go to an `EchoDialer`."""

    @abstractmethod
    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        """Return a new frontend.

        :param deps: what it is built with
        :param listen: where it listens; no other address
        """

    @abstractmethod
    async def open_flow(self, server: Address) -> Stream:
        """Open a flow to any target, as an application does.

        :param server: where the frontend listens
        :return: the application's stream, still paused
        """

    def make(self, dialer: Dialer, carrier: Carrier, listen: Address = ANY_PORT) -> Frontend:
        """Return a new frontend, not prepared yet."""
        return self.make_frontend(FrontendDeps("suite", dialer, carrier, SocketListener, UdpSocket.bind), listen)

    @contextlib.asynccontextmanager
    async def serving(self, dialer: Dialer) -> AsyncIterator[Address]:
        """Run a frontend, and give its address."""
        async with anyio.create_task_group() as tasks:
            carrier = Carrier(tasks)
            frontend = self.make(dialer, carrier)
            await frontend.prepare()
            tasks.start_soon(frontend.serve)
            await settle()
            try:
                yield frontend.addresses[0]
            finally:
                await frontend.close()
                carrier.abort_all()
                tasks.cancel_scope.cancel()

    async def test_carries_bytes_and_ends_both_ways(self) -> None:
        payload = os.urandom(300_000)
        async with self.serving(dialer := EchoDialer()) as server:
            sink = await self._echo(server, payload)
        assert sink.data == payload
        assert sink.events == ["data", "eof", "lost"], "the end comes as an end"
        [flow] = dialer.flows
        assert flow.frontend == "suite"
        assert flow.network is Network.TCP
        assert flow.client is not None
        assert flow.client.host == "127.0.0.1"

    async def test_an_end_of_the_target_leaves_the_other_direction_open(self) -> None:
        payload = os.urandom(300_000)
        async with self.serving(dialer := EchoDialer()) as server:
            stream, sink = await self.open_flow(server), RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(b"x")
            await sink.received(1)
            [target] = dialer.streams
            target.feed_eof()
            await sink.ended.wait()
            stream.write(payload)
            stream.write_eof()
            assert await wait_lost(sink) is None
            await _until(lambda: "write_eof" in target.calls)
        assert target.written == b"x" + payload

    async def test_an_abort_of_the_application_reaches_the_target(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server:
            stream = await self.open_flow(server)
            stream.write(b"x")
            await _until(lambda: bool(dialer.streams and dialer.streams[0].written))
            stream.abort()
            await _until(lambda: "abort" in dialer.streams[0].calls)

    async def test_an_abort_of_the_target_reaches_the_application(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server:
            stream, sink = await self.open_flow(server), RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(b"x")
            await sink.received(1)
            dialer.streams[0].lose(ConnectionResetError("reset by peer"))
            assert isinstance(await wait_lost(sink), (StreamError, OSError)), "an abort is no clean end"
            assert "eof" not in sink.events

    async def test_a_taken_port_stops_the_start(self) -> None:
        async with anyio.create_task_group() as tasks:
            with socket.create_server(("127.0.0.1", 0)) as other:
                taken = name_of(other.getsockname())
                frontend = self.make(EchoDialer(), Carrier(tasks), taken)
                with pytest.raises(StartError, match=re.escape(str(taken))):
                    await frontend.prepare()
            await frontend.prepare()  # the port is free now, and nothing is left of the first try
            assert frontend.addresses == [taken]
            await frontend.close()

    async def test_close_gives_the_port_back(self) -> None:
        async with anyio.create_task_group() as tasks:
            frontend = self.make(EchoDialer(), Carrier(tasks))
            await frontend.prepare()
            [address] = frontend.addresses
            assert address.port
            await frontend.close()
            again = self.make(EchoDialer(), Carrier(tasks), address)
            await again.prepare()
            assert again.addresses == [address]
            await again.close()

    async def test_serving_ends_when_cancelled_and_flows_outlive_it(self) -> None:
        async with anyio.create_task_group() as tasks:
            frontend = self.make(EchoDialer(), Carrier(tasks))
            await frontend.prepare()
            with anyio.CancelScope() as serving:
                async with anyio.create_task_group() as servers:
                    servers.start_soon(frontend.serve)
                    stream, sink = await self.open_flow(frontend.addresses[0]), RecordingSink()
                    stream.set_sink(sink)
                    stream.resume_reading()
                    stream.write(b"before")
                    assert await sink.received(6) == b"before"
                    serving.cancel()
            await frontend.close()
            stream.write(b" and after")
            assert await sink.received(16) == b"before and after"
            stream.write_eof()
            assert await wait_lost(sink) is None

    async def test_connections_that_come_and_go_leave_nothing(self) -> None:
        async with self.serving(EchoDialer()) as server:
            before = _open_files(), len(asyncio.all_tasks())
            for _ in range(10):
                async with anyio.create_task_group() as tasks:
                    for _ in range(5):
                        tasks.start_soon(self._come_and_go, server)
            after = 0, 0
            with anyio.move_on_after(PATIENCE):
                while after != before:
                    await asyncio.sleep(0.02)
                    after = _open_files(), len(asyncio.all_tasks())
            assert after == before, "descriptors or tasks are left"

    async def _come_and_go(self, server: Address) -> None:
        """Make four connections: a whole flow, and three that never become one."""
        assert (await self._echo(server, b"hello")).data == b"hello"
        for last_words in (b"", b"\0", None):
            with socket.socket() as sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, (server.host, server.port))
                if last_words is None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif last_words:
                    sock.send(last_words)

    async def _echo(self, server: Address, payload: bytes) -> RecordingSink:
        stream, sink = await self.open_flow(server), RecordingSink()
        stream.set_sink(sink)
        stream.resume_reading()
        stream.write(payload)
        stream.write_eof()
        assert await wait_lost(sink, PATIENCE) is None
        return sink


class PacketFrontendSuite(FrontendSuite):
    """The suite for a frontend that carries packets too; they go to an `EchoDialer` as well."""

    tells_end: ClassVar[bool] = True
    """Whether the frontend sees that an application closes its channel."""

    @abstractmethod
    async def open_packets(self, server: Address) -> PacketChannel[Packet]:
        """Open a channel for packets, as an application does.

        :param server: where the frontend listens
        :return: the application's channel, without a sink
        """

    @pytest.mark.parametrize("target", [Address("192.0.2.1", 443), Address("2001:db8::1", 4433), Address("example.com", 65535)], ids=str)
    async def test_packets_reach_their_target_and_answers_tell_where_from(self, target: Address) -> None:
        packets = [Packet(target, os.urandom(size)) for size in (1, 1200, 0, 4000)]
        async with self.serving(dialer := EchoDialer()) as server, self._packets(server) as (channel, sink):
            for packet in packets:
                channel.send([packet])
                await sink.received(len(sink.packets) + 1)
        assert sink.packets == packets
        [flow] = dialer.flows
        assert (flow.frontend, flow.network, flow.target) == ("suite", Network.UDP, target)
        assert flow.client is not None
        assert flow.client.host == "127.0.0.1"

    async def test_one_flow_has_many_targets_and_is_named_after_the_first(self) -> None:
        targets = [Address("192.0.2.1", port) for port in range(1, 41)]
        async with self.serving(dialer := EchoDialer()) as server, self._packets(server) as (channel, sink):
            for target in targets * 2:
                channel.send([Packet(target, str(target).encode())])
                await sink.received(len(sink.packets) + 1)
        assert [packet.address for packet in sink.packets] == targets * 2
        assert all(packet.data == str(packet.address).encode() for packet in sink.packets)
        assert [flow.target for flow in dialer.flows] == [targets[0]]

    async def test_bursts_of_packets_come_whole(self) -> None:
        sent = [Packet(Address("192.0.2.1", 443), index.to_bytes(2, "big") + os.urandom(1000)) for index in range(300)]
        async with self.serving(EchoDialer()) as server, self._packets(server) as (channel, sink):
            for start in range(0, len(sent), 30):
                channel.send(sent[start : start + 30])
                await sink.received(start + 30)
        assert sorted(sink.packets) == sent

    async def test_anybody_may_answer(self) -> None:
        known, stranger = Packet(Address("192.0.2.1", 443), b"hello"), Packet(Address("2001:db8::7", 7), b"who is there?")
        async with self.serving(dialer := EchoDialer()) as server, self._packets(server) as (channel, sink):
            channel.send([known])
            await sink.received(1)
            dialer.channels[0].feed(stranger)
            assert await sink.received(2) == [known, stranger]

    async def test_channels_of_two_applications_are_apart(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server, self._packets(server) as one, self._packets(server) as two:
            for channel, sink in (one, two):
                channel.send([Packet(Address("192.0.2.1", 443), b"mine")])
                await sink.received(1)
            assert len(dialer.flows) == 2
            dialer.channels[1].feed(Packet(Address("192.0.2.1", 443), b"yours"))
            assert [packet.data for packet in await two[1].received(2)] == [b"mine", b"yours"]
        assert [packet.data for packet in one[1].packets] == [b"mine"]

    async def test_the_end_of_an_application_s_channel_is_the_end_of_its_flow(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server:
            async with self._packets(server) as (channel, sink):
                channel.send([Packet(Address("192.0.2.1", 443), b"hello")])
                await sink.received(1)
                assert not dialer.channels[0].closed
            if self.tells_end:
                await _until(lambda: dialer.channels[0].closed)
        await _until(lambda: dialer.channels[0].closed)

    async def test_channels_that_come_and_go_leave_nothing(self) -> None:
        alone = _open_files(), len(asyncio.all_tasks())
        async with self.serving(EchoDialer()) as server:
            before = _open_files(), len(asyncio.all_tasks())
            for _ in range(10):
                async with anyio.create_task_group() as tasks:
                    for size in range(5):
                        tasks.start_soon(self._send_and_go, server, size)
            if self.tells_end:
                await _until(lambda: (_open_files(), len(asyncio.all_tasks())) == before)
        await _until(lambda: (_open_files(), len(asyncio.all_tasks())) == alone)

    async def _send_and_go(self, server: Address, packets: int) -> None:
        async with self._packets(server) as (channel, sink):
            for index in range(packets):
                channel.send([Packet(Address("192.0.2.1", 443), b"hello")])
                await sink.received(index + 1)

    @contextlib.asynccontextmanager
    async def _packets(self, server: Address) -> AsyncIterator[tuple[PacketChannel[Packet], RecordingPacketSink[Packet]]]:
        channel, sink = await self.open_packets(server), RecordingPacketSink[Packet]()
        channel.set_sink(sink)
        try:
            yield channel, sink
        finally:
            channel.close()
            with anyio.fail_after(PATIENCE):
                await sink.lost.wait()


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))
