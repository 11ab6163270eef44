"""The harness finds what it is there for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fuzz.harness import kept, refusal, same_however_split, splits
from fuzz.shadowsocks import plan
from fuzz.targets import CORPUS, TARGETS, corpus


class Hoarder:
    """Keeps everything."""

    __slots__ = ("_begun", "_done")

    def __init__(self) -> None:
        self._begun = bytearray(b"abc")
        self._done = [b"de", "f"]


def test_every_split_holds_the_same_bytes() -> None:
    data = bytes(range(200))
    found = list(splits(data))
    assert [b"".join(pieces) for pieces in found] == [data] * 4
    assert {len(found[0]), len(found[-1])} == {1, 200}


def test_a_parser_that_depends_on_the_split_is_found() -> None:
    def loses_the_last_byte_of_each_piece(pieces: Sequence[bytes]) -> bytes:
        return b"".join(piece[:-1] for piece in pieces)

    with pytest.raises(AssertionError, match="split in another way"):
        same_however_split(b"some bytes", loses_the_last_byte_of_each_piece)


def test_what_a_parser_keeps_is_counted() -> None:
    assert kept(Hoarder()) == 6


def test_a_message_that_could_forge_a_line_of_the_log_is_found() -> None:
    assert refusal(ValueError("'a\\n' is no address")) == "ValueError"
    with pytest.raises(AssertionError, match="control characters"):
        refusal(ValueError("a\nb is no address"))


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
    assert all(len(corpus(name)) >= 10 for name in TARGETS)
    assert all(file.stat().st_size <= 20_000 for name in TARGETS for file in corpus(name))


def test_a_plan_makes_a_stream_and_damages_it() -> None:
    whole = plan(b"\0\x01\0\x05")
    assert (whole.plain, whole.damaged) == (bytes(range(5)), False)
    assert len(whole.sealed) == 32 + 2 + 16 + 5 + 16
    changed = plan(b"\0\x01\0\x05" + b"\0\0\x28\x01")
    assert changed.damaged
    assert [index for index in range(71) if whole.sealed[index] != changed.sealed[index]] == [40]
