"""Bytes in, payload out: decodes the frames of one direction for a byte stream."""

from __future__ import annotations

from outline_lb.api import Buffer

from .parser import MAX_MESSAGE, FrameParser

__all__ = ["MAX_MESSAGE", "FrameDecoder"]


class FrameDecoder(FrameParser):
    """Drops the boundaries of messages: all that matters to a stream is their payload, in order."""

    __slots__ = ()

    def feed(self, data: Buffer) -> list[Buffer]:
        """Take everything available, and return the payload in it.

        :param data: borrowed; the pieces may lie in it
        :return: pieces in order, none empty
        :raises FrameError: if the peer broke the protocol
        """
        pieces: list[Buffer] = []
        self._parse(data, pieces.append)
        return pieces
