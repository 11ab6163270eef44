from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.head import MAX_FIELDS, MAX_HEAD, Head, HeadError, HeadTooLargeError, is_field_value, is_token, split_head


def test_split_waits_for_the_empty_line() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"
    for size in range(len(data) - 4):
        assert split_head(data[:size]) is None
    assert split_head(data) == (b"GET / HTTP/1.1\r\nHost: a", b"rest")


def test_what_follows_the_head_may_be_anything() -> None:
    assert split_head(b"a\r\n\r\n\0\n\r\r\n\r\n") == (b"a", b"\0\n\r\r\n\r\n")


@pytest.mark.parametrize("data", [b"a\nb", b"a\r\nb\n\r\n", b"a\rb", b"a\0", b"\n\n", b"a\r\r\n", b"a\nb\r\n\r\n", b"a\0b\r\n\r\n", b"a\r\r\n\r\n"])
def test_bare_ends_of_lines_and_nul_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(HeadError):
        split_head(data)


def test_a_head_that_comes_byte_by_byte_takes_a_fraction_of_the_time_that_it_is_given() -> None:
    data, begun = bytearray(), time.process_time()
    for byte in b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2700:
        data.append(byte)
        assert split_head(data) is None
    assert time.process_time() - begun < 1.5


def test_limit_of_bytes() -> None:
    assert split_head(b"a" * (MAX_HEAD - 4) + b"\r\n\r\n") == (b"a" * (MAX_HEAD - 4), b"")
    assert split_head(b"a" * (MAX_HEAD - 1)) is None
    for data in (b"a" * (MAX_HEAD - 3) + b"\r\n\r\n", b"a" * MAX_HEAD):
        with pytest.raises(HeadTooLargeError):
            split_head(data)


def test_limit_of_fields() -> None:
    assert len(Head.parse(b"start" + b"\r\na: b" * MAX_FIELDS).fields) == MAX_FIELDS
    with pytest.raises(HeadTooLargeError):
        Head.parse(b"start" + b"\r\na: b" * (MAX_FIELDS + 1))


def test_names_are_lowered_and_values_stripped() -> None:
    head = Head.parse(b"GET / HTTP/1.1\r\nHost:a\r\nX-Y: \t b c\t \r\nEmpty:\r\nColon: a:b")
    assert head.start == "GET / HTTP/1.1"
    assert head.fields == [("host", "a"), ("x-y", "b c"), ("empty", ""), ("colon", "a:b")]


@pytest.mark.parametrize(
    "line",
    [
        b" folded",
        b"\tfolded: x",
        b"no colon",
        b": no name",
        b"space : x",
        b"two words: x",
        b"b\xc3\xa4d: x",
        b"slash/: x",
        b"a: \x01",
        b"a: x\x7fy",
        b"a: x\x0by",
    ],
)
def test_malformed_fields_are_refused(line: bytes) -> None:
    with pytest.raises(HeadError):
        Head.parse(b"start\r\nx: y\r\n" + line)


def test_a_message_stays_short_whatever_the_name_is() -> None:
    with pytest.raises(HeadError) as raised:
        Head.parse(b"start\r\n" + b"x" * 9000 + b": \x01")
    assert len(str(raised.value)) < 200


def test_tokens_join_all_fields_of_a_name() -> None:
    head = Head.parse(b"s\r\nConnection: Keep-Alive, UPGRADE\r\nOther: x\r\nconnection: , close ,")
    assert head.tokens("connection") == {"keep-alive", "upgrade", "close"}
    assert head.tokens("absent") == set()


def test_single_is_there_exactly_once() -> None:
    head = Head.parse(b"s\r\na: 1\r\nb: 2\r\nb: 3")
    assert head.single("a") == "1"
    for name in ("b", "c"):
        with pytest.raises(HeadError):
            head.single(name)


def test_tokens_and_values_of_ones_own() -> None:
    assert is_token("X-Forwarded-For")
    assert not any(map(is_token, ("", "a b", "a:", "a\r\n", "ä")))
    assert is_field_value("any thing\t\xe4")
    assert not any(map(is_field_value, ("a\r", "a\nb", "\0", "\u20ac", "a\x7f")))


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=30) | st.sampled_from((b"a: b", b"Host: x", b" x", b"a\nb: c", b"a:\0")), max_size=6),
    rest=st.binary(max_size=5),
    cut=st.integers(0, 60),
)
def test_any_bytes_are_read_or_refused_alike_however_they_are_cut(lines: list[bytes], rest: bytes, cut: int) -> None:
    data = b"\r\n".join(lines) + b"\r\n\r\n" + rest

    def outcome(*ends: int) -> object:
        found: object = None
        try:
            for end in ends:
                split = split_head(data[:end])
                if split is not None:
                    head = split[0]
                    found = head, Head.parse(head)
                    break
        except HeadError:
            return "error"
        return found

    assert outcome(cut, len(data)) == outcome(len(data))
