"""What became of every stream."""

from __future__ import annotations

import enum
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_SIZE: Final = 1 << 20
_PATTERN: Final = memoryview(random.Random(7).randbytes(_SIZE) * 2)

PIECE: Final = 64 * 1024
"""The most bytes that `part` returns."""


def part(flow: int, offset: int, size: int) -> memoryview:
    """Return what a flow carries in one place: no two flows carry the same, so that bytes of another one would be seen.

    :param flow: its number
    :param offset: bytes before
    :param size: bytes wanted, at most `PIECE`
    """
    start = (flow * 7919 + offset) % _SIZE
    return _PATTERN[start : start + size]


class End(enum.Enum):
    """How a stream ended."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    REFUSED = "refused"
    GIVEN_UP = "given up"  # by us, because the time was over


class CorruptedError(Exception):
    """A stream holds other bytes than were sent, or ended cleanly before its end."""


@dataclass
class Ledger:
    """Counts streams and bytes.

    :param ends: how often streams of a kind ended in a way
    :param carried: bytes by kind, as far as they were compared
    :param corrupted: what must not be: one line for each
    :param stuck: streams on which nothing moved for too long: one line for each
    :param open: what is known of the flows that are open, for messages
    :param short_after_kill: clean but early ends that a target saw of a server that was killed: the kernel ends the sockets of a killed process so
    """

    ends: Counter[tuple[str, End]] = field(default_factory=Counter)
    carried: Counter[str] = field(default_factory=Counter)
    corrupted: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    short_after_kill: int = 0
    flows: int = 0
    open: dict[int, str] = field(default_factory=dict)

    def number(self) -> int:
        """Return the number of a new flow."""
        self.flows += 1
        return self.flows

    def corrupt(self, flow: int, error: CorruptedError) -> None:
        """Write down what must not be, and tell it at once."""
        self.corrupted.append(f"{time.strftime('%X')} {error} ({self.open.get(flow, 'an end that nobody waited for')})")
        print("CORRUPTED", self.corrupted[-1], file=sys.stderr, flush=True)

    def compare(self, kind: str, flow: int, offset: int, data: bytes) -> int:
        """Compare what came with what was sent; return the offset behind it.

        :raises CorruptedError: if it is something else
        """
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            if part(flow, offset + start, len(piece)) != piece:
                raise CorruptedError(f"{kind} {flow}: other bytes than were sent, from {offset + start} on")
        self.carried[kind] += len(data)
        return offset + len(data)
