from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import MAX_PACKET, Address, Carrier, Drops, FrontendDeps, Network, Packet, SocketListener, UdpSocket, encode_address
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink
from outline_lb.testing.streams import FakeStream
from outline_lb_frontend_socks5.association import Association
from outline_lb_frontend_socks5.options import UdpOptions

TARGET = Address("192.0.2.1", 53)
IPV6 = Address("2001:db8::1", 443)
NAME = Address("example.com", 443)
HELLO = Packet(TARGET, b"hello")
OPTIONS = UdpOptions(idle_timeout=30.0, max_associations=1, max_targets=10)
IDLE = OPTIONS.idle_timeout

pytestmark = pytest.mark.fake_clock


class Client:
    """An application's socket."""

    def __init__(self, relay: Address, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((host, 0))
        self.sock.connect((relay.host, relay.port))

    @property
    def address(self) -> Address:
        return Address(*self.sock.getsockname())

    async def send(self, *datagrams: bytes) -> None:
        """Send, and let everything happen that comes of it."""
        for datagram in datagrams:
            self.sock.send(datagram)
        await settle()

    def received(self) -> list[bytes]:
        """Return what came."""
        datagrams = []
        with contextlib.suppress(BlockingIOError):
            while True:
                datagrams.append(self.sock.recv(65536))
        return datagrams


class Bench:
    """An association with both its ends."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.control = FakeStream()
        self.dialer = FakeDialer()
        self.drops = Drops()
        relay = UdpSocket.bind(Address("127.0.0.1", 0), self.drops)
        self.relay = relay.address
        self.ended: list[Association] = []
        deps = FrontendDeps("local", self.dialer, carrier, SocketListener, UdpSocket.bind)
        client = Address("127.0.0.1", 2)
        self.association = Association(self.control, relay, client, "alice", deps, OPTIONS, self.drops, self.ended.append)
        self.control.resume_reading()
        self._clients: list[Client] = []

    def client(self, host: str = "127.0.0.1") -> Client:
        self._clients.append(Client(self.relay, host))
        return self._clients[-1]

    @property
    def channel(self) -> FakeChannel[Packet]:
        """The only way that was opened."""
        [channel] = self.dialer.channels
        return channel

    async def is_over(self) -> bool:
        """Tell whether nothing is left of it."""
        await settle()
        return (
            self.ended == [self.association]
            and self.control.over
            and not self.carrier.active
            and all(channel.over for channel in self.dialer.channels)
        )

    def close(self) -> None:
        self.association.end("the test is over")
        for client in self._clients:
            client.sock.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with anyio.create_task_group() as tasks:
        bench = Bench(Carrier(tasks))
        yield bench
        bench.close()
        await settle()
        assert bench.ended == [bench.association], "exactly once"


@pytest.fixture
async def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    return loop


def datagram(packet: Packet) -> bytes:
    return bytes(3) + encode_address(packet.address) + packet.data


async def test_the_first_datagram_begins_the_flow_with_what_is_known_about_it(bench: Bench, clock: ClockLoop) -> None:
    await clock.advance(3)
    assert bench.dialer.flows == []
    assert bench.association.peer_address == Address("127.0.0.1", 2)
    client = bench.client()
    await client.send(datagram(HELLO))
    [flow] = bench.dialer.flows
    assert (flow.frontend, flow.network, flow.client, flow.user) == ("local", Network.UDP, client.address, "alice")
    assert (flow.target, flow.started, flow.public_only) == (TARGET, clock.now, False)
    assert bench.channel.batches == [[HELLO]]
    assert bench.association.peer_address == client.address
    assert bench.carrier.active == 1


async def test_what_is_there_goes_in_one_batch_to_all_its_targets(bench: Bench) -> None:
    client = bench.client()
    sent = [[Packet(target, b"%d" % number) for target in (TARGET, IPV6, NAME)] for number in range(2)]
    for batch in sent:
        await client.send(*map(datagram, batch))
    assert bench.channel.batches == sent
    assert len(bench.dialer.flows) == 1


async def test_answers_of_anybody_go_to_the_client_and_tell_where_they_are_from(bench: Bench) -> None:
    client = bench.client()
    await client.send(datagram(HELLO))
    answers = [HELLO, Packet(Address("192.0.2.1", 54), b"from another port"), Packet(IPV6, b""), HELLO]
    bench.channel.feed(*answers)
    await settle()
    assert client.received() == list(map(datagram, answers))


async def test_nothing_goes_to_a_client_that_has_sent_nothing(bench: Bench) -> None:
    client = bench.client()
    bench.association.send([HELLO])
    await settle()
    assert client.received() == []
    assert not bench.drops.counts, "nobody tried"


async def test_the_largest_datagrams_pass_and_larger_answers_are_counted(bench: Bench) -> None:
    client, largest = bench.client(), Packet(TARGET, bytes(MAX_PACKET - len(datagram(Packet(TARGET, b"")))))
    await client.send(datagram(largest))
    assert bench.channel.sent == [largest]
    bench.channel.feed(largest, Packet(TARGET, largest.data + b"x"), HELLO)
    await settle()
    assert client.received() == [datagram(largest), datagram(HELLO)]
    assert bench.drops.counts == {"larger than a datagram can be": 1}


async def test_another_address_is_not_heard_before_or_after_the_first_datagram(bench: Bench) -> None:
    stranger, client = bench.client("127.0.0.2"), bench.client()
    await stranger.send(datagram(HELLO))
    assert bench.dialer.flows == []
    await client.send(datagram(HELLO))
    await stranger.send(datagram(HELLO), datagram(HELLO))
    assert bench.channel.sent == [HELLO]
    assert bench.drops.counts == {"not from the client's address": 3}
    bench.channel.feed(HELLO)
    await settle()
    assert (client.received(), stranger.received()) == ([datagram(HELLO)], [])


async def test_the_first_valid_datagram_decides_about_the_port(bench: Bench) -> None:
    broken, client, late = bench.client(), bench.client(), bench.client()
    await broken.send(b"nonsense")
    await client.send(datagram(HELLO))
    await late.send(datagram(HELLO))
    await broken.send(datagram(HELLO))
    assert bench.channel.sent == [HELLO]
    assert bench.drops.counts["not from the client's port"] == 2
    bench.channel.feed(HELLO)
    await settle()
    assert (broken.received(), client.received(), late.received()) == ([], [datagram(HELLO)], [])


async def test_of_two_ports_in_one_batch_the_first_one_wins(bench: Bench) -> None:
    one, two = bench.client(), bench.client()
    one.sock.send(datagram(HELLO))
    await two.send(datagram(HELLO))
    assert bench.channel.batches == [[HELLO]]
    assert bench.association.peer_address == one.address


async def test_each_kind_of_bad_datagram_is_counted_and_the_first_is_logged(bench: Bench) -> None:
    client, bad = bench.client(), [b"", b"\0\0\0\1", b"\0\0\1", b"\1\0\0", b"\0\0\0\x09", b"\0\0\0\3\4a..b\0\x50"]
    rest = datagram(HELLO)[3:]
    bad[2:5] = [bad[2] + rest, bad[3] + rest, bad[4] + rest]
    with capture_logs() as logs:
        await client.send(*bad, datagram(HELLO), *bad)
    assert bench.channel.sent == [HELLO]
    assert bench.drops.counts == {
        "without a whole header": 4,
        "a fragment": 2,
        "reserved bytes are not zero": 2,
        "of an unknown type of address": 2,
        "to a name that is no host name": 2,
    }
    assert [line["reason"] for line in logs if line["event"] == "packets dropped"] == list(bench.drops.counts)


@pytest.mark.parametrize("how", ["end", "loss"])
@pytest.mark.parametrize("begun", [False, True])
async def test_it_ends_with_its_connection_and_late_datagrams_go_nowhere(bench: Bench, how: str, begun: bool) -> None:
    client = bench.client()
    if begun:
        await client.send(datagram(HELLO))
    if how == "end":
        bench.control.feed_eof()
    else:
        bench.control.lose(ConnectionResetError())
    await client.send(datagram(HELLO))
    with pytest.raises(ConnectionRefusedError):  # at once: the port is closed
        await client.send(datagram(HELLO))
    assert await bench.is_over()
    assert [channel.sent for channel in bench.dialer.channels] == [[HELLO]] * begun


async def test_what_the_client_says_after_its_request_is_ignored(bench: Bench) -> None:
    bench.control.feed(b"\5\1\0" * 1000)
    await bench.client().send(datagram(HELLO))
    assert bench.channel.sent == [HELLO]
    assert bench.control.written == b""
    assert not bench.control.over


async def test_without_a_packet_it_ends_after_a_while_and_closes_the_connection(bench: Bench, clock: ClockLoop) -> None:
    await clock.advance(IDLE - 0.001)
    assert not bench.control.over
    with capture_logs() as logs:
        await clock.advance(0.001)
    assert bench.control.calls[-1] == "close"
    assert await bench.is_over()
    assert [line["reason"] for line in logs] == ["no packet for 30 s"]


@pytest.mark.parametrize("direction", ["out", "back"])
async def test_each_packet_gives_it_more_time(bench: Bench, clock: ClockLoop, direction: str) -> None:
    client = bench.client()
    await client.send(datagram(HELLO))
    for _ in range(10):
        await clock.advance(IDLE * 0.7)
        if direction == "out":
            await client.send(datagram(HELLO))
        else:
            bench.channel.feed(HELLO)
    assert not bench.control.over
    await clock.advance(IDLE)
    assert await bench.is_over()


async def test_what_is_dropped_gives_it_no_time(bench: Bench, clock: ClockLoop) -> None:
    client, stranger = bench.client(), bench.client("127.0.0.2")
    await client.send(datagram(HELLO))
    await clock.advance(IDLE * 0.9)
    await stranger.send(datagram(HELLO))
    await client.send(b"nonsense")
    await clock.advance(IDLE * 0.1)
    assert await bench.is_over()


async def test_the_end_of_the_way_is_its_end(bench: Bench) -> None:
    await bench.client().send(datagram(HELLO))
    bench.channel.lose()
    assert bench.control.calls[-1] == "close"
    assert await bench.is_over()


async def test_the_end_of_the_program_is_its_end(bench: Bench) -> None:
    await bench.client().send(datagram(HELLO))
    bench.carrier.abort_all()
    assert await bench.is_over()


async def test_the_end_is_told_once_and_from_the_loop_also_to_who_comes_later(bench: Bench) -> None:
    sinks = [RecordingPacketSink[Packet]() for _ in range(3)]
    bench.association.set_sink(sinks[0])
    bench.association.close()
    bench.association.close()
    assert not sinks[0].lost.is_set()
    bench.association.set_sink(sinks[1])
    await settle()
    bench.association.set_sink(sinks[2])
    await settle()
    assert [sink.lost.is_set() for sink in sinks] == [False, True, True]
    bench.association.send([HELLO])
