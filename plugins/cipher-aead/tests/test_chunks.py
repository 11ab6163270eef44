from __future__ import annotations

import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import ROOM, Address, Buffer, Opener, ProtocolError, Sealer, encode_address
from outline_lb_cipher_aead.chunks import BATCH, CHUNK
from outline_lb_cipher_aead.codec import Codec
from outline_lb_cipher_aead.key import master_key, subkey
from outline_lb_cipher_aead.method import METHODS, Method

CHACHA = METHODS["chacha20-ietf-poly1305"]
HEADER = encode_address(Address("example.com", 443))

VECTORS = {  # secret "Secret0", salt 00 01 02 ...; one chunk of address and "hello"
    "chacha20-ietf-poly1305": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fb21f82b9cefd550db75210cec10317e76cac0ba3cc91cd7602c2"
    "f6d9963f19c94282f2d45fc1ef0739de30936247674334936c9e4c46",
    "aes-256-gcm": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f6c21ac575d5d91690cf8f7645f0358ace98399e5f82b52989361d80e"
    "fd7bbf0d02c508b1180f7f2e3b002358159113b758e43f2046da",
    "aes-192-gcm": "000102030405060708090a0b0c0d0e0f10111213141516177d60e9103f368c20ea31e637bd3639faef920984d2757168eb3756aa83674fcaac674d19"
    "4537047024b6f03c272515e7fa21f48b6850",
    "aes-128-gcm": "000102030405060708090a0b0c0d0e0f8b42b6755084361be15e95c4a8e3f278c8779e95d84bf582c8f8aacd422b852af2ccb99fe626b185e7f81bde"
    "9f3c3efb98880f51f079",
}


def key_of(method: Method) -> bytes:
    return master_key(b"Secret0", method.size)


@pytest.fixture(scope="module")
def ends(codec: Codec) -> Ends:
    """Both ends by one codec: every test runs with each."""
    return Ends(codec)


class Ends:
    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def sealer(self, method: Method = CHACHA, header: bytes = b"") -> Sealer:
        return self._codec.sealer(method.name, key_of(method), bytes(range(method.size)), header)

    def opener(self, method: Method = CHACHA) -> Opener:
        return self._codec.opener(method.name, key_of(method))


def seal(sealer: Sealer, data: Buffer) -> bytes:
    out = bytearray(ROOM)
    return bytes(out[: sealer.seal_into(data, memoryview(out))])


def seal_by_hand(*lengths_and_payloads: tuple[int, bytes]) -> bytes:
    """Write a stream whose lengths may say anything."""
    salt = bytes(range(32))
    encrypt, units = CHACHA.aead(subkey(key_of(CHACHA), salt)).encrypt, [salt]
    for number, (length, payload) in enumerate(lengths_and_payloads):
        units.append(encrypt((2 * number).to_bytes(12, "little"), length.to_bytes(2, "big"), None))
        units.append(encrypt((2 * number + 1).to_bytes(12, "little"), payload, None))
    return b"".join(units)


class TestVectors:
    @pytest.mark.parametrize("name", VECTORS)
    def test_seal(self, ends: Ends, name: str) -> None:
        assert seal(ends.sealer(METHODS[name], HEADER), b"hello").hex() == VECTORS[name]

    @pytest.mark.parametrize("name", VECTORS)
    def test_open(self, ends: Ends, name: str) -> None:
        assert ends.opener(METHODS[name]).feed(bytes.fromhex(VECTORS[name])) == [HEADER + b"hello"]


class TestSealer:
    def test_header_shares_the_first_chunk_with_the_data(self, ends: Ends) -> None:
        assert ends.opener().feed(seal(ends.sealer(header=HEADER), b"x" * 20_000)) == [
            HEADER + b"x" * (CHUNK - len(HEADER)),
            b"x" * (20_000 + len(HEADER) - CHUNK),
        ]

    def test_header_alone_for_ipv4_has_73_bytes(self, ends: Ends) -> None:
        assert len(seal(ends.sealer(header=encode_address(Address("192.0.2.1", 80))), b"")) == 32 + 18 + 7 + 16

    def test_an_answer_may_begin_with_nothing_but_the_salt(self, ends: Ends) -> None:
        assert seal(ends.sealer(), b"") == bytes(range(32))

    def test_chunks_are_as_big_as_they_can_be(self, ends: Ends) -> None:
        sealer = ends.sealer()
        pieces = ends.opener().feed(seal(sealer, bytes(BATCH)) + seal(sealer, bytes(CHUNK + 1)))
        assert [len(piece) for piece in pieces] == [CHUNK] * 8 + [CHUNK, 1]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1, BATCH])
    def test_takes_every_kind_of_buffer(self, ends: Ends, kind: type[Buffer], size: int) -> None:
        sealer, data = ends.sealer(header=HEADER), os.urandom(size)
        sealed = seal(sealer, kind(data)) + seal(sealer, kind(data))
        assert b"".join(ends.opener().feed(kind(sealed))) == HEADER + data + data


class TestOpener:
    @settings(deadline=None, max_examples=150)
    @given(
        name=st.sampled_from(list(VECTORS)),
        messages=st.lists(st.one_of(st.binary(min_size=1, max_size=100), st.integers(1, 40_000).map(os.urandom)), max_size=5),
        cuts=st.lists(st.integers(1, 70_000), max_size=20),
    )
    def test_opens_what_was_sealed_however_it_is_cut(self, ends: Ends, name: str, messages: list[bytes], cuts: list[int]) -> None:
        sealer, opener = ends.sealer(METHODS[name], HEADER), ends.opener(METHODS[name])
        sealed = b"".join(seal(sealer, message) for message in messages)
        pieces: list[bytes] = []
        for cut in (*cuts, len(sealed)):
            pieces += opener.feed(sealed[:cut])
            sealed = sealed[cut:]
        assert b"".join(pieces) == (HEADER if messages else b"") + b"".join(messages)
        assert all(pieces)
        assert opener.complete

    @settings(deadline=None, max_examples=100)
    @given(name=st.sampled_from(list(VECTORS)), parts=st.lists(st.binary(min_size=1, max_size=200), max_size=5))
    def test_garbage_raises_nothing_but_protocol_errors(self, ends: Ends, name: str, parts: list[bytes]) -> None:
        opener, size = ends.opener(METHODS[name]), METHODS[name].size
        coming = 0
        try:
            for part in parts:
                coming += len(part)
                assert opener.feed(part) == []
        except ProtocolError as exc:
            assert str(exc) == "authentication failed: wrong secret or cipher?"  # noqa: PT017
            assert coming >= size + 18
        else:
            assert coming < size + 18

    @settings(deadline=None, max_examples=100)
    @given(tail=st.binary(max_size=100), cut=st.integers(0, 116))
    def test_garbage_after_a_good_beginning(self, ends: Ends, tail: bytes, cut: int) -> None:
        sealed = seal(ends.sealer(), b"x" * 50)
        opener, damaged = ends.opener(), sealed[:cut] + tail
        if sealed.startswith(damaged):
            opener.feed(damaged)
        elif len(damaged) >= len(sealed) and not damaged.startswith(sealed):
            with pytest.raises(ProtocolError):
                opener.feed(damaged)
        else:
            try:
                assert opener.feed(damaged) in ([], [b"x" * 50])
            except ProtocolError:
                return

    @pytest.mark.parametrize(("place", "behind"), [(0, 99), (17, 99), (18, 17), (116, 17), (0, 18)])
    def test_after_damage_the_next_unit_is_looked_at_when_all_of_it_has_come(self, ends: Ends, place: int, behind: int) -> None:
        sealer, opener = ends.sealer(), ends.opener()
        opener.feed(seal(sealer, b"x"))
        chunk = bytearray(seal(sealer, bytes(83)))
        chunk[place] ^= 1
        unit = 18 if place < 18 else len(chunk)
        data = bytes(chunk[:unit]) + os.urandom(behind)
        with pytest.raises(ProtocolError):
            opener.feed(data[: unit + min(behind, 17)])
        assert opener.feed(b"") == []
        with pytest.raises(ProtocolError):
            opener.feed(data[unit + min(behind, 17) :] + bytes(max(0, 18 - behind)))

    def test_damage_after_the_first_unit_is_no_wrong_secret(self, ends: Ends) -> None:
        sealed = seal(ends.sealer(), b"hello")
        with pytest.raises(ProtocolError, match=r"^authentication failed: damaged on the way\?$"):
            ends.opener().feed(sealed[:-1] + bytes((sealed[-1] ^ 1,)))

    def test_reserved_bits_of_a_length_are_masked(self, ends: Ends) -> None:
        assert ends.opener().feed(seal_by_hand((0xC005, b"hello"))) == [b"hello"]

    def test_an_empty_chunk_is_no_piece(self, ends: Ends) -> None:
        opener = ends.opener()
        assert opener.feed(seal_by_hand((0, b""), (5, b"hello"), (0, b""))) == [b"hello"]
        assert opener.complete

    def test_the_end_is_clean_between_chunks_only(self, ends: Ends) -> None:
        sealed = seal(ends.sealer(), b"hello")
        complete = []
        for size in range(len(sealed) + 1):
            opener = ends.opener()
            opener.feed(sealed[:size])
            if opener.complete:
                complete.append(size)
        assert complete == [0, 32, len(sealed)]

    def test_keeps_no_more_than_a_chunk(self, ends: Ends) -> None:
        sealer = ends.sealer()
        sealed = b"".join(seal(sealer, bytes(BATCH)) for _ in range(8))
        opener, most = ends.opener(), 0
        tracemalloc.start()
        for start in range(0, len(sealed), 5000):
            opener.feed(sealed[start : start + 5000])
            most = max(most, tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert most < 3 * CHUNK
