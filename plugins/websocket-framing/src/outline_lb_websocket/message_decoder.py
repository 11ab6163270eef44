"""Bytes in, messages out: decodes the frames of one direction for those to whom boundaries and types matter."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from outline_lb.api import Buffer

from .frames import INVALID_DATA, FrameError
from .parser import MAX_MESSAGE, FrameParser

_Utf8 = codecs.getincrementaldecoder("utf-8")


class Message(NamedTuple):
    """A message of either type (RFC 6455 section 5.6).

    :param data: its payload; that of a text is UTF-8
    :param text: whether it is a text
    """

    data: bytes
    text: bool = False


class MessageDecoder(FrameParser):
    """Joins fragments, and checks texts as far as they have come, so that one that is no UTF-8 is refused before it is whole (section 8.1).

    What the peer did wrong is not raised but stays in `error`: the messages before it count. After it everything is ignored.
    """

    __slots__ = ("_begun", "_done", "_text", "_utf8", "error")

    _keeps_boundaries = True

    def __init__(self, masked: bool, leftover: bytes = b"", max_message: int = MAX_MESSAGE) -> None:
        super().__init__(masked, leftover, max_message)
        self._done: list[Message] = []
        self._begun = bytearray()  # what there is of the message under way, so as many bytes as a message may have
        self._text = False  # the type of the message under way
        self._utf8 = _Utf8()
        self.error: FrameError | None = None

    def feed(self, data: Buffer) -> list[Message]:
        """Take everything available, and return the messages that are whole now.

        :param data: borrowed
        """
        if self.error is not None:
            return []
        try:
            self._parse(data, self._take)
        except FrameError as exc:
            self.error = exc.with_traceback(None)  # which would hold us in a circle
            self._begun = bytearray()
        done, self._done = self._done, []
        return done

    def _take(self, piece: Buffer) -> None:
        final = not (self._left or self._fragmented)
        if self._text:
            self._check(piece, final)
        if not final:
            self._begun += piece
            return
        if self._begun:
            self._begun += piece
            piece, self._begun = self._begun, bytearray()
        self._done.append(Message(bytes(piece), self._text))
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
