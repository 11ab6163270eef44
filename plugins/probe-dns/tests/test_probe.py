from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from programs import require_program

from outline_lb.api import (
    NO_PACKET_SINK,
    AbortedError,
    Address,
    Datagram,
    Drops,
    Endpoint,
    Network,
    Packet,
    PacketChannel,
    PacketSink,
    Probe,
    UdpSocket,
    Upstream,
    UpstreamError,
    name_of,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.conformance.probe import ProbeSuite
from outline_lb.testing.packets import FakeChannel
from outline_lb.testing.upstreams import fake_upstream
from outline_lb_probe_dns.message import query, question
from outline_lb_probe_dns.options import SERVERS, Options
from outline_lb_probe_dns.probe import AGAIN, DnsProbe

LOOPBACK = Address("127.0.0.1", 0)
ASKED = question("example.com", 1)


def probe(*servers: str, **nodes: str) -> DnsProbe:
    return DnsProbe(Options.parse({"servers": list(servers or SERVERS), "name": "example.com", "record": "A"} | nodes))


def answer_to(sent: bytes, flags: bytes = b"\x81\x80") -> bytes:
    return sent[:2] + flags + sent[4:]


class UdpChannel(PacketChannel[Packet]):
    """Straight to the targets."""

    def __init__(self) -> None:
        self._sink: PacketSink[Packet] = NO_PACKET_SINK
        self._sock = UdpSocket.bind(LOOPBACK, Drops())
        self._sock.start(self._received)

    @property
    def peer_address(self) -> None:
        return None

    def _received(self, datagrams: list[Datagram]) -> None:
        self._sink.packets_received([Packet(name_of(name), data) for data, name in datagrams])

    def set_sink(self, sink: PacketSink[Packet]) -> None:
        self._sink = sink

    def send(self, packets: list[Packet]) -> None:
        for address, data in packets:
            self._sock.send(data, (address.host, address.port))

    def close(self) -> None:
        self._sock.close()
        asyncio.get_running_loop().call_soon(self._sink.connection_lost, None)


class UdpEndpoint(Endpoint[Any]):
    async def connect(self) -> UdpChannel:
        return UdpChannel()


@asynccontextmanager
async def name_server(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[Address]:
    """Run a name server that answers a message with others."""

    def received(datagrams: list[Datagram]) -> None:
        for data, name in datagrams:
            for message in answer(data):
                sock.send(message, name)

    sock = UdpSocket.bind(LOOPBACK)
    sock.start(received)
    try:
        yield sock.address
    finally:
        sock.close()


class TestConformance(ProbeSuite):
    network = Network.UDP
    servers: tuple[str, ...] = ("127.0.0.1:9",)

    def make_probe(self) -> Probe:
        return probe(*self.servers)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Upstream]:
        async with name_server(lambda sent: [answer_to(sent)]) as address:
            self.servers = (str(address),)
            yield fake_upstream(UdpEndpoint())


class Slow(Endpoint[Any]):
    """Opens a channel in 100 ms."""

    def __init__(self) -> None:
        self.channel = FakeChannel[Packet]()

    async def connect(self) -> FakeChannel[Packet]:
        await asyncio.sleep(0.1)
        return self.channel


async def asking(of: DnsProbe | None = None) -> tuple[asyncio.Task[float | None], FakeChannel[Packet]]:
    """Return a probe that has asked once."""
    endpoint = Slow()
    task = asyncio.create_task((of or probe()).measure(fake_upstream(endpoint), Network.UDP))
    while not endpoint.channel.sent:
        await asyncio.sleep(0.01)
    return task, endpoint.channel


def timers() -> list[asyncio.TimerHandle]:
    """Return what is still to happen."""
    return [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


@pytest.mark.fake_clock
async def test_all_servers_are_asked_at_once_each_with_a_number_of_its_own() -> None:
    task, channel = await asking()
    [batch] = channel.batches
    assert [packet.address for packet in batch] == [Address("1.1.1.1", 53), Address("8.8.8.8", 53)]
    numbers = [int.from_bytes(packet.data[:2], "big") for packet in batch]
    assert [packet.data for packet in batch] == [query(number, ASKED) for number in numbers]
    assert numbers[0] != numbers[1]
    task.cancel()


@pytest.mark.fake_clock
@pytest.mark.parametrize("first", [0, 1])
async def test_the_time_is_that_of_the_first_answer(first: int) -> None:
    task, channel = await asking()
    await asyncio.sleep(0.2)
    assert not task.done()
    channel.feed(Packet(channel.sent[first].address, answer_to(channel.sent[first].data)))
    assert await task == pytest.approx(0.3, abs=0.02)
    assert channel.closed


@pytest.mark.fake_clock
@pytest.mark.parametrize("flags", [b"\x81\x80", b"\x81\x83", b"\x81\x82", b"\x80\x05"], ids=["found", "no such name", "failure", "refused"])
async def test_any_answer_will_do(flags: bytes) -> None:
    task, channel = await asking()
    channel.feed(Packet(Address("192.0.2.1", 53), answer_to(channel.sent[0].data, flags)))
    assert await task is not None


@pytest.mark.fake_clock
async def test_what_is_no_answer_is_left_alone() -> None:
    task, channel = await asking()
    address, sent = channel.sent[0]
    numbers = {packet.data[:2] for packet in channel.sent}
    other = next(number for number in (value.to_bytes(2, "big") for value in range(3)) if number not in numbers)
    for message in (
        b"",
        b"\0",
        sent,
        answer_to(sent)[:-1],
        other + answer_to(sent)[2:],
        answer_to(sent[:2] + query(0, question("example.org", 1))[2:]),
    ):
        channel.feed(Packet(address, message))
    await asyncio.sleep(0.5)
    assert not task.done()
    channel.feed(Packet(address, b"garbage"), Packet(address, answer_to(sent)), Packet(address, answer_to(sent)))
    assert await task == pytest.approx(0.6, abs=0.02)


@pytest.mark.fake_clock
async def test_they_are_asked_again_each_second_with_new_numbers_and_an_old_one_may_still_be_answered() -> None:
    task, channel = await asking()
    await asyncio.sleep(3 * AGAIN + AGAIN / 2)
    assert len(channel.batches) == 4
    assert len({packet.data[:2] for packet in channel.sent}) == 8
    channel.feed(Packet(channel.sent[0].address, answer_to(channel.sent[0].data)))
    assert await task == pytest.approx(3.6, abs=0.02)
    assert timers() == []


@pytest.mark.fake_clock
@pytest.mark.parametrize("error", [None, ConnectionRefusedError(), AbortedError("gone")])
async def test_an_end_without_an_answer_is_a_failure(error: Exception | None) -> None:
    task, channel = await asking()
    channel.lose(error)
    with pytest.raises(UpstreamError, match=r"^dns: "):
        await task


@pytest.mark.fake_clock
async def test_giving_up_closes_the_channel_and_asks_no_more() -> None:
    task, channel = await asking()
    task.cancel()
    await settle()
    assert channel.closed
    assert timers() == []


@pytest.mark.fake_clock
async def test_another_name_and_type_are_asked_for_where_it_is_said() -> None:
    task, channel = await asking(probe("dns.example:5353", name="www.example.org", record="AAAA"))
    [packet] = channel.sent
    assert packet.address == Address("dns.example", 5353)
    assert packet.data.endswith(question("www.example.org", 28))
    task.cancel()


async def test_it_says_nothing_about_streams() -> None:
    assert await probe().measure(fake_upstream(None), Network.TCP) is None


async def test_packets_may_get_lost() -> None:
    sent: list[bytes] = []

    def every_third(message: bytes) -> list[bytes]:
        sent.append(message)
        return [answer_to(message)] if len(sent) == 3 else []

    async with name_server(every_third) as address:
        seconds = await probe(str(address)).measure(fake_upstream(UdpEndpoint()), Network.UDP)
    assert seconds is not None
    assert seconds >= 2 * AGAIN
    assert len(set(sent)) == 3


async def test_others_answer_what_we_ask(tmp_path: Any) -> None:
    program = require_program("dnsmasq", "apt-get install dnsmasq-base")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.1", "--no-resolv"]
    names = ["--no-hosts", "--address=/example.com/192.0.2.1", "--local=/example.org/", "--log-facility=-"]
    server = await asyncio.create_subprocess_exec(
        program, *options, *names, f"--port={port}", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert server.stderr is not None
        with anyio.fail_after(20):
            await server.stderr.readline()  # it has started
            for nodes in ({}, {"record": "AAAA"}, {"name": "example.org"}, {"name": "nobody.knows.example"}):
                seconds = await probe(f"127.0.0.1:{port}", **nodes).measure(fake_upstream(UdpEndpoint()), Network.UDP)
                assert seconds is not None
    finally:
        server.terminate()
        await server.wait()
