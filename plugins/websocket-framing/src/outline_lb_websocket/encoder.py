"""Payload in, frames out: whole messages, never fragments."""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from outline_lb.api import ROOM, Buffer

from .frames import BINARY
from .masking import apply_mask

SMALL: Final = 4096
"""Below this many bytes another copy is cheaper than what avoids it."""

_HEADROOM = 16  # no header is longer than 14 bytes; a multiple of 4, so that the mask begins anew at the payload
_SCRATCH = memoryview(bytearray(_HEADROOM + ROOM))  # shared by all flows of the loop

PAYLOAD_ROOM: Final = _SCRATCH[_HEADROOM:]
"""Where payload can be put that goes out by `Encoder.message_in_room`: behind the place of its header."""

_FINAL = 0x80
_pack_16 = struct.Struct("!BBH").pack
_pack_64 = struct.Struct("!BBQ").pack


class Encoder(ABC):
    """Makes frames. What it returns may lie in scratch space: it is to be written at once."""

    __slots__ = ()

    def message(self, data: Buffer) -> Buffer:
        """Return a binary message.

        :param data: at least one byte, at most `ROOM`
        """
        size = len(data)
        if size < SMALL:
            return self.frame(BINARY, data)
        PAYLOAD_ROOM[:size] = data
        return self._behind_header(size)

    def message_in_room(self, size: int) -> Buffer:
        """Return a binary message of the first `size` bytes of `PAYLOAD_ROOM`, at least one."""
        return self.frame(BINARY, PAYLOAD_ROOM[:size]) if size < SMALL else self._behind_header(size)

    def control(self, opcode: int, payload: bytes = b"") -> bytes:
        """Return a control frame.

        :param payload: at most 125 bytes
        """
        return self.frame(opcode, payload)

    @abstractmethod
    def frame(self, opcode: int, payload: Buffer) -> bytes:
        """Return the only frame of a message of any type, put together from its parts.

        :param payload: any number of bytes
        """

    @abstractmethod
    def binary_frames(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return as many binary messages, each in one frame.

        :param payloads: each any number of bytes
        """

    @abstractmethod
    def _behind_header(self, size: int) -> Buffer:
        """Return a message whose payload is in its place already."""


class ServerEncoder(Encoder):
    """Does not mask, as a server must not (RFC 6455 section 5.1)."""

    __slots__ = ()

    def frame(self, opcode: int, payload: Buffer) -> bytes:
        return _header(opcode, len(payload), 0) + payload

    def binary_frames(self, payloads: Sequence[bytes]) -> list[bytes]:
        return [_header(BINARY, len(payload), 0) + payload for payload in payloads]

    def _behind_header(self, size: int) -> Buffer:
        header = _header(BINARY, size, 0)
        start = _HEADROOM - len(header)
        _SCRATCH[start:_HEADROOM] = header
        return _SCRATCH[start : _HEADROOM + size]


class ClientEncoder(Encoder):
    """Masks each frame with a key that nobody can foresee (RFC 6455 section 5.3)."""

    __slots__ = ()

    def frame(self, opcode: int, payload: Buffer) -> bytes:
        mask = os.urandom(4)
        return _header(opcode, len(payload), 0x80) + mask + apply_mask(payload, mask)

    def binary_frames(self, payloads: Sequence[bytes]) -> list[bytes]:
        masks, start, frames = os.urandom(4 * len(payloads)), 0, []  # one system call for all of them
        for payload in payloads:
            mask = masks[start : start + 4]
            start += 4
            frames.append(_header(BINARY, len(payload), 0x80) + mask + apply_mask(payload, mask))
        return frames

    def _behind_header(self, size: int) -> Buffer:
        mask = os.urandom(4)
        header = _header(BINARY, size, 0x80) + mask
        start = _HEADROOM - len(header)
        if start & 3:
            mask = mask[2:] + mask[:2]  # so that its phase is 0 at the payload
        _SCRATCH[start:_HEADROOM] = apply_mask(header, mask)  # one more mask, and it is clear again
        return apply_mask(_SCRATCH[start : _HEADROOM + size], mask)


def _header(opcode: int, size: int, mask_bit: int) -> bytes:
    first = _FINAL | opcode
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return _pack_16(first, mask_bit | 126, size)
    return _pack_64(first, mask_bit | 127, size)
