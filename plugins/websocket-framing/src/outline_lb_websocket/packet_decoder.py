"""Bytes in, packets out: decodes the frames of one direction for those to whom each binary message is a packet."""

from __future__ import annotations

from typing import Final

from outline_lb.api import Buffer

from .frames import PONG
from .joining import JoiningDecoder

MAX_RECEIVED: Final = 65_535 + 512
"""Bytes that a message of the peer may have: the largest datagram, and what sealing adds to it."""


class PacketDecoder(JoiningDecoder[bytes]):
    """Each message is a packet. `pong` is the payload of the last Pong that came, for the owner to take and clear."""

    __slots__ = ("pong",)

    def __init__(self, masked: bool, leftover: bytes = b"") -> None:
        super().__init__(masked, leftover, MAX_RECEIVED)
        self.pong: bytes | None = None

    def _take(self, piece: Buffer) -> None:
        packet = self._join(piece)
        if packet is not None:
            self._done.append(packet)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PONG:
            self.pong = payload
        else:
            super()._control(opcode, payload)
