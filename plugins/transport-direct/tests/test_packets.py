from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outline_lb.api import (
    Address,
    Connector,
    DialError,
    Drops,
    Flow,
    Network,
    Packet,
    Resolver,
    SocketAddress,
    SocketName,
    TransportDeps,
    UdpSocket,
    UpstreamError,
    Via,
)
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.conformance.dialer import echo
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb_transport_direct import packets
from outline_lb_transport_direct.options import Options
from outline_lb_transport_direct.packets import MAX_LOOKUPS, NAME_LIFE, RECHECK, DirectChannel
from outline_lb_transport_direct.transport import Direct

TIMEOUT = 7.0
UNKNOWN = "the target's name was not found"
REFUSED = "no address of the public internet, and others are not allowed here"
GIVEN_UP = "given up before the target's name was found"


class Names(Resolver):
    """Answers each question when the test does: with hosts, or an error. An IP address is its own answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, address: Address) -> list[SocketAddress]:
        self.asked.append(address.host)
        self._answers[address.host] = asyncio.get_running_loop().create_future()
        hosts = await self._answers[address.host]
        return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, address.port)) for host in hosts]

    async def answer(self, name: str, *hosts: str, error: Exception | None = None) -> None:
        """Answer the question that is open."""
        await settle()
        if error is None:
            self._answers.pop(name).set_result(list(hosts))
        else:
            self._answers.pop(name).set_exception(error)
        await settle()

    def given_up(self, name: str) -> bool:
        return self._answers[name].cancelled()


class OpenNetwork(Connector):
    """Sends nothing: `sent` has what would have gone out, with where to."""

    def __init__(self, via: Via | None = None, resolver: Resolver | None = None) -> None:
        super().__init__(via or Via(), resolver)
        self.sent: list[tuple[str, bytes]] = []
        self.opened: list[socket.AddressFamily] = []
        self.refused: dict[socket.AddressFamily, int] = {}

    def open_udp(self, candidate: SocketAddress, drops: Drops, connect: bool = False) -> UdpSocket:
        family, _ = candidate
        if family in self.refused:
            code = self.refused[family]
            raise DialError("socket", OSError(code, os.strerror(code)))
        self.opened.append(family)
        return Recorder(self, family, drops)


class Recorder(UdpSocket):
    def __init__(self, network: OpenNetwork, family: socket.AddressFamily, drops: Drops) -> None:
        super().__init__(socket.socket(family, socket.SOCK_DGRAM), drops)
        self._network = network

    def send(self, data: bytes, to: SocketName | None = None) -> None:
        assert to is not None
        self._network.sent.append((to[0], data))


class Rig:
    """A channel over a network that sends nothing, with names that the test answers for."""

    def __init__(self, *, public_only: bool = False, via: Via | None = None) -> None:
        self.names = Names()
        self.network = OpenNetwork(via, self.names)
        self.drops = Drops()
        self.channel = DirectChannel(self.network, self.drops, public_only, TIMEOUT)

    def send(self, host: str, *data: bytes) -> None:
        self.channel.send([Packet(Address.of(host, 53), each) for each in data])

    @property
    def sent(self) -> list[tuple[str, bytes]]:
        sent, self.network.sent = self.network.sent, []
        return sent


@contextmanager
def rig(*, public_only: bool = False, via: Via | None = None) -> Iterator[Rig]:
    one = Rig(public_only=public_only, via=via)
    try:
        yield one
    finally:
        one.channel.close()


class TestNames:
    async def test_packets_wait_for_a_name_in_their_order_and_hold_up_no_others(self) -> None:
        with rig() as it:
            it.send("a.test", b"1", b"2")
            it.send("192.0.2.7", b"meanwhile")
            it.send("b.test", b"other")
            it.send("a.test", b"3")
            assert it.sent == [("192.0.2.7", b"meanwhile")]
            await it.names.answer("a.test", "192.0.2.1", "192.0.2.2")
            assert it.sent == [("192.0.2.1", b"1"), ("192.0.2.1", b"2"), ("192.0.2.1", b"3")]
            it.send("a.test", b"4")
            assert it.sent == [("192.0.2.1", b"4")]
            assert it.names.asked == ["a.test", "b.test"]

    @pytest.mark.fake_clock
    @pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ZeroDivisionError()])
    async def test_one_that_cannot_be_found_is_not_asked_for_each_packet(self, error: Exception) -> None:
        with rig() as it:
            it.send("a.test", b"1", b"2")
            await it.names.answer("a.test", error=error)
            assert it.drops.counts == {UNKNOWN: 2}
            it.send("a.test", b"3")
            await settle()
            assert it.drops.counts == {UNKNOWN: 3}
            assert it.names.asked == ["a.test"]
            await clock().advance(RECHECK)
            it.send("a.test", b"4")
            await it.names.answer("a.test", "192.0.2.1")
            assert it.sent == [("192.0.2.1", b"4")]

    @pytest.mark.fake_clock
    async def test_a_name_server_that_does_not_answer_is_given_up(self) -> None:
        with rig() as it:
            it.send("a.test", b"1")
            await clock().advance(TIMEOUT - 0.1)
            assert not it.names.given_up("a.test")
            await clock().advance(0.2)
            assert it.names.given_up("a.test")
            assert it.drops.counts == {UNKNOWN: 1}

    @pytest.mark.fake_clock
    async def test_one_that_is_known_is_looked_up_again_behind_the_packets(self) -> None:
        with rig() as it:
            it.send("a.test", b"1")
            await it.names.answer("a.test", "192.0.2.1", "192.0.2.2")
            await clock().advance(NAME_LIFE - 1)
            it.send("a.test", b"2")
            assert len(it.names.asked) == 1
            await clock().advance(1)
            it.send("a.test", b"3", b"4")
            it.send("a.test", b"5")
            await it.names.answer("a.test", "192.0.2.2", "192.0.2.1")  # it is still there: the conversation stays where it is
            it.send("a.test", b"6")
            assert it.sent == [("192.0.2.1", b"%d" % number) for number in range(1, 7)]
            await clock().advance(NAME_LIFE)
            it.send("a.test", b"7")
            await it.names.answer("a.test", "192.0.2.2")
            it.send("a.test", b"8")
            assert it.sent == [("192.0.2.1", b"7"), ("192.0.2.2", b"8")]
            assert len(it.names.asked) == 3

    @pytest.mark.fake_clock
    async def test_one_that_is_found_no_more_stays_where_it_was(self) -> None:
        with rig() as it:
            it.send("a.test", b"1")
            await it.names.answer("a.test", "192.0.2.1")
            await clock().advance(NAME_LIFE)
            it.send("a.test", b"2")
            await it.names.answer("a.test", error=socket.gaierror(socket.EAI_AGAIN, "x"))
            it.send("a.test", b"3")
            assert [data for _, data in it.sent] == [b"1", b"2", b"3"]
            assert not it.drops.counts
            await clock().advance(RECHECK)
            it.send("a.test", b"4")
            await settle()
            assert len(it.names.asked) == 3

    async def test_what_waits_is_bounded_empty_packets_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packets, "MAX_WAITING", 10_000)
        flooded = "too much before the target's name was found"
        with rig() as it:
            it.send("a.test", *[b""] * 200)
            it.send("b.test", b"late")
            waiting = 200 - (it.drops.counts[flooded] - 1)
            assert 100 < waiting < 200
            it.send("a.test", bytes(9000))
            await it.names.answer("a.test", "192.0.2.1")
            assert it.sent == [("192.0.2.1", b"")] * waiting
            before = it.drops.counts[flooded]
            it.send("b.test", bytes(9000))  # there is room again
            await it.names.answer("b.test", "192.0.2.2")
            assert [len(data) for _, data in it.sent] == [9000]
            assert it.drops.counts == {flooded: before}

    async def test_so_many_are_looked_for_at_a_time(self) -> None:
        with rig() as it:
            for number in range(MAX_LOOKUPS + 2):
                it.send(f"{number}.test", b"x")
            await settle()
            assert len(it.names.asked) == MAX_LOOKUPS
            assert it.drops.counts == {"too many names at once": 2}
            await it.names.answer("0.test", "192.0.2.1")
            it.send(f"{MAX_LOOKUPS}.test", b"once more")
            await it.names.answer(f"{MAX_LOOKUPS}.test", "192.0.2.2")
            assert it.sent == [("192.0.2.1", b"x"), ("192.0.2.2", b"once more")]

    async def test_closing_gives_up_what_is_looked_for(self) -> None:
        with rig() as it:
            it.send("a.test", b"1", b"2")
            await settle()
            it.channel.close()
            await settle()
            assert it.names.given_up("a.test")
            assert it.drops.counts == {GIVEN_UP: 2}
            assert it.sent == []

    async def test_after_closing_nothing_is_looked_for(self) -> None:
        with rig() as it:
            it.channel.close()
            it.send("a.test", b"1")
            it.send("192.0.2.1", b"2")
            await settle()
            assert it.names.asked == []
            assert it.sent == []
            assert it.network.opened == []
            assert not it.drops.counts


class TestTargets:
    async def test_those_that_were_not_written_to_for_the_longest_time_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packets, "MAX_TARGETS", 3)
        with rig() as it:
            for name in ("a.test", "b.test", "c.test"):
                it.send(name, b"1")
                await it.names.answer(name, "192.0.2.1")
            it.send("a.test", b"2")
            it.send("d.test", b"waits")
            await settle()
            for name in ("a.test", "c.test", "b.test"):
                it.send(name, b"3")
            await settle()
            assert it.names.asked == ["a.test", "b.test", "c.test", "d.test", "b.test"]
            assert it.names.given_up("d.test")
            assert it.drops.counts == {GIVEN_UP: 1}

    async def test_ten_thousand_are_no_trouble(self) -> None:
        with rig() as it:
            for number in range(10_000):
                it.send(f"10.0.{number >> 8}.{number & 255}", b"x")
            assert len(it.sent) == 10_000
            assert it.network.opened == [socket.AF_INET]

    async def test_an_ipv4_address_in_an_ipv6_one_goes_over_ipv4(self) -> None:
        with rig() as it:
            it.send("::ffff:192.0.2.1", b"1")
            it.send("a.test", b"2")
            await it.names.answer("a.test", "::ffff:192.0.2.2")
            assert it.sent == [("192.0.2.1", b"1"), ("192.0.2.2", b"2")]
            assert it.network.opened == [socket.AF_INET]

    async def test_each_family_has_its_socket_when_it_is_needed(self) -> None:
        with rig() as it:
            it.send("192.0.2.1", b"1")
            it.send("192.0.2.2", b"2")
            assert it.network.opened == [socket.AF_INET]
            it.send("2001:db8::1", b"3")
            it.send("2001:db8::2", b"4")
            assert it.network.opened == [socket.AF_INET, socket.AF_INET6]
            assert len(it.sent) == 4

    @pytest.mark.fake_clock
    async def test_a_family_that_is_not_to_be_had_is_tried_again_later(self) -> None:
        with rig() as it:
            it.network.refused[socket.AF_INET6] = errno.EAFNOSUPPORT
            it.send("2001:db8::1", b"1", b"2")
            it.send("a.test", b"3")
            await it.names.answer("a.test", "2001:db8::1", "192.0.2.1")
            assert it.drops.counts == {os.strerror(errno.EAFNOSUPPORT): 2}
            assert it.sent == [("192.0.2.1", b"3")]
            it.network.refused.clear()
            await clock().advance(RECHECK)
            it.send("2001:db8::1", b"4")
            assert it.sent == [("2001:db8::1", b"4")]


class TestPublicOnly:
    @pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "224.0.0.1", "::1", "::ffff:10.0.0.1", "fd00::1", "64:ff9b::a00:1"])
    async def test_what_is_not_public_is_refused_as_an_address_and_behind_a_name(self, host: str) -> None:
        with rig(public_only=True) as it:
            it.send(host, b"1", b"2")
            it.send("rebinding.test", b"3")
            await it.names.answer("rebinding.test", host)
            it.send("rebinding.test", b"4")
            assert it.sent == []
            assert it.drops.counts == {REFUSED: 4}
            assert it.network.opened == []

    @pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111"])
    async def test_what_is_public_is_not(self, host: str) -> None:
        with rig(public_only=True) as it:
            it.send(host, b"1")
            it.send("a.test", b"2")
            await it.names.answer("a.test", "10.0.0.1", host, "::1")
            assert it.sent == [(host, b"1"), (host, b"2")]

    @pytest.mark.fake_clock
    async def test_a_name_that_leads_inside_later_stays_outside(self) -> None:
        with rig(public_only=True) as it:
            it.send("rebinding.test", b"1")
            await it.names.answer("rebinding.test", "8.8.8.8")
            await clock().advance(NAME_LIFE)
            it.send("rebinding.test", b"2")
            await it.names.answer("rebinding.test", "192.168.0.1")
            it.send("rebinding.test", b"3")
            assert it.sent == [("8.8.8.8", b"%d" % number) for number in (1, 2, 3)]


class TestSource:
    @pytest.mark.parametrize(("source", "host", "other"), [("192.0.2.7", "192.0.2.1", "2001:db8::1"), ("2001:db8::7", "2001:db8::1", "192.0.2.1")])
    async def test_targets_of_the_other_family_are_out_of_reach(self, source: str, host: str, other: str) -> None:
        with rig(via=Via(source)) as it:
            it.send(host, b"1")
            it.send(other, b"2", b"3")
            assert it.sent == [(host, b"1")]
            assert it.drops.counts == {"the source address is of another family than the target": 2}
            it.send("a.test", b"4")
            await it.names.answer("a.test", other, host)
            assert it.sent == [(host, b"4")]

    async def test_is_what_targets_see(self) -> None:
        with echo() as target:
            channel = await Direct(Options("127.0.0.2", 10), TransportDeps(Connector(Via("127.0.0.3", "lo")))).dial_packets(flow_to(target.address))
            channel.set_sink(sink := RecordingPacketSink[Packet]())
            channel.send([Packet(target.address, b"hello")])
            await sink.received(1)
            assert target.seen[0][1][0] == "127.0.0.2"
            channel.close()


def flow_to(target: Address) -> Flow:
    return Flow("test", Network.UDP, None, "", target, 0.0)


class TestBlame:
    """Whether the way out is to blame is known when its socket is opened."""

    @pytest.mark.parametrize("target", ["127.0.0.1", "example.test", "::1"])
    async def test_a_source_that_is_not_ours(self, target: str) -> None:
        direct = Direct(Options("192.0.2.1", 10), TransportDeps(Connector()))
        with pytest.raises(UpstreamError, match=r"^bind: Cannot assign requested address$"):
            await direct.dial_packets(flow_to(Address(target, 53)))

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS])
    async def test_a_system_without_resources(self, code: int) -> None:
        network = OpenNetwork()
        network.refused[socket.AF_INET] = code
        with pytest.raises(UpstreamError, match=r"^socket: "):
            await Direct(Options(None, 10), TransportDeps(network)).dial_packets(flow_to(Address("8.8.8.8", 53)))

    async def test_a_machine_without_ipv6_is_not(self) -> None:
        network = OpenNetwork()
        network.refused[socket.AF_INET6] = errno.EAFNOSUPPORT
        channel = await Direct(Options(None, 10), TransportDeps(network)).dial_packets(flow_to(Address("2606:4700::1111", 53)))
        channel.send([Packet(Address("2606:4700::1111", 53), b"nowhere"), Packet(Address("192.0.2.1", 53), b"somewhere")])
        assert network.sent == [("192.0.2.1", b"somewhere")]
        channel.close()


class TestSenders:
    async def test_the_same_one_has_the_same_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packets, "MAX_SENDERS", 2)
        with echo() as one, echo("127.0.0.2") as two, echo("::1") as three:
            channel = await Direct(Options(None, 10), TransportDeps(Connector())).dial_packets(flow_to(one.address))
            channel.set_sink(sink := RecordingPacketSink[Packet]())
            for count, target in enumerate((one, one, two, three, one, two), 1):
                channel.send([Packet(target.address, b"%d" % count)])
                assert (await sink.received(count))[-1] == Packet(target.address, b"%d" % count)
            assert sink.packets[0].address is sink.packets[1].address
            channel.close()


def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop
