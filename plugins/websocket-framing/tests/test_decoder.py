from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.decoder import FrameDecoder
from outline_lb_websocket.frames import UNSUPPORTED_DATA, FrameError

MASK = b"\x37\xfa\x21\x3d"


def frame(payload: bytes, first: int = 0x82, mask: bytes = b"") -> bytes:
    size, bit = len(payload), 0x80 if mask else 0
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 65536:
        header = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if mask:
        payload = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))
    return header + mask + payload


def feed(decoder: FrameDecoder, data: bytes) -> bytes:
    """What a stream does: joins the pieces at once, because the buffer is not its own."""
    buffer = bytearray(data)
    pieces = decoder.feed(memoryview(buffer))
    assert all(len(piece) for piece in pieces)
    joined = b"".join(pieces)
    buffer[:] = b"\xee" * len(buffer)
    return joined


# -- the vectors of RFC 6455 section 5.7


def test_vector_256_bytes_of_binary() -> None:
    assert feed(FrameDecoder(masked=False), bytes.fromhex("827e0100") + bytes(range(256))) == bytes(range(256))


def test_vector_64_kib_of_binary() -> None:
    data = bytes(65536)
    assert feed(FrameDecoder(masked=False), bytes.fromhex("827f0000000000010000") + data) == data


def test_vector_masked_hello_as_binary() -> None:
    assert feed(FrameDecoder(masked=True), bytes.fromhex("828537fa213d7f9f4d5158")) == b"Hello"


def test_vector_fragments_as_binary() -> None:
    assert feed(FrameDecoder(masked=False), bytes.fromhex("020348656c80026c6f")) == b"Hello"


# -- payload


@pytest.mark.parametrize("masked", [False, True])
def test_one_wake_up_brings_many_frames_in_order(masked: bool) -> None:
    mask = MASK if masked else b""
    sizes = (1, 125, 126, 127, 2048, 65535, 65536, 70001)
    payloads = [bytes((index,)) * size for index, size in enumerate(sizes)]
    assert feed(FrameDecoder(masked), b"".join(frame(payload, mask=mask) for payload in payloads)) == b"".join(payloads)


def test_payload_flows_before_its_frame_is_whole() -> None:
    decoder = FrameDecoder(masked=False)
    data = frame(bytes(1000) + b"end")
    assert len(feed(decoder, data[:500])) == 496
    assert feed(decoder, data[500:]) == bytes(504) + b"end"


def test_empty_messages_bring_nothing() -> None:
    decoder = FrameDecoder(masked=False)
    assert decoder.feed(frame(b"") + frame(b"", 0x02) + frame(b"", 0x00) + frame(b"", 0x80)) == []
    assert decoder.complete


def test_leftover_comes_with_the_first_feed() -> None:
    decoder = FrameDecoder(masked=False, leftover=frame(b"left") + b"\x82")
    assert feed(decoder, b"") == b"left"
    assert feed(decoder, b"\x04more") == b"more"


def test_feeding_nothing_inside_a_frame_brings_nothing() -> None:
    decoder = FrameDecoder(masked=False)
    decoder.feed(frame(b"12345")[:4])
    assert decoder.feed(b"") == []


@st.composite
def conversations(draw: st.DrawFn, masked: bool) -> tuple[bytes, bytes, list[bytes]]:
    """Frames that a peer may send, their payload, and the pings among them."""
    wire, payload, pings = bytearray(), bytearray(), []
    fragmented = False

    def mask() -> bytes:
        return draw(st.binary(min_size=4, max_size=4)) if masked else b""

    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(("data", "data", "data", "ping", "pong")))
        if kind == "data":
            data = draw(st.binary(max_size=3)) * draw(st.sampled_from((0, 1, 41, 42, 43, 700, 22000)))
            final = draw(st.booleans())
            wire += frame(data, (0x80 if final else 0) | (0 if fragmented else 2), mask())
            payload += data
            fragmented = not final
        else:
            data = draw(st.binary(max_size=20))
            wire += frame(data, 0x89 if kind == "ping" else 0x8A, mask())
            if kind == "ping":
                pings.append(data)
    return bytes(wire), bytes(payload), pings


@pytest.mark.parametrize("masked", [False, True])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_cut_gives_the_same(masked: bool, data: st.DataObject) -> None:
    wire, payload, pings = data.draw(conversations(masked))
    decoder, received, pos = FrameDecoder(masked), b"", 0
    step = data.draw(st.sampled_from((1, 2, 3, 7, 100, 5000, 1_000_000))) if len(wire) < 20000 else 5000
    while pos < len(wire):
        size = data.draw(st.integers(1, step)) if step < 100 and len(wire) < 300 else step
        received += feed(decoder, wire[pos : pos + size])
        pos += size
    assert received == payload
    assert decoder.pings == pings


@pytest.mark.parametrize("masked", [False, True])
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_garbage_is_refused_or_read_alike_however_it_is_cut(masked: bool, data: bytes, cut: int) -> None:
    def outcome(*parts: bytes) -> tuple[object, ...]:
        decoder, received = FrameDecoder(masked), b""
        try:
            for part in parts:
                received += feed(decoder, part)
        except FrameError as exc:
            return ("error", exc.code)
        return received, decoder.pings, decoder.close

    assert outcome(data) == outcome(data[:cut], data[cut:])


@pytest.mark.parametrize("data", [b"\x81\x05Hello", b"\x01\x05Hello"])
def test_text_is_not_for_streams(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        FrameDecoder(masked=False).feed(data)
    assert caught.value.code == UNSUPPORTED_DATA
