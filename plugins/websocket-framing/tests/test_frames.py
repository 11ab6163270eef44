from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.frames import INVALID_DATA, PROTOCOL_ERROR, Close, FrameError


@pytest.mark.parametrize(
    ("payload", "close"),
    [
        (b"", Close(None)),
        (b"\x03\xe8", Close(1000)),
        (b"\x03\xf3no room", Close(1011, "no room")),
        ("\x0f\xa0".encode("latin-1") + "ß".encode(), Close(4000, "ß")),
    ],
)
def test_close_payload_is_code_and_reason(payload: bytes, close: Close) -> None:
    assert Close.parse(payload) == close


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    assert Close.parse(code.to_bytes(2, "big")).code == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_codes_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(FrameError) as caught:
        Close.parse(code.to_bytes(2, "big"))
    assert caught.value.code == PROTOCOL_ERROR


def test_single_byte_is_a_violation() -> None:
    with pytest.raises(FrameError) as caught:
        Close.parse(b"\x03")
    assert caught.value.code == PROTOCOL_ERROR


def test_reason_must_be_utf8() -> None:
    with pytest.raises(FrameError) as caught:
        Close.parse(b"\x03\xe8\xff")
    assert caught.value.code == INVALID_DATA


@pytest.mark.parametrize(("payload", "clean"), [(b"", True), (b"\x03\xe8", True), (b"\x03\xe8bye", True), (b"\x03\xe9", False), (b"\x03\xf3", False)])
def test_clean_is_none_or_1000(payload: bytes, clean: bool) -> None:
    assert Close.parse(payload).clean is clean


def test_texts_for_people() -> None:
    assert str(Close(1011)) == "1011"
    assert str(Close(1011, "line\nbreak")) == r"1011 ('line\nbreak')"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=125))
def test_any_payload_parses_or_names_a_code(payload: bytes) -> None:
    try:
        close = Close.parse(payload)
    except FrameError as exc:
        code = exc.code
    else:
        code = PROTOCOL_ERROR
        assert (b"" if close.code is None else close.code.to_bytes(2, "big") + close.reason.encode()) == payload
    assert code in (PROTOCOL_ERROR, INVALID_DATA)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0f\xa0" + "ä".encode() * 61])
def test_payload_says_what_was_parsed(payload: bytes) -> None:
    assert Close.parse(payload).payload == payload


def test_a_long_reason_is_cut_between_characters() -> None:
    assert Close(1000, "ä" * 62).payload == b"\x03\xe8" + "ä".encode() * 61
