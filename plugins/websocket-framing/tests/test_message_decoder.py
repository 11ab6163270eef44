from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.frames import INVALID_DATA, MESSAGE_TOO_BIG, PROTOCOL_ERROR, Close
from outline_lb_websocket.message_decoder import Message, MessageDecoder

MASK = b"\x37\xfa\x21\x3d"
BOTH = pytest.mark.parametrize("masked", [False, True])


def frame(payload: bytes, first: int, mask: bytes = b"") -> bytes:
    size, bit = len(payload), 0x80 if mask else 0
    header = bytes((first, bit | size)) if size < 126 else bytes((first, bit | 127 if size > 65535 else bit | 126))
    if size >= 126:
        header += size.to_bytes(8 if size > 65535 else 2, "big")
    if mask:
        payload = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))
    return header + mask + payload


def feed(decoder: MessageDecoder, data: bytes) -> list[Message]:
    """What a stream does: lends a buffer and uses it again."""
    buffer = bytearray(data)
    messages = decoder.feed(memoryview(buffer))
    buffer[:] = b"\xee" * len(buffer)
    return messages


# -- messages


def test_vectors_of_the_rfc() -> None:
    decoder = MessageDecoder(masked=False)
    assert feed(decoder, bytes.fromhex("810548656c6c6f")) == [Message(b"Hello", text=True)]
    assert feed(decoder, bytes.fromhex("010348656c80026c6f")) == [Message(b"Hello", text=True)]
    assert feed(decoder, bytes.fromhex("827e0100") + bytes(range(256))) == [Message(bytes(range(256)))]
    assert feed(MessageDecoder(masked=True), bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(b"Hello", text=True)]


def test_types_and_boundaries_are_kept() -> None:
    decoder = MessageDecoder(masked=False)
    data = frame(b"one", 0x82) + frame(b"two", 0x81) + frame(b"", 0x82) + frame(b"", 0x81) + frame(b"three", 0x82)
    expected = [Message(b"one"), Message(b"two", text=True), Message(b""), Message(b"", text=True), Message(b"three")]
    assert feed(decoder, data) == expected


def test_a_message_comes_when_it_is_whole() -> None:
    decoder = MessageDecoder(masked=False)
    assert feed(decoder, frame(b"one", 0x02) + frame(b"", 0x00) + frame(b"two", 0x00)[:3]) == []
    assert feed(decoder, frame(b"two", 0x00)[3:]) == []
    assert feed(decoder, frame(b"", 0x80)) == [Message(b"onetwo")]


def test_leftover_comes_with_the_first_feed() -> None:
    decoder = MessageDecoder(masked=False, leftover=frame(b"left", 0x81) + b"\x82")
    assert feed(decoder, b"") == [Message(b"left", text=True)]
    assert feed(decoder, b"\x04more") == [Message(b"more")]


@st.composite
def conversations(draw: st.DrawFn, masked: bool) -> tuple[bytes, list[Message], list[bytes]]:
    """Frames that a peer may send, the messages in them, and the pings."""
    wire, messages, pings = bytearray(), [], []

    def add(payload: bytes, first: int) -> None:
        nonlocal wire
        wire += frame(payload, first, draw(st.binary(min_size=4, max_size=4)) if masked else b"")

    def maybe_control() -> None:
        kind, payload = draw(st.sampled_from((None, None, 0x89, 0x8A))), draw(st.binary(max_size=5))
        if kind is not None:
            add(payload, kind)
            if kind == 0x89:
                pings.append(payload)

    for _ in range(draw(st.integers(1, 5))):
        text = draw(st.booleans())
        data = (draw(st.text(max_size=20)).encode() if text else draw(st.binary(max_size=20))) * draw(st.sampled_from((1, 1, 1, 9, 4000)))
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
        parts = [data[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(data)])]
        for index, part in enumerate(parts):
            maybe_control()
            add(part, (0x80 if index == len(parts) - 1 else 0) | (0 if index else 1 if text else 2))
        messages.append(Message(data, text))
    return bytes(wire), messages, pings


@BOTH
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cut_gives_the_same_messages(masked: bool, data: st.DataObject) -> None:
    wire, messages, pings = data.draw(conversations(masked))
    decoder, received, pos = MessageDecoder(masked), list[Message](), 0
    step = data.draw(st.sampled_from((1, 2, 3, 7, 100, 1_000_000))) if len(wire) < 20_000 else 5000
    while pos < len(wire):
        received += feed(decoder, wire[pos : pos + step])
        pos += step
    assert decoder.error is None
    assert received == messages
    assert decoder.pings == pings
    assert decoder.complete


frames_of_any_kind = st.builds(
    frame, st.one_of(st.binary(max_size=6), st.text(max_size=3).map(str.encode)), st.integers(0, 255), st.sampled_from((b"", b"", b"", MASK))
)


@BOTH
@settings(max_examples=300, deadline=None)
@given(data=st.one_of(st.binary(max_size=100), st.lists(frames_of_any_kind, max_size=6).map(b"".join)), step=st.integers(1, 20))
def test_any_bytes_are_read_or_refused_alike_however_they_are_cut(masked: bool, data: bytes, step: int) -> None:
    def outcome(*parts: bytes) -> tuple[object, ...]:
        decoder, received = MessageDecoder(masked, max_message=10), list[Message]()
        for part in parts:
            received += feed(decoder, part)
        error = decoder.error and decoder.error.code
        assert error in {None, PROTOCOL_ERROR, INVALID_DATA, MESSAGE_TOO_BIG}
        assert all(message.data.decode() is not None for message in received if message.text)
        return received, decoder.pings, decoder.close, error

    assert outcome(data) == outcome(*(data[start : start + step] for start in range(0, len(data), step)))


# -- texts


@pytest.mark.parametrize("text", ["κόσμε", "\U0010ffff", "\0", "\ufffe"])
def test_characters_may_be_cut_anywhere(text: str) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        decoder = MessageDecoder(masked=False)
        assert feed(decoder, frame(data[:cut], 0x01) + frame(data[cut:], 0x80)) == [Message(data, text=True)]


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xff", id="no UTF-8 has this byte"),
        pytest.param(b"ok\x80", id="middle without a beginning"),
        pytest.param(b"\xc0", id="overlong in any case"),
        pytest.param(b"\xe0\x9f", id="overlong"),
        pytest.param(b"\xed\xa0\x80", id="surrogate, which Python tells at its third byte only"),
        pytest.param(b"\xf4\x90", id="above U+10FFFF"),
        pytest.param(b"\xce\xbaa\xce\xbaa\xff", id="after a few characters"),
    ],
)
def test_a_text_is_refused_as_soon_as_it_cannot_become_utf_8(masked: bool, text: bytes) -> None:
    decoder = MessageDecoder(masked)
    wire = frame(text + b"more", 0x01, MASK if masked else b"")
    for byte in wire[: len(wire) - len(b"more") - 1]:
        feed(decoder, bytes((byte,)))
    assert decoder.error is None
    feed(decoder, wire[len(wire) - len(b"more") - 1 :][:1])
    assert decoder.error is not None
    assert decoder.error.code == INVALID_DATA


def test_a_text_that_ends_inside_a_character_is_refused() -> None:
    decoder = MessageDecoder(masked=False)
    assert feed(decoder, frame(b"ok", 0x81) + frame("ä".encode()[:1], 0x81)) == [Message(b"ok", text=True)]
    assert decoder.error is not None
    assert decoder.error.code == INVALID_DATA


def test_a_binary_message_may_hold_anything_even_after_a_text() -> None:
    assert feed(MessageDecoder(masked=False), frame(b"a", 0x81) + frame(b"\xff", 0x82)) == [Message(b"a", text=True), Message(b"\xff")]


# -- errors and limits


def test_messages_before_a_violation_count_and_nothing_after_it() -> None:
    decoder = MessageDecoder(masked=False)
    assert feed(decoder, frame(b"good", 0x82) + frame(b"bad", 0xC2) + frame(b"late", 0x82)) == [Message(b"good")]
    assert decoder.error is not None
    assert decoder.error.code == PROTOCOL_ERROR
    assert feed(decoder, frame(b"late", 0x82) + frame(b"\x03\xe8", 0x88)) == []
    assert decoder.close is None


def test_a_close_says_why() -> None:
    decoder = MessageDecoder(masked=False)
    assert feed(decoder, frame(b"last", 0x82) + frame(b"\x03\xe9bye", 0x88)) == [Message(b"last")]
    assert decoder.close == Close(1001, "bye")


@pytest.mark.parametrize("first", [0x81, 0x82])
def test_a_message_that_announces_too_much_is_refused_before_it_comes(first: int) -> None:
    decoder = MessageDecoder(masked=False, max_message=300)
    feed(decoder, frame(bytes(301), first)[:4])
    assert decoder.error is not None
    assert decoder.error.code == MESSAGE_TOO_BIG


def test_many_tiny_fragments_take_no_more_than_the_message_may_have() -> None:
    decoder = MessageDecoder(masked=False, max_message=20_000)
    decoder.feed(frame(b"x", 0x02))
    fragment = frame(b"x", 0x00) + frame(b"", 0x00)
    tracemalloc.start()
    try:
        for _ in range(19_999):
            decoder.feed(fragment)
        grown, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoder.error is None
    assert grown < 40_000
    decoder.feed(frame(b"x", 0x00))
    assert decoder.error is not None
    assert not decoder._begun
