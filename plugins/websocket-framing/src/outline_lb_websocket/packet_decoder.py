"""Bytes in, packets out: decodes the frames of one direction for those to whom each binary message is a packet."""

from __future__ import annotations

from typing import Final

from outline_lb.api import Buffer

from .frames import PONG, FrameError
from .parser import FrameParser

MAX_RECEIVED: Final = 65_535 + 512
"""Bytes that a message of the peer may have: the largest datagram, and what sealing adds to it."""


class PacketDecoder(FrameParser):
    """Joins fragments, as real clients send what is larger than 4096 bytes.

    What the peer did wrong is not raised but stays in `error`: the packets before it count. After it everything is ignored. `pong` is the payload of
    the last Pong that came, for the owner to take and clear.
    """

    __slots__ = ("_begun", "_packets", "error", "pong")

    _keeps_boundaries = True

    def __init__(self, masked: bool, leftover: bytes = b"") -> None:
        super().__init__(masked, leftover, MAX_RECEIVED)
        self._packets: list[bytes] = []
        self._begun = bytearray()  # what there is of the message under way, so at most `MAX_RECEIVED` bytes
        self.error: FrameError | None = None
        self.pong: bytes | None = None

    def feed(self, data: Buffer) -> list[bytes]:
        """Take everything available, and return the packets that are whole now; those that are empty, too.

        :param data: borrowed
        """
        if self.error is not None:
            return []
        try:
            self._parse(data, self._take)
        except FrameError as exc:
            self.error = exc.with_traceback(None)  # which would hold us in a circle
            self._begun = bytearray()
        packets, self._packets = self._packets, []
        return packets

    def _take(self, piece: Buffer) -> None:
        if self._left or self._fragmented:
            self._begun += piece
        elif self._begun:
            self._begun += piece
            self._packets.append(bytes(self._begun))
            self._begun = bytearray()
        else:
            self._packets.append(bytes(piece))

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PONG:
            self.pong = payload
        else:
            super()._control(opcode, payload)
