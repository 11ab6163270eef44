from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outline_lb_websocket.encoder import ClientEncoder, Encoder, ServerEncoder
from outline_lb_websocket.frames import BINARY, CLOSE, CONTINUATION, MESSAGE_TOO_BIG, PING, PONG, PROTOCOL_ERROR, TEXT, UNSUPPORTED_DATA, Close
from outline_lb_websocket.packet_decoder import MAX_RECEIVED, PacketDecoder

ENCODERS: dict[bool, Encoder] = {True: ClientEncoder(), False: ServerEncoder()}
MASKED = pytest.mark.parametrize("masked", [True, False])


def fragments(encoder: Encoder, packet: bytes, cuts: list[int]) -> list[bytes]:
    """Return the frames of a message that is cut at some places."""
    bounds = [0, *sorted(cuts), len(packet)]
    pieces = [packet[start:end] for start, end in pairwise(bounds)]
    frames = [bytearray(encoder.frame(CONTINUATION if index else BINARY, piece)) for index, piece in enumerate(pieces)]
    for frame in frames[:-1]:
        frame[0] &= 0x7F  # not the last one
    return [bytes(frame) for frame in frames]


@MASKED
@given(
    packets=st.lists(st.tuples(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3)), max_size=12),
    controls=st.lists(st.sampled_from([PING, PONG]), max_size=4),
    seed=st.integers(),
)
def test_any_cut_of_any_frames_gives_the_packets(masked: bool, packets: list[tuple[bytes, list[int]]], controls: list[int], seed: int) -> None:
    encoder, chance = ENCODERS[masked], random.Random(seed)
    frames = [frame for packet, cuts in packets for frame in fragments(encoder, packet, [min(cut, len(packet)) for cut in cuts])]
    for opcode in controls:
        frames.insert(chance.randint(0, len(frames)), encoder.control(opcode, b"any"))
    data, decoder = b"".join(frames), PacketDecoder(masked)
    found = []
    while data:
        size = chance.randint(1, len(data))
        piece, data = bytearray(data[:size]), data[size:]
        found += decoder.feed(memoryview(piece))
        piece[:] = b"\xee" * len(piece)  # it was only borrowed
    assert found == [packet for packet, _ in packets]
    assert all(type(packet) is bytes for packet in found)
    assert decoder.error is None
    assert decoder.pings == [b"any"] * controls.count(PING)
    assert decoder.pong == (b"any" if PONG in controls else None)


@MASKED
@given(data=st.binary(max_size=400))
def test_whatever_comes_ends_in_packets_or_an_error(masked: bool, data: bytes) -> None:
    decoder = PacketDecoder(masked)
    decoder.feed(data)
    decoder.feed(data)


@MASKED
@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [(TEXT, b"text", UNSUPPORTED_DATA), (BINARY, bytes(MAX_RECEIVED + 1), MESSAGE_TOO_BIG), (3, b"", PROTOCOL_ERROR), (CLOSE, b"\0", PROTOCOL_ERROR)],
)
def test_what_the_peer_did_wrong_does_not_touch_the_packets_before_it(masked: bool, opcode: int, payload: bytes, code: int) -> None:
    encoder, decoder = ENCODERS[masked], PacketDecoder(masked)
    assert decoder.feed(encoder.frame(BINARY, b"good") + encoder.frame(opcode, payload)) == [b"good"]
    assert decoder.error is not None
    assert decoder.error.code == code
    assert decoder.feed(encoder.frame(BINARY, b"late")) == []


@MASKED
def test_fragments_together_have_a_limit(masked: bool) -> None:
    encoder, decoder = ENCODERS[masked], PacketDecoder(masked)
    most = bytes(MAX_RECEIVED)
    assert decoder.feed(b"".join(fragments(encoder, most, [1, 4096]))) == [most]
    assert decoder.feed(b"".join(fragments(encoder, most + b"x", [1, 4096]))) == []
    assert decoder.error is not None
    assert decoder.error.code == MESSAGE_TOO_BIG


@MASKED
def test_leftover_comes_first(masked: bool) -> None:
    encoder = ENCODERS[masked]
    data = encoder.frame(BINARY, b"left") + encoder.frame(BINARY, b"more")
    assert PacketDecoder(masked, data[:9]).feed(data[9:]) == [b"left", b"more"]


@MASKED
def test_nothing_comes_after_a_close(masked: bool) -> None:
    encoder, decoder = ENCODERS[masked], PacketDecoder(masked)
    data = encoder.frame(BINARY, b"last") + encoder.control(CLOSE, b"\x03\xe9bye") + encoder.frame(BINARY, b"late")
    assert decoder.feed(data) == [b"last"]
    assert decoder.close == Close(1001, "bye")
    assert decoder.error is None
