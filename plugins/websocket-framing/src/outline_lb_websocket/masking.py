"""The mask of RFC 6455 section 5.3, in C where it was compiled."""

from __future__ import annotations

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled one for this platform
    from websockets.utils import apply_mask

__all__ = ["apply_mask"]
