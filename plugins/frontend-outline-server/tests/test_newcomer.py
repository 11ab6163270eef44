from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from outline_lb.api import AcceptedPackets, Address, AddressError, Cipher, ComponentSpec, Drops, Packet, PacketChannel, Secret, ServerCipher
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink
from outline_lb_frontend_outline_server.newcomer import Newcomer

CipherSpec = Callable[[int], ComponentSpec[None, Cipher]]
PACKET = Packet(Address("example.com", 443), b"hello")

pytestmark = pytest.mark.fake_clock


class Desk:
    """A newcomer, and what became of it. Alice has the secret "x" with the mark 1, Bob has "yy" with the mark 2."""

    def __init__(self, *specs: Cipher) -> None:
        self.specs = specs
        self.channel = FakeChannel[bytes](Address("192.0.2.7", 4000))
        self.drops = Drops()
        self.accepted: list[tuple[str, Packet]] = []
        self.tunnel: PacketChannel[Packet]
        self.sink = RecordingPacketSink[Packet]()
        self.done: list[Newcomer] = []
        self.ciphers: list[ServerCipher] = [specs[0].server({"alice": Secret("x")}), specs[1].server({"bob": Secret("yy"), "carol": Secret("z")})]
        self.newcomer = self.begin()

    def begin(self) -> Newcomer:
        self.newcomer = Newcomer(self.channel, self.ciphers, self.drops, self._take, self.done.append)
        return self.newcomer

    def _take(self, tunnel: PacketChannel[Packet], user: str, first: Packet) -> None:
        self.accepted.append((user, first))
        self.tunnel = tunnel
        tunnel.set_sink(self.sink)

    def sealed(self, *packets: Packet, mark: int = 1, secret: str = "x") -> list[bytes]:
        return self.specs[mark - 1].client(Secret(secret), b"").packets().seal(list(packets))


@pytest.fixture
async def desk(cipher: CipherSpec) -> Desk:
    return Desk(cipher(1).build(None), cipher(2).build(None))


@pytest.mark.parametrize(("mark", "secret", "user"), [(1, "x", "alice"), (2, "yy", "bob"), (2, "z", "carol")])
async def test_the_first_packet_says_whose_the_channel_is(desk: Desk, mark: int, secret: str, user: str) -> None:
    desk.channel.feed(*desk.sealed(PACKET, mark=mark, secret=secret))
    assert desk.accepted == [(user, PACKET)]
    assert desk.done == [desk.newcomer]
    assert desk.tunnel.peer_address == Address("192.0.2.7", 4000)
    desk.tunnel.send([PACKET])
    assert desk.channel.sent == desk.sealed(PACKET, mark=mark, secret=secret)
    assert not desk.channel.closed


async def test_packets_that_come_with_the_first_follow_it(desk: Desk) -> None:
    more = [Packet(Address("192.0.2.1", port), b"more") for port in range(3)]
    desk.channel.feed(*desk.sealed(PACKET, *more))
    assert desk.accepted == [("alice", PACKET)]
    assert desk.sink.batches == [more]
    desk.channel.feed(*desk.sealed(PACKET))
    assert desk.sink.batches == [more, [PACKET]]


async def test_a_user_s_later_packets_that_cannot_be_opened_are_dropped_and_counted(desk: Desk) -> None:
    other = Packet(PACKET.address, b"other")
    desk.channel.feed(*desk.sealed(PACKET), b"\1garbage", *desk.sealed(other), *desk.sealed(other, mark=2, secret="yy"))
    desk.channel.feed(b"\1garbage")
    assert desk.sink.packets == [other]
    assert sum(desk.drops.counts.values()) == 3
    assert not desk.channel.closed


@pytest.mark.parametrize("first", [b"", b"\7", b"\1garbage", b"\2" * 1000])
async def test_a_channel_without_a_key_is_closed_at_once_and_not_answered(desk: Desk, first: bytes) -> None:
    desk.channel.feed(first, *desk.sealed(PACKET))
    assert desk.channel.closed
    await settle()
    assert (desk.channel.sent, desk.accepted) == ([], [])
    assert desk.done
    assert desk.drops.counts == {"not served: no key opens it": 1}


async def test_a_target_that_is_no_address_closes_a_channel_too(desk: Desk) -> None:
    class Confused(type(desk.ciphers[0])):  # type: ignore[misc]
        def accept_packets(self, datagram: bytes) -> AcceptedPackets:
            raise AddressError("'S3CR3T' is neither an IP address nor a host name")

    desk.ciphers.insert(0, Confused(1))
    with capture_logs() as logs:
        desk.channel.feed(*desk.sealed(PACKET))
    assert desk.channel.closed
    assert desk.accepted == []
    assert [(line["event"], line["reason"]) for line in logs] == [("packets dropped", "not served: a key opens it, but its target is no address")]


async def test_a_flood_of_garbage_does_not_flood_the_log(desk: Desk) -> None:
    with capture_logs() as logs:
        for number in range(1000):
            desk.channel = FakeChannel()
            desk.begin()
            desk.channel.feed(b"\7" + number.to_bytes(2, "big"))
    assert [line["event"] for line in logs] == ["packets dropped"]
    assert desk.drops.counts == {"not served: no key opens it": 1000}


async def test_a_channel_that_is_lost_is_forgotten(desk: Desk) -> None:
    desk.channel.lose(ConnectionResetError())
    assert desk.done == [desk.newcomer]
    assert desk.accepted == []
