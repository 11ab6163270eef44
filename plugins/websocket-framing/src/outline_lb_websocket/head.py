"""The head of an HTTP/1.1 message (RFC 9112), read strictly: what could be read in two ways is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from outline_lb.api import ProtocolError

MAX_HEAD: Final = 16 * 1024
"""Bytes that a head may have."""
MAX_FIELDS: Final = 100
"""Header fields that it may have."""

_END = b"\r\n\r\n"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class HeadError(ProtocolError):
    """A head that is not well-formed."""


class HeadTooLargeError(HeadError):
    """A head with too many bytes or header fields."""


def is_token(text: str) -> bool:
    """Tell whether a text can be the name of a header field (RFC 9110 section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def is_field_value(text: str) -> bool:
    """Tell whether a text can be the value of a header field (RFC 9110 section 5.5): nothing in it ends a line."""
    return _VALUE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and header fields.

    :param start: the request line or status line
    :param fields: names in lower case, with their values
    """

    start: str
    fields: Sequence[tuple[str, str]]

    @classmethod
    def parse(cls, data: bytes) -> Head:
        """Read what `split_head` returned.

        :raises HeadError: if it is not well-formed
        """
        start, *lines = data.decode("latin-1").split("\r\n")
        if len(lines) > MAX_FIELDS:
            raise HeadTooLargeError(f"more than {MAX_FIELDS} header fields")
        return cls(start, [_parse_field(line) for line in lines])

    def values(self, name: str) -> list[str]:
        """Return the values of all fields with a name, which is in lower case."""
        return [value for key, value in self.fields if key == name]

    def tokens(self, name: str) -> set[str]:
        """Return the members of a list in header fields (RFC 9110 section 5.6.1), in lower case."""
        return {token for value in self.values(name) for member in value.split(",") if (token := member.strip(" \t").lower())}

    def single(self, name: str) -> str:
        """Return the value of a field that must be there exactly once.

        :raises HeadError: if it is not
        """
        values = self.values(name)
        if len(values) != 1:
            raise HeadError(f"{len(values)} header fields {name} instead of one")
        return values[0]


def split_head(data: bytes | bytearray) -> tuple[bytes, bytes] | None:
    """Cut the head off what has come so far.

    :return: the head without its empty line, and what follows; None if more bytes are needed
    :raises HeadError: if it is too large, or holds a bare CR or LF or a NUL
    """
    end = data.find(_END, 0, MAX_HEAD)
    if _is_ambiguous(data, min(len(data), MAX_HEAD) if end < 0 else end + 2):
        raise HeadError("a bare CR, LF or NUL in the head")
    if end >= 0:
        return bytes(data[:end]), bytes(data[end + len(_END) :])
    if len(data) >= MAX_HEAD:
        raise HeadTooLargeError(f"more than {MAX_HEAD} bytes")
    return None


def _is_ambiguous(data: bytes | bytearray, stop: int) -> bool:
    """Whether there is a bare CR or LF (section 2.2) or a NUL. By counting, because a head that comes byte by byte is looked at as often."""
    lines = data.count(b"\r\n", 0, stop)
    begun = data[stop - 1 : stop] == b"\r"  # the LF may still come
    return data.count(b"\n", 0, stop) != lines or data.count(b"\r", 0, stop) != lines + begun or data.find(b"\0", 0, stop) >= 0


def _parse_field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not is_token(name):  # which a line that continues the one before is not either (obs-fold, section 5.2)
        raise HeadError("a header field without a proper name")
    value = value.strip(" \t")
    if not is_field_value(value):
        raise HeadError(f"the header field {name[:80]} holds control characters")
    return name.lower(), value
