"""A user's packets, and how long they are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from outline_lb.api import Packet, PacketChannel, PacketHop

DNS: Final = 53
DNS_TIMEOUT: Final = 17.0
"""Seconds that an association is kept for the answer to a query: more than those wait for it (RFC 5452 section 10)."""


class Association(PacketHop[Packet, Packet]):
    """A user's packets, until none came for some time.

    As with other servers, that is short where only queries for names were sent; and if it was a single one, its answer is the end.

    :param lower: the user's channel; becomes ours
    :param first: the packet that came already
    :param timeout: seconds after the last packet until it ends
    :param used: called with this when packets come
    :param over: called with this at the end; may be called again
    """

    __slots__ = ("_deadline", "_lone_query", "_over", "_timeout", "_timer", "_used")

    def __init__(
        self,
        lower: PacketChannel[Packet],
        first: Packet,
        timeout: float,
        used: Callable[[Association], object],
        over: Callable[[Association], object],
    ) -> None:
        super().__init__(lower)
        self._timeout = timeout
        self._used = used
        self._over = over
        self._deadline = 0.0
        self._expect_more((first,))
        self._lone_query = first.address.port == DNS  # nothing else was sent, and no answer has come
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._look)

    def _expect_more(self, packets: Iterable[Packet]) -> None:
        """Move the end away from these packets, and never towards them."""
        timeout = min(DNS_TIMEOUT, self._timeout)
        for packet in packets:
            if packet.address.port != DNS:
                timeout = self._timeout
                break
        deadline = asyncio.get_running_loop().time() + timeout
        self._deadline = max(self._deadline, deadline)

    def _look(self) -> None:
        """The one timer: packets do not move it, it looks whether they moved the end."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._look)
        else:
            self.close()

    # -- called by the channel below

    def packets_received(self, packets: list[Packet]) -> None:
        self._lone_query = False
        self._expect_more(packets)
        self._used(self)
        self.upper.packets_received(packets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()
        super().connection_lost(exc)

    def _finish(self) -> None:
        self._timer.cancel()
        self._over(self)

    # -- called by the carrier

    def send(self, packets: list[Packet]) -> None:
        self.lower.send(packets)
        if self._lone_query:
            self._lone_query = False
            if packets[0].address.port == DNS:
                self.close()

    def close(self) -> None:
        self._finish()
        super().close()
