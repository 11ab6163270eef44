"""The keys by which both ends know that the other one speaks WebSocket (RFC 6455 section 4)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SIZE: Final = 16


def new_key() -> str:
    """Return a fresh value for Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(_SIZE)).decode()


def is_key(text: str) -> bool:
    """Tell whether a text is the base64 of 16 bytes."""
    try:
        return len(base64.b64decode(text, validate=True)) == _SIZE
    except (binascii.Error, ValueError):
        return False


def accept_of(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()
