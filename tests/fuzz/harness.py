"""What every fuzz target is held to: no exception but the protocol's own, nothing kept that grows, the same result however bytes are split."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

EACH_BYTE, SHORT = 200, 2000
"""Up to so many bytes are also fed one at a time, and in pieces of up to 7."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Target:
    """One parser and what is true of it for any bytes.

    :param name: of the target, and of its folder in the corpus
    :param check: returns if all is as it should be; raises anything otherwise
    :param max_size: bytes that an input has at most
    """

    name: str
    check: Callable[[bytes], None]
    max_size: int = 4096


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield the same bytes in one piece, in two ways at random (the same each time), and byte by byte."""
    yield [data]
    chance = random.Random(zlib.crc32(data))
    for most in (7, 300) if len(data) <= SHORT else (300, 5000):
        pieces, start = [], 0
        while start < len(data):
            size = chance.randint(1, most)
            pieces.append(data[start : start + size])
            start += size
        yield pieces
    if len(data) <= EACH_BYTE:
        yield [data[index : index + 1] for index in range(len(data))]


def same_however_split(data: bytes, run: Callable[[Sequence[bytes]], _Result]) -> _Result:
    """Run a parser over each split; return the result, which must be the same each time.

    :param data: what to split
    :param run: takes the pieces
    """
    first, *others = (run(pieces) for pieces in splits(data))
    for other in others:
        assert other == first, f"split in another way, the same bytes give {other!r} and not {first!r}"
    return first


def kept(parser: object) -> int:
    """Return how many bytes a parser holds in its slots."""
    slots = {name for kind in type(parser).__mro__ for name in getattr(kind, "__slots__", ())}
    return sum(_size(getattr(parser, name, None)) for name in slots)


def _size(value: object) -> int:
    if isinstance(value, bytes | bytearray | str | memoryview):
        return len(value)
    if isinstance(value, list | tuple | set):
        return sum(_size(member) for member in value)
    if isinstance(value, dict):
        return sum(_size(key) + _size(member) for key, member in value.items())
    return 0


def refusal(error: Exception) -> str:
    """Return the class of an error that a parser may raise. Its message is one line, and nothing in it can forge another one in a log."""
    message = str(error)
    assert message.isprintable(), f"the message {message!r} holds control characters"
    assert 0 < len(message) < 1000, f"a message of {len(message)} characters"
    return type(error).__name__
