"""Sending packets to servers that cut them: not more at once than such a server reads at once.

Outline's server takes what one read of its buffer of 4096 bytes returns for a packet. A frame is whole to it if all of the frame is in the buffer: if
what waits at the server begins with a frame and is never more than the buffer takes. So bursts go out in portions of so many bytes, each with a Ping
behind it. Its Pong shows that the portion was read and the buffer is empty, and the next one may go.

A server far away would so get 4096 bytes in each round trip. Therefore as many portions may be on their way to it as the shortest round trip has
milliseconds. They are half as large, and one leaves in each millisecond, so that two may meet on their way; if more do, a packet is lost.

Who sends less waits for nothing: half a portion is asked about before the other half is needed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

from outline_lb.api import Drops, Stream

from .encoder import Encoder
from .frames import PING

BORDER: Final = 4096
"""Bytes of the server's buffer."""
PACE: Final = 0.001
"""Seconds from portion to portion while their Pongs are on their way."""
FAR_PORTION: Final = BORDER / 2
FAR_RATE: Final = FAR_PORTION / PACE
"""Bytes that leave in each second while Pongs are on their way."""
FORGET: Final = BORDER / 1.0
"""Bytes that count as read in each second without a Pong for them."""
PATIENCE: Final = 1.0
"""Seconds to wait for a Pong before the next portion goes anyhow: there may be servers that do not answer."""
FAR: Final = 0.020
FAR_SAMPLES: Final = 2
SAMPLES: Final = 8
"""A round trip counts if it is the shortest of so many, of fewer if they all took `FAR` seconds: the server may be next door, and just busy."""
SEGMENT: Final = 1200
"""Bytes up to which small frames share a write: they fit into one TCP segment of any network, TLS included, so none of them arrives in parts."""
MAX_BYTES: Final = 512 * 1024
MAX_FRAMES: Final = 2048
"""What waits at most."""


class Pacer:
    """Writes frames in portions.

    :param lower: takes them
    :param encoder: of our role
    :param drops: hears of those for which there is no room
    """

    __slots__ = (
        "_asked",
        "_checked",
        "_confirmed",
        "_drops",
        "_encoder",
        "_full",
        "_limit",
        "_loop",
        "_lower",
        "_queue",
        "_room",
        "_round_trip",
        "_since",
        "_size",
        "_timed",
        "_timer",
        "_waits_for_pong",
    )

    def __init__(self, lower: Stream, encoder: Encoder, drops: Drops) -> None:
        self._lower = lower
        self._encoder = encoder
        self._drops = drops
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self._size = 0  # bytes in it
        self._full = False
        self._room: float = BORDER  # bytes that may go at once
        self._checked = self._loop.time()  # when `_room` was right
        self._asked = self._confirmed = 0  # numbers of the last Ping, and of the last one that was answered
        self._since = 0  # bytes sent after the last Ping
        self._round_trip = math.inf  # seconds, the shortest so far
        self._limit = 1  # portions that may be on their way
        self._timed: tuple[int, float] | None = None  # the Ping that is measured, and when it left
        self._timer: asyncio.TimerHandle | None = None  # while something waits for its turn
        self._waits_for_pong = False  # the timer is only for servers that do not answer

    def send(self, frames: list[bytes]) -> None:
        """Send frames now or later, in their order."""
        queue, size = self._queue, self._size
        for frame in frames:
            if size + len(frame) > MAX_BYTES or len(queue) >= MAX_FRAMES:
                self._drops.count("more at once than the server takes")
            else:
                queue.append(frame)
                size += len(frame)
        self._size = size
        self._flush_if_possible()

    def send_last(self, frame: bytes) -> None:
        """Send a frame behind all others, however many there are."""
        self._queue.append(frame)
        self._size += len(frame)
        self._flush_if_possible()

    def sent(self, size: int) -> None:
        """Somebody else wrote so many bytes."""
        self._room -= size
        self._since += size

    def pause(self) -> None:
        """The stream is full."""
        self._full = True

    def resume(self) -> None:
        """The stream has room again."""
        self._full = False
        self._flush_if_possible()

    def confirmed(self, payload: bytes) -> None:
        """A Pong came.

        :param payload: what it carries; if that of no Ping from here, nothing happens
        """
        number = int.from_bytes(payload, "big") if len(payload) == 4 else 0
        if not self._confirmed < number <= self._asked:
            return
        self._confirmed = number
        if self._timed is not None and number >= self._timed[0]:
            self._took(self._loop.time() - self._timed[1])
        if self._limit > 1:
            if self._waits_for_pong:
                self._go_on(FAR_PORTION)
        elif number == self._asked:
            self._go_on(BORDER - self._since)

    def _took(self, seconds: float) -> None:
        """Take the time of a round trip."""
        self._timed = None
        self._round_trip = min(self._round_trip, seconds)
        enough = self._confirmed >= (SAMPLES if self._round_trip < FAR else FAR_SAMPLES)
        self._limit = max(1, round(self._round_trip / PACE)) if enough else 1

    def stop(self) -> int:
        """Send nothing more.

        :return: how many frames still waited
        """
        self._cancel_timer()
        waiting = len(self._queue)
        self._queue.clear()
        self._size = 0
        return waiting

    def _flush_if_possible(self) -> None:
        if self._queue and self._timer is None and not self._full:
            self._flush()

    def _flush(self) -> None:
        """Write what there is room for, and if something is left, ask whether that was read."""
        now, room = self._loop.time(), self._room
        most = BORDER if self._limit == 1 else FAR_PORTION
        rate = FAR_RATE if self._asked - self._confirmed < self._limit > 1 else FORGET
        room = max(room, min(most, room + (now - self._checked) * rate))
        queue, write, size = self._queue, self._lower.write, 0
        pieces: list[bytes] = []
        while queue and len(queue[0]) <= room:
            frame = queue.popleft()
            length = len(frame)
            room -= length
            self._since += length
            self._size -= length
            if size + length > SEGMENT and pieces:
                write(b"".join(pieces))
                pieces, size = [], 0
            pieces.append(frame)
            size += length
        if queue or (room < BORDER / 2 <= self._since):
            pieces.append(ping := self._ask(now))
            room -= len(ping)
        write(b"".join(pieces))
        self._room, self._checked = room, now
        if queue:
            self._wait()

    def _ask(self, now: float) -> bytes:
        """Return a Ping. It may be cut: the server waits for the rest of it."""
        self._asked += 1
        self._since = 0
        if self._timed is None:
            self._timed = (self._asked, now)
        return self._encoder.control(PING, self._asked.to_bytes(4, "big"))

    def _wait(self) -> None:
        self._waits_for_pong = self._asked - self._confirmed >= self._limit
        if self._waits_for_pong:
            self._timer = self._loop.call_later(PATIENCE, self._lose_patience)
        else:
            delay = max(PACE, (len(self._queue[0]) - self._room) / FAR_RATE)
            self._timer = self._loop.call_later(delay, self._go_on, self._room + delay * FAR_RATE)

    def _lose_patience(self) -> None:
        self._confirmed = self._asked
        self._took(PATIENCE)
        self._go_on(BORDER)

    def _go_on(self, room: float) -> None:
        """The server, or the time, has made room: at least for the next one."""
        self._cancel_timer()
        self._room = max(room, len(self._queue[0])) if self._queue else room
        self._checked = self._loop.time()
        self._flush_if_possible()

    def _cancel_timer(self) -> None:
        self._waits_for_pong = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
