"""The frames of one direction (RFC 6455 section 5): what a header may say, where its payload is, what control frames ask for."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import ClassVar, Final

from outline_lb.api import Buffer

from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_CONTROL,
    MESSAGE_TOO_BIG,
    PING,
    POLICY_VIOLATION,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    UNSUPPORTED_DATA,
    Close,
    FrameError,
)
from .masking import apply_mask

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes that a message may have, all its fragments together."""

MAX_IDLE: Final = 4096
"""Frames without payload of a message that may come at once. A flood of them costs everybody else their time: a tenth of a second for each
quarter of a megabyte.
"""

_FINAL, _RESERVED, _CONTROL = 0x80, 0x70, 0x08
_WHOLE_MESSAGE = _FINAL | BINARY


class FrameParser(ABC):
    """Cuts bytes into frames, and gives away the payload of messages as it comes: only the header of a frame, or a control frame, is ever kept.

    `pings` holds the payloads of the Pings that came, for the owner to answer and clear; `close` what the peer's Close frame said. After that
    everything is ignored (section 1.4).

    :param masked: whether frames must be masked, as a client's are, or must not be (section 5.1)
    :param leftover: what came already; it is parsed with the first bytes that follow
    :param max_message: bytes that a message may have
    """

    __slots__ = ("_fragmented", "_left", "_mask", "_mask_bit", "_max_message", "_message", "_tail", "close", "pings")

    _keeps_boundaries: ClassVar[bool] = False  # then frames without payload count: a message may be empty, or end with one

    def __init__(self, masked: bool, leftover: bytes = b"", max_message: int = MAX_MESSAGE) -> None:
        self._mask_bit = 0x80 if masked else 0
        self._tail = leftover
        self._max_message = max_message
        self._left = 0  # bytes of the frame under way that are still to come
        self._mask = b""  # of the frame under way, turned to where its next byte is
        self._fragmented = False
        self._message = 0  # bytes of the fragmented message so far
        self.pings: list[bytes] = []
        self.close: Close | None = None

    @property
    def complete(self) -> bool:
        """Whether the stream may end here: no frame and no message is under way."""
        return not (self._left or self._tail or self._fragmented)

    def _parse(self, data: Buffer, take: Callable[[Buffer], None]) -> None:  # noqa: PLR0912 - one loop, because it runs for each frame
        """Take everything available.

        :param data: borrowed
        :param take: called with each piece of payload, which may lie in `data`; `_left` and `_fragmented` say whether a message ends with it
        :raises FrameError: if the peer broke the protocol
        """
        if self.close is not None:
            return
        if self._tail:
            data, self._tail = self._tail + data, b""
        view, end = memoryview(data), len(data)
        pos = self._continue(view, take) if self._left and end else 0
        mask_bit = self._mask_bit
        header, idle = 6 if mask_bit else 2, 0
        while end - pos >= 2:
            first, length, start = data[pos], data[pos + 1] ^ mask_bit, pos + header
            if length >= 126:
                if length > 127:
                    raise FrameError(PROTOCOL_ERROR, "a frame is not masked" if mask_bit else "a frame is masked")
                size = 2 if length == 126 else 8
                start += size
                if start <= end:
                    length = _long_length(view[pos + 2 : pos + 2 + size])
            if start > end:
                break
            if first != _WHOLE_MESSAGE or self._fragmented or length > self._max_message:
                self._begin(first, length)
            stop = start + length
            if stop > end:
                if first & _CONTROL:
                    break
                self._left, stop = stop - end, end
            piece: Buffer = view[start:stop]
            if mask_bit:
                piece = self._unmask(piece, bytes(view[start - 4 : start]))
            pos = stop
            if first & _CONTROL:
                self._control(first ^ _FINAL, bytes(piece))
                if self.close is not None:
                    return
            elif stop > start or self._keeps_boundaries:
                take(piece)
            if stop == start or first & _CONTROL:
                idle += 1
                if idle > MAX_IDLE:
                    raise FrameError(POLICY_VIOLATION, "a flood of frames without payload")
        if pos < end:
            self._tail = bytes(view[pos:])

    def _continue(self, view: memoryview, take: Callable[[Buffer], None]) -> int:
        """Take more of the frame under way, and return where it ends."""
        size = min(self._left, len(view))
        self._left -= size
        piece = view[:size]
        take(self._unmask(piece, self._mask) if self._mask_bit else piece)
        return size

    def _unmask(self, piece: Buffer, mask: bytes) -> bytes:
        if self._left:
            phase = len(piece) & 3
            self._mask = mask[phase:] + mask[:phase]
        return apply_mask(piece, mask)

    def _begin(self, first: int, length: int) -> None:
        """Check the header of a frame that is more than a whole binary message, and note where in a message it leaves us."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise FrameError(PROTOCOL_ERROR, "a frame uses an extension that was not negotiated")
        if opcode > PONG or BINARY < opcode < CLOSE:
            raise FrameError(PROTOCOL_ERROR, f"the opcode {opcode:#x} is unknown")
        if opcode & _CONTROL:
            if not first & _FINAL or length > MAX_CONTROL:
                raise FrameError(PROTOCOL_ERROR, "a control frame is fragmented or too long")
            return
        if (opcode == CONTINUATION) != self._fragmented:
            raise FrameError(PROTOCOL_ERROR, "a message began inside another one" if self._fragmented else "a message was continued that never began")
        if opcode == TEXT:
            self._begin_text()
        message = self._message + length
        if message > self._max_message:
            raise FrameError(MESSAGE_TOO_BIG, f"a message has more than {self._max_message} bytes")
        self._fragmented = not first & _FINAL
        self._message = message if self._fragmented else 0

    def _begin_text(self) -> None:
        """A text message begins."""
        raise FrameError(UNSUPPORTED_DATA, "a text message came where only binary ones have a meaning")

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings.append(payload)
        elif opcode == CLOSE:
            self.close = Close.parse(payload)


def _long_length(field: memoryview) -> int:
    """Read a length of 16 or 64 bits, which must not fit into fewer (section 5.2)."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65536) or length >> 63:
        raise FrameError(PROTOCOL_ERROR, "the length of a frame is not minimal, or negative")
    return length
