"""WebSocket frames (RFC 6455 section 5.2), well-formed or not. Of its own, so that it makes no mistake together with what it tests."""

from __future__ import annotations

import base64
import hashlib
from typing import Final, NamedTuple

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Received(NamedTuple):
    """A frame that came.

    :param opcode: what it is
    :param payload: unmasked
    """

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"", length: int | None = None) -> bytes:
    """Return a frame.

    :param opcode: any of 16
    :param payload: what follows the header
    :param fin: whether it is the last one of its message
    :param rsv: the three reserved bits, 0 to 7
    :param mask: 4 bytes to mask it with, as only a client should
    :param length: what the header claims instead of the length of the payload
    """
    size = len(payload) if length is None else length
    first, masked = fin << 7 | rsv << 4 | opcode, bool(mask) << 7
    if size < 126:
        header = bytes((first, masked | size))
    elif size < 1 << 16:
        header = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    return header + mask + (masked_with(mask, payload) if mask else payload)


def masked_with(mask: bytes, payload: bytes) -> bytes:
    """Mask, or unmask (section 5.3)."""
    size = len(payload)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def accept_of(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def take_frame(buffer: bytearray) -> Received | None:
    """Cut a client's frame off the beginning of what came; None if it is not complete.

    :raises AssertionError: if it is not masked: a client that does so is broken
    """
    if len(buffer) < 2:
        return None
    assert buffer[1] & 0x80, "a client must mask its frames (RFC 6455 section 5.1)"
    size, start = buffer[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(buffer[2:start], "big")
    end = start + 4 + size
    if len(buffer) < end:  # a length that is not there yet makes it so, too
        return None
    received = Received(buffer[0] & 0x0F, masked_with(bytes(buffer[start : start + 4]), bytes(buffer[start + 4 : end])))
    del buffer[:end]
    return received
