"""The vocabulary of RFC 6455: opcodes, close codes, and what a Close frame says."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from outline_lb.api import ProtocolError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013

MAX_CONTROL: Final = 125
"""Bytes that a control frame may carry (section 5.5)."""


class Role(enum.Enum):
    """Which end of the connection we are."""

    CLIENT = enum.auto()
    SERVER = enum.auto()


class FrameError(ProtocolError):
    """The peer broke the framing.

    :param code: what the Close frame that answers it says
    :param message: what was wrong
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"WebSocket: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Close:
    """What a Close frame says.

    :param code: why; None if the frame was empty
    :param reason: the same for people, often empty
    """

    code: int | None
    reason: str = ""

    @classmethod
    def parse(cls, payload: bytes) -> Close:
        """Read the payload of a Close frame (section 5.5.1).

        :raises FrameError: if it is a single byte, or has a code that may not be sent, or a reason that is not UTF-8
        """
        if not payload:
            return cls(None)
        code = int.from_bytes(payload[:2], "big")
        if len(payload) < 2 or not _may_be_sent(code):
            raise FrameError(PROTOCOL_ERROR, f"the Close frame {payload[:2].hex()} holds no code that may be sent")
        try:
            reason = payload[2:].decode()
        except UnicodeDecodeError:
            reason = None
        if reason is None:
            raise FrameError(INVALID_DATA, "the reason in the Close frame is not UTF-8")
        return cls(code, reason)

    @property
    def payload(self) -> bytes:
        """What says it in a Close frame; a reason that does not fit into it is cut."""
        if self.code is None:
            return b""
        reason = self.reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore")  # no part of a character
        return self.code.to_bytes(2, "big") + reason.encode()

    @property
    def clean(self) -> bool:
        """Whether it ends its direction as planned."""
        return self.code is None or self.code == NORMAL

    @property
    def going_away(self) -> bool:
        """Whether the server would rather have its clients elsewhere."""
        return self.code in (GOING_AWAY, SERVICE_RESTART, TRY_AGAIN_LATER)

    def __str__(self) -> str:
        return f"{self.code} ({self.reason!r})" if self.reason else str(self.code)


def _may_be_sent(code: int) -> bool:
    """Sections 7.4.1 and 7.4.2, and the codes that the IANA registry has added."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
