"""Whole messages out of frames: what decoders have in common to whom boundaries matter."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from outline_lb.api import Buffer

from .frames import FrameError
from .parser import MAX_MESSAGE, FrameParser

WholeT = TypeVar("WholeT")


class JoiningDecoder(FrameParser, Generic[WholeT]):
    """Joins fragments.

    What the peer did wrong is not raised but stays in `error`: the messages before it count. After it everything is ignored.

    :param masked: whether the peer is a client
    :param leftover: what came behind the handshake
    :param max_message: bytes that a message of the peer may have
    """

    __slots__ = ("_begun", "_done", "error")

    _keeps_boundaries = True

    def __init__(self, masked: bool, leftover: bytes = b"", max_message: int = MAX_MESSAGE) -> None:
        super().__init__(masked, leftover, max_message)
        self._done: list[WholeT] = []
        self._begun = bytearray()  # what there is of the message under way, so as many bytes as a message may have
        self.error: FrameError | None = None

    def feed(self, data: Buffer) -> list[WholeT]:
        """Take everything available, and return the messages that are whole now; those that are empty, too.

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

    @abstractmethod
    def _take(self, piece: Buffer) -> None:
        """Take a piece of the message under way."""

    def _join(self, piece: Buffer) -> bytes | None:
        """Put a piece to those before.

        :return: the message, if this was its last piece
        """
        if self._left or self._fragmented:
            self._begun += piece
            return None
        if self._begun:
            self._begun += piece
            piece, self._begun = self._begun, bytearray()
        return bytes(piece)
