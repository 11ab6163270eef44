from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from outline_lb.api import ROOM, Accepted, Address, AddressError, AddressTypeError, Buffer, Packet, RejectedError, Sealer, Secret, encode_address
from outline_lb_cipher_aead import packets as packets_module
from outline_lb_cipher_aead import server as server_module
from outline_lb_cipher_aead.client import AeadClient
from outline_lb_cipher_aead.codec import Codec, PythonCodec
from outline_lb_cipher_aead.key import SaltMark, master_key, subkey
from outline_lb_cipher_aead.method import METHODS
from outline_lb_cipher_aead.server import HEADER_LIMIT, AeadServer

CHACHA = METHODS["chacha20-ietf-poly1305"]
TARGET = Address("example.com", 443)
PYTHON = PythonCodec()


@pytest.fixture(autouse=True)
def server_codec(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is made with each codec; what its clients send is sealed in Python."""
    monkeypatch.setattr(Made, "codec", codec)


class Made:
    codec: Codec = PYTHON


def make_server(secrets: Iterable[tuple[str, str]] = (("user", "Secret0"),), replay_history: int = 100, name: str = CHACHA.name) -> AeadServer:
    return AeadServer(METHODS[name], {user: Secret(secret) for user, secret in secrets}, replay_history, Made.codec)


def seal(sealer: Sealer, *parts: Buffer) -> bytes:
    """Seal each part in a chunk of its own."""
    out = bytearray(ROOM)
    return b"".join([bytes(out[: sealer.seal_into(part, memoryview(out))]) for part in parts])


def stream(first: bytes = b"hello", secret: str = "Secret0", name: str = CHACHA.name) -> bytes:
    return seal(AeadClient(METHODS[name], Secret(secret), b"", PYTHON).stream(TARGET)[0], first)


def raw_sealer(salt: bytes | None = None, secret: bytes = b"Secret0") -> Sealer:
    """Return a sealer without an address."""
    return PYTHON.sealer(CHACHA.name, master_key(secret, 32), salt or random.randbytes(32))


def accept(server: AeadServer, data: bytes) -> Accepted:
    accepted = server.accept(data)
    assert accepted is not None
    return accepted


class TestHeader:
    @pytest.mark.parametrize(("name", "needed"), [(CHACHA.name, 50), ("aes-256-gcm", 50), ("aes-192-gcm", 42), ("aes-128-gcm", 34)])
    def test_the_key_is_found_as_soon_as_it_can_be(self, name: str, needed: int) -> None:
        server, garbage = make_server(name=name), random.randbytes(1000)
        assert server.accept(garbage[: needed - 1]) is None
        with pytest.raises(RejectedError, match="no key fits"):
            server.accept(garbage[:needed])

    def test_an_address_may_be_spread_over_chunks(self) -> None:
        sealed = seal(raw_sealer(), *(bytes((byte,)) for byte in encode_address(TARGET)), b"hello")
        server = make_server()
        assert server.accept(sealed[:-40]) is None
        accepted = accept(server, sealed)
        assert (accepted.target, accepted.payload) == (TARGET, b"hello")

    def test_the_rest_of_a_chunk_that_came_half_is_opened_later(self) -> None:
        sealer, _ = AeadClient(CHACHA, Secret("Secret0"), b"", PYTHON).stream(TARGET)
        sealed = seal(sealer, b"one", b"two")
        accepted = accept(make_server(), sealed[:-4])
        assert accepted.payload == b"one"
        assert accepted.opener.feed(sealed[-4:]) == [b"two"]

    def test_an_address_that_never_ends_is_rejected(self) -> None:
        encrypt = CHACHA.aead(subkey(master_key(b"Secret0", 32), bytes(32))).encrypt
        empty = [encrypt(number.to_bytes(12, "little"), b"" if number % 2 else b"\0\0", None) for number in range(2 * HEADER_LIMIT // 34 + 4)]
        sealed = bytes(32) + b"".join(empty)
        server = make_server()
        assert server.accept(sealed[:HEADER_LIMIT]) is None
        with pytest.raises(RejectedError, match="the address does not come to an end"):
            server.accept(sealed)

    def test_the_longest_address_in_the_smallest_chunks_is_within_the_limit(self) -> None:
        header = encode_address(Address(".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 61)), 443))
        sealed = seal(raw_sealer(), *(bytes((byte,)) for byte in header[:-1]), header[-1:] + bytes(16382))
        assert len(sealed) < HEADER_LIMIT

    def test_what_is_no_address_is_told_apart_from_what_is_no_stream(self) -> None:
        with pytest.raises(AddressTypeError):
            make_server().accept(seal(raw_sealer(), b"\x07 no address type"))
        with pytest.raises(AddressError):
            make_server().accept(seal(raw_sealer(), b"\x03\x05a b.c\x01\xbb"))

    def test_damage_behind_the_first_unit_is_rejected(self) -> None:
        sealed = stream()
        with pytest.raises(RejectedError, match="damaged"):
            make_server().accept(sealed[:-1] + bytes((sealed[-1] ^ 1,)))


class TestKeys:
    def test_the_key_used_last_is_tried_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[bytes] = []

        def counting_subkey(master: bytes, salt: bytes) -> bytes:
            tried.append(master)
            return subkey(master, salt)

        monkeypatch.setattr(server_module, "subkey", counting_subkey)
        server = make_server((f"user-{number}", f"Secret{number}") for number in range(10))
        attempts = []
        for number in (7, 7, 3, 7, 3):
            tried.clear()
            assert accept(server, stream(secret=f"Secret{number}")).user == f"user-{number}"
            attempts.append(len(tried))
        assert attempts == [8, 1, 5, 2, 2]

    def test_of_users_with_the_same_secret_the_first_is_meant(self) -> None:
        server = make_server([("other", "Secret1"), ("first", "Secret0"), ("second", "Secret0")])
        assert [accept(server, stream(secret=secret)).user for secret in ("Secret0", "Secret1", "Secret0")] == ["first", "other", "first"]

    def test_a_server_without_users_rejects_everybody(self) -> None:
        with pytest.raises(RejectedError):
            make_server([]).accept(stream())

    def test_an_empty_secret_is_refused(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            make_server([("user", "")])


class TestReplay:
    def test_a_stream_is_served_once(self) -> None:
        server, sealed = make_server(), stream()
        accept(server, sealed)
        with pytest.raises(RejectedError, match="here before"):
            server.accept(sealed)

    def test_a_stream_that_comes_slowly_is_not_its_own_replay(self) -> None:
        server, sealed = make_server(), stream()
        assert [server.accept(sealed[:size]) for size in range(len(sealed))] == [None] * len(sealed)
        accept(server, sealed)

    def test_history_can_be_switched_off(self) -> None:
        server, sealed = make_server(replay_history=0), stream()
        assert accept(server, sealed).payload == accept(server, sealed).payload == b"hello"

    @pytest.mark.parametrize("name", [CHACHA.name, "aes-256-gcm", "aes-192-gcm"])
    def test_an_answer_sent_back_is_no_stream(self, name: str) -> None:
        server = make_server(name=name)
        answer = seal(accept(server, stream(name=name)).sealer, b"an answer that is longer than a header")
        with pytest.raises(RejectedError, match="our own answers"):
            server.accept(answer)

    def test_the_mark_of_one_user_does_not_matter_to_another(self) -> None:
        salt = SaltMark(b"Secret1", 32).new_salt()
        accept(make_server(), seal(raw_sealer(salt), encode_address(TARGET)))

    def test_answers_never_begin_alike(self) -> None:
        server = make_server()
        assert len({seal(accept(server, stream()).sealer, b"")[:28] for _ in range(20)}) == 20


def packets(*packets: Packet, secret: str = "Secret0", name: str = CHACHA.name) -> list[bytes]:
    return AeadClient(METHODS[name], Secret(secret), b"", PYTHON).packets().seal(list(packets))


class TestPackets:
    def test_the_key_used_last_is_tried_first_by_streams_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[bytes] = []

        def counting_subkey(master: bytes, salt: bytes) -> bytes:
            tried.append(master)
            return subkey(master, salt)

        monkeypatch.setattr(packets_module, "subkey", counting_subkey)
        server = make_server((f"user-{number}", f"Secret{number}") for number in range(10))
        attempts = []
        for number in (7, 7, 3, 7, 3):
            [datagram] = packets(Packet(TARGET, b"hello"), secret=f"Secret{number}")
            tried.clear()
            assert server.accept_packets(datagram).user == f"user-{number}"
            attempts.append(len(tried))
        assert attempts == [8, 1, 5, 2, 2]
        monkeypatch.setattr(server_module, "subkey", counting_subkey)
        sealed = stream(secret="Secret3")
        tried.clear()
        accept(server, sealed)
        assert len(tried) == 1

    @pytest.mark.parametrize(
        ("plain", "expected"), [(b"\x07 no address type", AddressTypeError), (b"\x03\x05a b.c\x01\xbb", AddressError), (b"\x01\x01", AddressError)]
    )
    def test_what_is_no_address_is_told_apart_from_what_no_key_opens(self, plain: bytes, expected: type[Exception]) -> None:
        datagram = bytes(32) + CHACHA.aead(subkey(master_key(b"Secret0", 32), bytes(32))).encrypt(bytes(12), plain, None)
        with pytest.raises(expected):
            make_server().accept_packets(datagram)
        with pytest.raises(RejectedError, match="no key fits"):
            make_server([("user", "Secret1")]).accept_packets(datagram)

    def test_a_server_without_users_rejects_everybody(self) -> None:
        with pytest.raises(RejectedError):
            make_server([]).accept_packets(packets(Packet(TARGET, b"hello"))[0])

    def test_packets_may_come_twice(self) -> None:
        server, [datagram] = make_server(), packets(Packet(TARGET, b"hello"))
        accepted = server.accept_packets(datagram)
        assert server.accept_packets(datagram).first == accepted.first
        assert accepted.codec.open([datagram, datagram]) == [accepted.first] * 2

    def test_nobody_but_the_association_s_user_is_heard_later(self) -> None:
        server = make_server([("ann", "Secret0"), ("ben", "Secret1")])
        packet = Packet(TARGET, b"hello")
        accepted = server.accept_packets(packets(packet)[0])
        assert accepted.codec.open([*packets(packet, secret="Secret1"), *packets(packet)]) == [packet]
