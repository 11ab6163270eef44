"""What every cipher must do. Subclass the suite, and say which cipher::

class TestMine(CipherSuite):
    def make_cipher(self) -> Cipher:
        return MyCipher()
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import pytest

from ...base.address import Address
from ...base.errors import ProtocolError
from ...base.packets import MAX_PACKET, Packet
from ...base.secret import Secret
from ...base.stream import ROOM
from ...datapath.cipher import Accepted, AcceptedPackets, Cipher, ClientCipher, Opener, PacketCodec, RejectedError, Sealer

LONGEST_NAME: Final = ".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 61))
TARGET: Final = Address("example.com", 443)
TARGETS: Final = (TARGET, Address("192.0.2.7", 80), Address("2001:db8::1", 65535), Address(LONGEST_NAME, 1))
CUTS: Final = ("whole", "1", "2", "17", "1000", "random")


def seal(sealer: Sealer, data: bytes) -> bytes:
    """Seal `data` as a tunnel does, in batches, from a buffer that is used for something else right after."""
    sealed = b""
    room = memoryview(bytearray(ROOM))
    for start in range(0, len(data) or 1, sealer.batch):
        borrowed = bytearray(data[start : start + sealer.batch])
        size = sealer.seal_into(memoryview(borrowed), room)
        borrowed[:] = b"\xee" * len(borrowed)
        sealed += room[:size]
    return sealed


def unseal(opener: Opener, data: bytes, cut: str = "whole") -> bytes:
    """Open `data`, coming in parts, each in a buffer that is used for something else right after."""
    pieces: list[bytes] = []
    for part in parts(data, cut):
        borrowed = bytearray(part)
        pieces += opener.feed(memoryview(borrowed))
        borrowed[:] = b"\xee" * len(borrowed)
    assert all(pieces), "no piece is empty"
    return b"".join(pieces)


def parts(data: bytes, cut: str) -> Iterator[bytes]:
    """Cut `data` into parts of a fixed or of random sizes."""
    sizes, position = random.Random(len(data)), 0
    while position < len(data):
        size = len(data) if cut == "whole" else sizes.choice((1, 2, 18, 35, 50, 333, 5000, 20_000)) if cut == "random" else int(cut)
        yield data[position : position + size]
        position += size


def changed(data: bytes, position: int) -> bytes:
    """Flip one bit of the byte at `position`."""
    return data[:position] + bytes((data[position] ^ 1 << position % 8,)) + data[position + 1 :]


class CipherSuite(ABC):
    """The contract of `Cipher`, as tests."""

    @abstractmethod
    def make_cipher(self) -> Cipher:
        """Return the cipher under test."""

    def make_secret(self, number: int) -> Secret:
        """Return a secret that fits the cipher, a different one for each number."""
        return Secret(f"secret number {number}")

    def make_client(self, number: int = 0) -> ClientCipher:
        """Return the client's end with a secret."""
        return self.make_cipher().client(self.make_secret(number), b"")

    def accept(self, data: bytes, number: int = 0) -> Accepted | None:
        """Show the beginning of a stream to a new server with one user."""
        return self.make_cipher().server({"user": self.make_secret(number)}).accept(data)

    def begin(self, first: bytes = b"") -> tuple[Sealer, Opener, Accepted]:
        """Return the two ends of a stream: of the client a sealer and an opener, of the server everything."""
        sealer, opener = self.make_client().stream(TARGET)
        accepted = self.accept(seal(sealer, first))
        assert accepted is not None
        assert accepted.payload == first
        return sealer, opener, accepted

    # -- the way of the data

    @pytest.mark.parametrize("cut", CUTS)
    def test_a_stream_arrives_however_it_is_cut(self, cut: str) -> None:
        messages = [random.Random(size).randbytes(size) for size in (5, 1, 16383, 16384, 40_000, 100)]
        sealer, _ = self.make_client().stream(TARGET)
        server = self.make_cipher().server({"user": self.make_secret(0)})
        coming, begun, accepted = parts(b"".join(seal(sealer, message) for message in messages), cut), b"", None
        while accepted is None:
            begun += next(coming)
            accepted = server.accept(begun)
        arrived = accepted.payload + b"".join(unseal(accepted.opener, part) for part in coming)
        assert (accepted.user, accepted.target) == ("user", TARGET)
        assert arrived == b"".join(messages)
        assert accepted.opener.complete

    @pytest.mark.parametrize("cut", CUTS)
    def test_an_answer_arrives_however_it_is_cut(self, cut: str) -> None:
        messages = [random.Random(size).randbytes(size) for size in (7, 1, 16383, 16384, 40_000, 100)]
        _, opener, accepted = self.begin()
        sealed = b"".join(seal(accepted.sealer, message) for message in messages)
        assert unseal(opener, sealed, cut) == b"".join(messages)
        assert opener.complete

    @pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.host[:16])
    def test_a_header_goes_alone_or_with_data(self, target: Address) -> None:
        for first in (b"", b"GET / HTTP/1.1\r\n"):
            sealer, _ = self.make_client().stream(target)
            accepted = self.accept(seal(sealer, first))
            assert accepted is not None
            assert (accepted.target, accepted.payload) == (target, first)
            assert accepted.opener.complete
            assert unseal(accepted.opener, seal(sealer, b"more")) == b"more"

    def test_a_header_that_has_not_come_completely_is_waited_for(self) -> None:
        sealer, _ = self.make_client().stream(Address(LONGEST_NAME, 443))
        header = seal(sealer, b"")
        server = self.make_cipher().server({"user": self.make_secret(0)})
        assert [server.accept(header[:size]) for size in range(len(header))] == [None] * len(header)
        assert server.accept(header) is not None

    def test_a_batch_with_its_header_fits_into_a_room(self) -> None:
        sealer, _ = self.make_client().stream(Address(LONGEST_NAME, 443))
        batch = random.Random(0).randbytes(sealer.batch)
        accepted = self.accept(seal(sealer, batch))
        assert accepted is not None
        assert accepted.payload == batch
        assert unseal(accepted.opener, seal(sealer, batch + batch)) == batch + batch

    def test_no_two_streams_look_alike(self) -> None:
        client = self.make_client()
        sealed = [seal(client.stream(TARGET)[0], b"hello")[:16] for _ in range(10)]
        assert len(set(sealed)) == 10

    def test_a_prefix_comes_first_or_is_refused(self) -> None:
        prefix = b"\x16\x03\x01\x00\xa8\x01\x01"
        try:
            client = self.make_cipher().client(self.make_secret(0), prefix)
        except ValueError:
            return
        sealed = seal(client.stream(TARGET)[0], b"hello")
        assert sealed.startswith(prefix)
        assert self.accept(sealed) is not None

    # -- who may

    def test_users_are_told_apart(self) -> None:
        server = self.make_cipher().server({f"user-{number}": self.make_secret(number) for number in range(5)})
        for number in (4, 0, 0, 3, 1, 2, 4):
            sealer, opener = self.make_client(number).stream(TARGET)
            accepted = server.accept(seal(sealer, b"hello"))
            assert accepted is not None
            assert accepted.user == f"user-{number}"
            assert unseal(opener, seal(accepted.sealer, b"answer")) == b"answer"

    def test_a_server_rejects_a_wrong_secret(self) -> None:
        sealer, _ = self.make_client(number=0).stream(TARGET)
        with pytest.raises(RejectedError):
            self.accept(seal(sealer, b"hello"), number=1)

    def test_a_server_rejects_garbage(self) -> None:
        with pytest.raises(RejectedError):
            self.accept(random.Random(0).randbytes(1000))

    def test_a_client_refuses_a_wrong_secret(self) -> None:
        _, _, accepted = self.begin()
        _, opener = self.make_client(number=1).stream(TARGET)
        with pytest.raises(ProtocolError):
            opener.feed(seal(accepted.sealer, b"answer"))

    # -- what must not go unnoticed

    def test_no_byte_of_a_header_can_be_changed(self) -> None:
        sealer, _ = self.make_client().stream(TARGET)
        sealed = seal(sealer, b"hello")
        for position in range(len(sealed)):
            with pytest.raises(RejectedError):
                self.accept(changed(sealed, position))

    def test_no_byte_of_an_answer_can_be_changed(self) -> None:
        _, _, accepted = self.begin()
        for position in range(len(seal(accepted.sealer, b"hello"))):
            _, opener, accepted = self.begin()
            with pytest.raises(ProtocolError):
                opener.feed(changed(seal(accepted.sealer, b"hello"), position))

    def test_a_message_cannot_come_twice(self) -> None:
        sealer, _, accepted = self.begin()
        sealed = seal(sealer, b"hello")
        assert unseal(accepted.opener, sealed) == b"hello"
        with pytest.raises(ProtocolError):
            accepted.opener.feed(sealed)

    def test_a_stream_may_end_between_messages_only(self) -> None:
        sealer, _, accepted = self.begin(b"hello")
        opener = accepted.opener
        assert opener.complete
        sealed = seal(sealer, b"world")
        for position, byte in enumerate(sealed, start=1):
            opener.feed(bytes((byte,)))
            assert opener.complete == (position == len(sealed))

    def test_an_answer_may_end_before_it_began(self) -> None:
        _, opener, accepted = self.begin()
        assert opener.complete  # the target had nothing to say
        opener.feed(seal(accepted.sealer, b"hello")[:-1])
        assert not opener.complete

    # -- packets

    def accept_packets(self, datagram: bytes, number: int = 0) -> AcceptedPackets:
        """Show the first packet of an association to a new server with one user."""
        return self.make_cipher().server({"user": self.make_secret(number)}).accept_packets(datagram)

    def associate(self) -> tuple[PacketCodec, PacketCodec]:
        """Return the two ends of an association, the client's first."""
        client = self.make_client().packets()
        return client, self.accept_packets(client.seal([Packet(TARGET, b"hello")])[0]).codec

    @pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.host[:16])
    def test_the_first_packet_of_an_association_says_whose_it_is_and_where_it_goes(self, target: Address) -> None:
        for data in (b"", b"hello"):
            [datagram] = self.make_client().packets().seal([Packet(target, data)])
            accepted = self.accept_packets(datagram)
            assert (accepted.user, accepted.first) == ("user", Packet(target, data))

    @pytest.mark.parametrize("way", ["to the server", "to the client"])
    def test_packets_arrive_in_batches_and_alone(self, way: str) -> None:
        sealing, opening = self.associate() if way == "to the server" else reversed(self.associate())
        sizes = (5, 0, 1, 1200, 1500, 9000, MAX_PACKET)
        packets = [Packet(target, random.Random(size).randbytes(size)) for target in TARGETS for size in sizes]
        datagrams = sealing.seal(packets)
        assert opening.open(datagrams) == packets
        datagrams = [datagram for packet in packets for datagram in sealing.seal([packet])]
        assert [packet for datagram in datagrams for packet in opening.open([datagram])] == packets

    def test_packets_may_be_lost_and_come_in_any_order(self) -> None:
        client, server = self.associate()
        packets = [Packet(TARGET, bytes((number,))) for number in range(100)]
        datagrams = client.seal(packets)
        kept = random.Random(0).sample(range(100), 50)
        assert server.open([datagrams[number] for number in kept]) == [packets[number] for number in kept]

    def test_what_was_handed_over_is_left_as_it_is(self) -> None:
        client, server = self.associate()
        packets = [Packet(TARGET, b"one"), Packet(TARGETS[1], b"two")]
        datagrams = client.seal(packets)
        before = list(datagrams)
        assert server.open(datagrams) == packets == [Packet(TARGET, b"one"), Packet(TARGETS[1], b"two")]
        assert datagrams == before
        assert {type(datagram) for datagram in datagrams} == {type(packet.data) for packet in server.open(datagrams)} == {bytes}

    def test_no_two_packets_look_alike(self) -> None:
        client = self.make_client().packets()
        assert len({datagram[:16] for datagram in client.seal([Packet(TARGET, b"hello")] * 10)}) == 10

    def test_users_of_packets_are_told_apart(self) -> None:
        server = self.make_cipher().server({f"user-{number}": self.make_secret(number) for number in range(5)})
        for number in (4, 0, 0, 3, 1, 2, 4):
            client = self.make_client(number).packets()
            accepted = server.accept_packets(client.seal([Packet(TARGET, b"hello")])[0])
            assert accepted.user == f"user-{number}"
            assert client.open(accepted.codec.seal([Packet(TARGET, b"answer")])) == [Packet(TARGET, b"answer")]

    def test_packets_of_a_wrong_secret_are_rejected_first_and_left_out_later(self) -> None:
        _, server = self.associate()
        sealed = self.make_client(number=1).packets().seal([Packet(TARGET, b"hello")])
        assert server.open(sealed) == []
        with pytest.raises(RejectedError):
            self.accept_packets(sealed[0])

    def test_garbage_is_no_packet(self) -> None:
        client, server = self.associate()
        garbage = [random.Random(size).randbytes(size) for size in (0, 1, 15, 16, 17, 31, 32, 33, 48, 50, 100, 1500, MAX_PACKET)]
        assert server.open(garbage) == client.open(garbage) == []
        for datagram in garbage:
            with pytest.raises(RejectedError):
                self.accept_packets(datagram)

    def test_no_byte_of_a_packet_can_be_changed_or_missing(self) -> None:
        client, server = self.associate()
        good, other = Packet(TARGET, b"hello"), Packet(TARGETS[1], b"other")
        [sealed] = client.seal([good])
        spoilt = [changed(sealed, position) for position in range(len(sealed))] + [sealed[:size] for size in range(len(sealed))] + [sealed + b"\0"]
        assert server.open([*spoilt, *client.seal([other]), *spoilt]) == [other]
        for datagram in spoilt:
            with pytest.raises(RejectedError):
                self.accept_packets(datagram)
