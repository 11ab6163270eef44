"""Ping and Pong (RFC 6455 sections 5.5.2 and 5.5.3), both ways: the peer's are answered, and ours tell a silent peer from a dead one."""

from __future__ import annotations

import asyncio
from typing import Final

from .encoder import Encoder
from .frames import PING, PONG

QUIET: Final = 2
"""Calls of `keep_alive` without a byte from the server before it is pinged."""
DEAD: Final = 5
"""Calls of `keep_alive` without a byte from the server, three pings among them, before it counts as gone."""


class Pongs:
    """Answers the peer's Pings: all of them in one write; while there is no room, the last stands for all.

    :param encoder: of our role
    """

    __slots__ = ("_encoder", "_kept")

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._kept: bytes | None = None  # what to answer as soon as there is room

    def answer(self, pings: list[bytes], full: bool) -> bytes:
        """Answer Pings.

        :param pings: their payloads, at least one; empty afterwards
        :param full: whether there is no room
        :return: what to write
        """
        if full:
            self._kept = pings[-1]
        pongs = b"" if full else b"".join([self._encoder.control(PONG, payload) for payload in pings])
        pings.clear()
        return pongs

    def kept(self) -> bytes:
        """Return what to write now that there is room again."""
        payload, self._kept = self._kept, None
        return b"" if payload is None else self._encoder.control(PONG, payload)


class Heartbeat:
    """Asks the peer for signs of life: anything that comes is one.

    :param encoder: of our role
    """

    __slots__ = ("_answered", "_encoder", "_silence")

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._silence = 0  # calls of `due` since something came
        self._answered: asyncio.Future[None] | None = None  # who waits for anything to come

    def heard(self) -> None:
        """Something came."""
        self._silence = 0
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def due(self, doubt: bool) -> bytes | None:
        """Take a call of `keep_alive`.

        :param doubt: whether the connection may just have died: one Ping decides
        :return: what to write; None: the server counts as gone
        """
        self._silence = DEAD - 1 if doubt else self._silence + 1
        if self._silence >= DEAD:
            return None
        return self._encoder.control(PING) if self._silence >= QUIET else b""

    def ask(self) -> bytes:
        """Begin to wait for a sign of life.

        :return: what to write before `answered`
        """
        self._answered = asyncio.get_running_loop().create_future()
        return self._encoder.control(PING)

    async def answered(self) -> None:
        """Wait for it.

        :raises OSError: what `lost` was told
        """
        assert self._answered is not None
        try:
            await self._answered
        finally:
            self._answered = None

    def lost(self, exc: Exception) -> None:
        """Nothing will come any more."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc)
