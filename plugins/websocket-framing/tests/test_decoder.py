from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.decoder import MAX_MESSAGE, FrameDecoder
from outline_lb_websocket.frames import MESSAGE_TOO_BIG, PROTOCOL_ERROR, UNSUPPORTED_DATA, Close, FrameError

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


def code_of(data: bytes, masked: bool = False, max_message: int = MAX_MESSAGE) -> int:
    with pytest.raises(FrameError) as caught:
        FrameDecoder(masked, max_message=max_message).feed(data)
    return caught.value.code


# -- the vectors of RFC 6455 section 5.7


def test_vector_256_bytes_of_binary() -> None:
    assert feed(FrameDecoder(masked=False), bytes.fromhex("827e0100") + bytes(range(256))) == bytes(range(256))


def test_vector_64_kib_of_binary() -> None:
    data = bytes(65536)
    assert feed(FrameDecoder(masked=False), bytes.fromhex("827f0000000000010000") + data) == data


def test_vector_ping() -> None:
    decoder = FrameDecoder(masked=False)
    assert feed(decoder, bytes.fromhex("890548656c6c6f")) == b""
    assert decoder.pings == [b"Hello"]


def test_vector_masked_pong_is_ignored() -> None:
    decoder = FrameDecoder(masked=True)
    assert feed(decoder, bytes.fromhex("8a8537fa213d7f9f4d5158")) == b""
    assert decoder.pings == []
    assert decoder.close is None


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


def test_complete_only_between_messages() -> None:
    decoder = FrameDecoder(masked=True)
    whole = frame(b"abc", 0x02, MASK) + frame(b"def", 0x80, MASK)
    seen = []
    for index in range(len(whole)):
        seen.append(decoder.complete)
        decoder.feed(whole[index : index + 1])
    assert seen == [True] + [False] * (len(whole) - 1)
    assert decoder.complete


def test_control_frames_come_between_fragments() -> None:
    decoder = FrameDecoder(masked=False)
    data = frame(b"one", 0x02) + frame(b"p", 0x89) + frame(b"two", 0x00) + frame(b"", 0x8A) + frame(b"q", 0x89) + frame(b"three", 0x80)
    assert feed(decoder, data) == b"onetwothree"
    assert decoder.pings == [b"p", b"q"]


def test_nothing_counts_after_a_close() -> None:
    decoder = FrameDecoder(masked=False)
    assert feed(decoder, frame(b"data") + frame(b"\x03\xe8", 0x88) + frame(b"late") + b"\xff\xff") == b"data"
    assert decoder.close == Close(1000)
    assert decoder.feed(b"\xff\xff\xff") == []


def test_keeps_no_more_than_a_header_or_a_control_frame() -> None:
    decoder = FrameDecoder(masked=True)
    decoder.feed(frame(bytes(500_000), mask=MASK)[:300_000])
    assert not decoder._tail
    decoder = FrameDecoder(masked=True)
    decoder.feed(frame(bytes(125), 0x89, MASK)[:-1])
    assert len(decoder._tail) == 130


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


# -- violations


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xc2\x01a", id="RSV1"),
        pytest.param(b"\xa2\x01a", id="RSV2"),
        pytest.param(b"\x92\x01a", id="RSV3"),
        pytest.param(b"\xc9\x00", id="RSV1 on a control frame"),
        *(pytest.param(bytes((0x80 | opcode, 0)), id=f"opcode {opcode}") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        pytest.param(b"\x82\x81" + MASK + b"a", id="masked"),
        pytest.param(b"\x82\xfe\x00\x80", id="masked, 16 bits"),
        pytest.param(b"\x82\x7e\x00\x7d", id="16 bits for 125"),
        pytest.param(b"\x82\x7f" + (65535).to_bytes(8, "big"), id="64 bits for 65535"),
        pytest.param(b"\x82\x7f" + (1 << 63).to_bytes(8, "big"), id="most significant bit"),
        pytest.param(b"\x09\x00", id="fragmented ping"),
        pytest.param(b"\x08\x00", id="fragmented close"),
        pytest.param(b"\x89\x7e\x00\x7e" + bytes(126), id="ping of 126"),
        pytest.param(b"\x88\x7f" + (65536).to_bytes(8, "big"), id="close of 65536"),
        pytest.param(b"\x80\x01a", id="last fragment of nothing"),
        pytest.param(b"\x00\x01a", id="fragment of nothing"),
        pytest.param(b"\x02\x01a\x02\x01b", id="message inside a message"),
        pytest.param(b"\x02\x01a\x82\x01b", id="whole message inside a message"),
        pytest.param(b"\x02\x01a\x80\x01b\x80\x01c", id="fragment after the last"),
        pytest.param(b"\x88\x01\x03", id="close of one byte"),
        pytest.param(b"\x88\x02\x03\xed", id="close with 1005"),
    ],
)
def test_violations_of_the_protocol(data: bytes) -> None:
    assert code_of(data) == PROTOCOL_ERROR


@pytest.mark.parametrize("data", [b"\x82\x01abcde", b"\x89\x00abcd", b"\x82\x7e\x00\x80" + MASK])
def test_server_refuses_what_is_not_masked(data: bytes) -> None:
    assert code_of(data, masked=True) == PROTOCOL_ERROR


@pytest.mark.parametrize("data", [b"\x81\x05Hello", b"\x01\x05Hello"])
def test_text_is_not_for_streams(data: bytes) -> None:
    assert code_of(data) == UNSUPPORTED_DATA


def test_message_may_have_its_limit_and_no_more() -> None:
    assert len(feed(FrameDecoder(masked=False, max_message=300), frame(bytes(300)))) == 300
    assert code_of(frame(bytes(301))[:4], max_message=300) == MESSAGE_TOO_BIG


def test_limit_counts_all_fragments_of_a_message() -> None:
    fragments = frame(bytes(100), 0x02) + frame(bytes(100), 0x00) + frame(bytes(100), 0x80)
    assert len(feed(FrameDecoder(masked=False, max_message=300), fragments * 3)) == 900
    assert code_of(fragments, max_message=299) == MESSAGE_TOO_BIG


def test_default_limit_is_1_mib() -> None:
    assert code_of(b"\x82\x7f" + (1024 * 1024 + 1).to_bytes(8, "big")) == MESSAGE_TOO_BIG
    assert FrameDecoder(masked=False).feed(b"\x82\x7f" + (1024 * 1024).to_bytes(8, "big")) == []
