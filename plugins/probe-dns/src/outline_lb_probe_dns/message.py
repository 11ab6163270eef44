"""Messages of the Domain Name System, as far as a query and the recognition of its answer need them (RFC 1035 section 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

TYPES: Final[Mapping[str, int]] = {"A": 1, "AAAA": 28}
"""Types of records (RFC 1035 section 3.2.2, RFC 3596 section 2.1)."""
MAX_NAME: Final = 253
"""Characters of a name without a dot at its end: 255 bytes with the lengths of its labels (RFC 1035 section 2.3.4)."""

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_IN: Final = 1
_HEADER: Final = 12  # bytes (section 4.1.1)
_ANSWER: Final = 0x80  # QR
_OPCODE: Final = 0x78
_RECURSION: Final = 0x01  # RD


def question(name: str, kind: int) -> bytes:
    """Return the question for the records of a name (RFC 1035 section 4.1.2).

    :param name: a host name in ASCII
    :param kind: one of the values of `TYPES`
    :raises ValueError: if it is no name
    """
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{name[:80]!r} is no host name: write one such as example.com")
    encoded = b"".join(bytes((len(label),)) + label.encode() for label in labels)
    return encoded + b"\0" + kind.to_bytes(2, "big") + _IN.to_bytes(2, "big")


def query(number: int, asked: bytes) -> bytes:
    """Return a query as a resolver sends it that wants no more than an answer: one question, and recursion.

    :param number: the ID, 16 bits
    :param asked: the question
    """
    return number.to_bytes(2, "big") + bytes((_RECURSION, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + asked


def number_of(message: bytes) -> int | None:
    """Return the ID of a message; None if it has none."""
    return int.from_bytes(message[:2], "big") if len(message) >= _HEADER else None


def is_answer(message: bytes, asked: bytes) -> bool:
    """Tell whether a message answers a question, with whatever result.

    The question comes back as it was, but for the case of its letters (RFC 1035 section 2.3.3). It cannot be compressed: nothing stands before it
    that a pointer could lead to (section 4.1.4).

    :param message: any bytes, with the right ID
    :param asked: the question
    """
    if len(message) < _HEADER + len(asked) or not message[2] & _ANSWER or message[2] & _OPCODE or message[4:6] != b"\0\1":
        return False
    return message[_HEADER : _HEADER + len(asked)].lower() == asked.lower()  # lengths, type and class are no letters
