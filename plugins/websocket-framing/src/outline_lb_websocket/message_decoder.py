"""Bytes in, messages out: decodes the frames of one direction for those to whom boundaries and types matter."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from outline_lb.api import Buffer

from .frames import INVALID_DATA, FrameError
from .joining import JoiningDecoder
from .parser import MAX_MESSAGE

_Utf8 = codecs.getincrementaldecoder("utf-8")


class Message(NamedTuple):
    """A message of either type (RFC 6455 section 5.6).

    :param data: its payload; that of a text is UTF-8
    :param text: whether it is a text
    """

    data: bytes
    text: bool = False


class MessageDecoder(JoiningDecoder[Message]):
    """Checks texts as far as they have come, so that one that is no UTF-8 is refused before it is whole (section 8.1)."""

    __slots__ = ("_text", "_utf8")

    def __init__(self, masked: bool, leftover: bytes = b"", max_message: int = MAX_MESSAGE) -> None:
        super().__init__(masked, leftover, max_message)
        self._text = False  # the type of the message under way
        self._utf8 = _Utf8()

    def _take(self, piece: Buffer) -> None:
        if self._text:
            self._check(piece, final=not (self._left or self._fragmented))
        message = self._join(piece)
        if message is not None:
            self._done.append(Message(message, self._text))
            self._text = False

    def _begin_text(self) -> None:
        self._text = True

    def _check(self, piece: Buffer, final: bool) -> None:
        try:
            self._utf8.decode(piece, final)
        except UnicodeDecodeError:
            valid = False
        else:
            valid = True
        if not valid:  # raised here, so that the payload does not hang on the error
            raise FrameError(INVALID_DATA, "a text message is not UTF-8")
