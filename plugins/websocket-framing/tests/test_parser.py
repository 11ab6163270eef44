from __future__ import annotations

import itertools
from typing import TypeAlias

import pytest

from outline_lb_websocket.decoder import FrameDecoder
from outline_lb_websocket.frames import MESSAGE_TOO_BIG, POLICY_VIOLATION, PROTOCOL_ERROR, Close, FrameError
from outline_lb_websocket.message_decoder import MessageDecoder
from outline_lb_websocket.parser import MAX_IDLE, MAX_MESSAGE

MASK = b"\x37\xfa\x21\x3d"
Decoder: TypeAlias = FrameDecoder | MessageDecoder
Kind: TypeAlias = type[FrameDecoder] | type[MessageDecoder]
KINDS = pytest.mark.parametrize("kind", [FrameDecoder, MessageDecoder])


def frame(payload: bytes, first: int = 0x82, mask: bytes = b"") -> bytes:
    size, bit = len(payload), 0x80 if mask else 0
    header = bytes((first, bit | size)) if size < 126 else bytes((first, bit | 127 if size > 65535 else bit | 126))
    if size >= 126:
        header += size.to_bytes(8 if size > 65535 else 2, "big")
    if mask:
        payload = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))
    return header + mask + payload


def feed(decoder: Decoder, data: bytes) -> bytes:
    """The payload that comes out, joined."""
    if isinstance(decoder, MessageDecoder):
        return b"".join(message.data for message in decoder.feed(data))
    return b"".join(decoder.feed(data))


def code_of(kind: Kind, data: bytes, masked: bool = False, max_message: int = MAX_MESSAGE) -> int:
    decoder = kind(masked, max_message=max_message)
    if isinstance(decoder, MessageDecoder):
        decoder.feed(data)
        assert decoder.error is not None
        return decoder.error.code
    with pytest.raises(FrameError) as caught:
        decoder.feed(data)
    return caught.value.code


# -- control frames


@KINDS
def test_vector_ping(kind: Kind) -> None:
    decoder = kind(masked=False)
    assert feed(decoder, bytes.fromhex("890548656c6c6f")) == b""
    assert decoder.pings == [b"Hello"]


@KINDS
def test_vector_masked_pong_is_ignored(kind: Kind) -> None:
    decoder = kind(masked=True)
    assert feed(decoder, bytes.fromhex("8a8537fa213d7f9f4d5158")) == b""
    assert decoder.pings == []
    assert decoder.close is None


@KINDS
def test_control_frames_come_between_fragments(kind: Kind) -> None:
    decoder = kind(masked=False)
    data = frame(b"one", 0x02) + frame(b"p", 0x89) + frame(b"two", 0x00) + frame(b"", 0x8A) + frame(b"q", 0x89) + frame(b"three", 0x80)
    assert feed(decoder, data) == b"onetwothree"
    assert decoder.pings == [b"p", b"q"]


@KINDS
def test_nothing_counts_after_a_close(kind: Kind) -> None:
    decoder = kind(masked=False)
    assert feed(decoder, frame(b"data") + frame(b"\x03\xe8", 0x88) + frame(b"late") + b"\xff\xff") == b"data"
    assert decoder.close == Close(1000)
    assert decoder.feed(b"\xff\xff\xff") == []


# -- what is kept


@KINDS
def test_complete_only_between_messages(kind: Kind) -> None:
    decoder = kind(masked=True)
    whole = frame(b"abc", 0x02, MASK) + frame(b"def", 0x80, MASK)
    seen = []
    for index in range(len(whole)):
        seen.append(decoder.complete)
        decoder.feed(whole[index : index + 1])
    assert seen == [True] + [False] * (len(whole) - 1)
    assert decoder.complete


@KINDS
def test_keeps_no_more_than_a_header_or_a_control_frame(kind: Kind) -> None:
    decoder = kind(masked=True)
    decoder.feed(frame(bytes(500_000), mask=MASK)[:300_000])
    assert not decoder._tail
    decoder = kind(masked=True)
    decoder.feed(frame(bytes(125), 0x89, MASK)[:-1])
    assert len(decoder._tail) == 130


# -- violations


@KINDS
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
def test_violations_of_the_protocol(kind: Kind, data: bytes) -> None:
    assert code_of(kind, data) == PROTOCOL_ERROR


@KINDS
@pytest.mark.parametrize("data", [b"\x82\x01abcde", b"\x89\x00abcd", b"\x82\x7e\x00\x80" + MASK])
def test_server_refuses_what_is_not_masked(kind: Kind, data: bytes) -> None:
    assert code_of(kind, data, masked=True) == PROTOCOL_ERROR


@KINDS
def test_message_may_have_its_limit_and_no_more(kind: Kind) -> None:
    assert len(feed(kind(masked=False, max_message=300), frame(bytes(300)))) == 300
    assert code_of(kind, frame(bytes(301))[:4], max_message=300) == MESSAGE_TOO_BIG


@KINDS
def test_limit_counts_all_fragments_of_a_message(kind: Kind) -> None:
    fragments = frame(bytes(100), 0x02) + frame(bytes(100), 0x00) + frame(bytes(100), 0x80)
    assert len(feed(kind(masked=False, max_message=300), fragments * 3)) == 900
    assert code_of(kind, fragments, max_message=299) == MESSAGE_TOO_BIG


@KINDS
def test_default_limit_is_1_mib(kind: Kind) -> None:
    assert code_of(kind, b"\x82\x7f" + (1024 * 1024 + 1).to_bytes(8, "big")) == MESSAGE_TOO_BIG
    assert kind(masked=False).feed(b"\x82\x7f" + (1024 * 1024).to_bytes(8, "big")) == []


@KINDS
@pytest.mark.parametrize("idle", [frame(b"", 0x8A), frame(b"x", 0x8A), frame(b"", 0x89), frame(b"", 0x00)])
def test_a_flood_of_frames_without_payload_is_refused(kind: Kind, idle: bytes) -> None:
    begin = frame(b"begun", 0x02)
    assert code_of(kind, begin + idle * (MAX_IDLE + 1)) == POLICY_VIOLATION
    decoder = kind(masked=False)
    feed(decoder, begin)
    for _ in range(3):
        feed(decoder, idle * MAX_IDLE)  # not all at once: others have their turn in between
