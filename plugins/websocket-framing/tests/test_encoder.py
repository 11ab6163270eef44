from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import ROOM
from outline_lb_websocket.decoder import FrameDecoder
from outline_lb_websocket.encoder import PAYLOAD_ROOM, SMALL, ClientEncoder, Encoder, ServerEncoder
from outline_lb_websocket.frames import BINARY, CLOSE, PING, TEXT, Close
from outline_lb_websocket.message_decoder import Message, MessageDecoder

CLIENT, SERVER = ClientEncoder(), ServerEncoder()
ENCODERS = pytest.mark.parametrize(("encoder", "masked"), [(CLIENT, True), (SERVER, False)])
SIZES = (1, 2, 3, 4, 5, 125, 126, 127, SMALL - 1, SMALL, SMALL + 1, 65535, 65536, 65537, ROOM)


@ENCODERS
@pytest.mark.parametrize("size", SIZES)
def test_message_round_trip(encoder: Encoder, masked: bool, size: int) -> None:
    data = os.urandom(size)
    assert b"".join(FrameDecoder(masked).feed(encoder.message(data))) == data


@ENCODERS
@pytest.mark.parametrize("size", SIZES)
def test_message_in_room_round_trip(encoder: Encoder, masked: bool, size: int) -> None:
    data = os.urandom(size)
    PAYLOAD_ROOM[:size] = data
    assert b"".join(FrameDecoder(masked).feed(encoder.message_in_room(size))) == data


@pytest.mark.parametrize(
    ("size", "header"),
    [(1, "8201"), (125, "827d"), (126, "827e007e"), (256, "827e0100"), (65535, "827effff"), (65536, "827f0000000000010000")],
)
def test_headers_are_minimal(size: int, header: str) -> None:
    expected = bytes.fromhex(header)
    assert bytes(SERVER.message(bytes(size)))[: len(expected)] == expected
    masked = bytes(CLIENT.message(bytes(size)))
    assert masked[0] == expected[0]
    assert masked[1] == expected[1] | 0x80
    assert masked[2 : len(expected)] == expected[2:]
    assert len(masked) == len(expected) + 4 + size


def test_room_is_as_large_as_the_contract_says() -> None:
    assert len(PAYLOAD_ROOM) >= ROOM


@pytest.mark.parametrize("size", [10, SMALL, 70000])
def test_each_message_has_a_mask_of_its_own(size: int) -> None:
    messages = {bytes(CLIENT.message(bytes(size))) for _ in range(20)}
    assert len(messages) == 20


@pytest.mark.parametrize("size", [10, SMALL, 70000])
def test_message_does_not_touch_its_source(size: int) -> None:
    source = bytearray(os.urandom(size))
    before = bytes(source)
    CLIENT.message(memoryview(source))
    assert source == before


@ENCODERS
@settings(max_examples=50, deadline=None)
@given(payload=st.binary(max_size=125))
def test_control_round_trip(encoder: Encoder, masked: bool, payload: bytes) -> None:
    decoder = FrameDecoder(masked)
    assert decoder.feed(encoder.control(PING, payload)) == []
    assert decoder.pings == [payload]


@ENCODERS
def test_close_round_trip(encoder: Encoder, masked: bool) -> None:
    decoder = FrameDecoder(masked)
    decoder.feed(encoder.control(CLOSE, b"\x03\xf1gone"))
    assert decoder.close == Close(1009, "gone")


@ENCODERS
@pytest.mark.parametrize("size", [0, *SIZES, 2 * ROOM])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_frame_round_trip(encoder: Encoder, masked: bool, size: int, opcode: int) -> None:
    data = bytes(range(128)) * (size // 128) + bytes(size % 128)
    assert MessageDecoder(masked).feed(encoder.frame(opcode, data)) == [Message(data, text=opcode == TEXT)]


@ENCODERS
def test_a_batch_is_the_frames_of_its_packets(encoder: Encoder, masked: bool) -> None:
    payloads = [os.urandom(size) for size in SIZES]
    frames = encoder.binary_frames(payloads)
    for frame, payload in zip(frames, payloads, strict=True):
        assert len(frame) == len(encoder.frame(BINARY, payload))
    assert MessageDecoder(masked).feed(b"".join(frames)) == [Message(payload) for payload in payloads]
    assert len({frame for _ in range(20) for frame in encoder.binary_frames([bytes(10)] * 5)}) == (100 if masked else 1)
