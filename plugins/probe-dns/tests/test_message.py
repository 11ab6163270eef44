from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outline_lb_probe_dns.message import MAX_NAME, TYPES, is_answer, number_of, query, question

ASKED = question("example.com", TYPES["A"])
QUERY = bytes.fromhex("abcd 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001")
# What a resolver says: the name once, and a pointer to it.
ANSWER = bytes.fromhex("abcd 8180 0001 0001 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001 c00c 0001 0001 0000003c 0004 c0000201")

labels = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=5).map(".".join).filter(lambda name: len(name) <= MAX_NAME)
kinds = st.sampled_from(sorted(TYPES.values()))


def test_a_query_is_as_the_rfc_has_it() -> None:
    assert query(0xABCD, ASKED) == QUERY
    assert question("example.com.", TYPES["AAAA"]) == ASKED[:-4] + b"\0\x1c\0\1"


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "a b", "a" * 64, "b\xfccher.example", "a\nb", ".".join(["a" * 63] * 4), "example.com.."])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no host name: write one such as example\.com"):
        question(name, 1)


def test_the_longest_name_has_255_bytes() -> None:
    name = ".".join(("a" * 63, "b" * 63, "c" * 63, "d" * 61))
    assert len(question(name, 1)) == 255 + 4


def test_an_answer_is_recognised() -> None:
    assert number_of(ANSWER) == 0xABCD
    assert is_answer(ANSWER, ASKED)


@pytest.mark.parametrize("flags", ["8180", "8000", "8183", "8182", "8185", "8380", "84a0", "878f"])
def test_any_result_is_an_answer(flags: str) -> None:
    assert is_answer(ANSWER[:2] + bytes.fromhex(flags) + ANSWER[4:], ASKED)


def test_an_answer_without_records_is_one_and_one_with_letters_of_another_case() -> None:
    empty = ANSWER[:6] + bytes(6) + ASKED
    assert is_answer(empty, ASKED)
    assert is_answer(empty.replace(b"example", b"eXaMpLe"), ASKED)
    assert is_answer(empty, question("EXAMPLE.com", 1))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ANSWER[:11],
        ANSWER[: 12 + len(ASKED) - 1],  # half a question
        QUERY,  # our own, sent back
        QUERY + ANSWER,
        ANSWER[:2] + b"\xa8" + ANSWER[3:],  # another opcode
        ANSWER[:4] + b"\0\0" + ANSWER[6:],
        ANSWER[:4] + b"\0\2" + ANSWER[6:],
        ANSWER.replace(b"example", b"exbmple"),
        ANSWER[:12] + question("example.com", TYPES["AAAA"]),
        ANSWER[:12] + question("example.org", TYPES["A"]),
        ANSWER[:12] + question("www.example.com", TYPES["A"]),
        ANSWER[:12] + ASKED[:-2] + b"\0\3",  # another class
        ANSWER[:12] + b"\xc0\x0c\0\1\0\1" + bytes(20),  # a pointer to itself
    ],
)
def test_what_is_no_answer(message: bytes) -> None:
    assert not is_answer(message, ASKED)


messages = st.binary(max_size=600) | st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=50), st.binary(max_size=50)).map(
    lambda parts: parts[0] + b"\0\1" + parts[1] + ASKED + parts[2]
)


@given(messages, names.map(lambda name: question(name, 1)) | st.just(ASKED))
def test_any_bytes_can_be_looked_at(message: bytes, asked: bytes) -> None:
    number_of(message)
    if is_answer(message, asked):
        assert number_of(message) is not None
        assert message[12 : 12 + len(asked)].lower() == asked.lower()


@given(st.integers(0, 65535), names, kinds, st.binary(max_size=100))
def test_every_query_has_its_answer(number: int, name: str, kind: int, records: bytes) -> None:
    asked = question(name, kind)
    sent = query(number, asked)
    assert number_of(sent) == number
    assert not is_answer(sent, asked)
    answer = sent[:2] + bytes((sent[2] | 0x80,)) + sent[3:] + records
    assert number_of(answer) == number
    assert is_answer(answer, asked)
    assert not is_answer(answer, question("other." + name[:200], kind))


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert len(question(text, 1)) <= 255 + 4
