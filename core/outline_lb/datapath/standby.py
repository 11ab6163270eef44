"""Connections to a server that are open before a flow wants them: the flow then waits for no handshake.

A server that nobody uses has none. Each flow that takes one, or finds none, has the missing ones opened a little later, one after the other; what
grows old unused is closed and not replaced.

A connection that waited may be dead, and a flow that has sent its first bytes over it cannot go elsewhere. So the server is asked for a sign of life
before one is given away: one round trip, where a new connection takes three. All are closed as soon as anything speaks against the server.
"""

from __future__ import annotations

import asyncio
from typing import Final, Generic

import structlog

from ..base.errors import DialError
from ..base.packets import NO_PACKET_SINK, PacketSink
from ..base.stream import NOBODY, Buffer, Stream, StreamSink
from .transport import LinkT, StandbyEndpoint

log = structlog.get_logger("balancer")

MAX_AGE: Final = 45.0
"""Seconds that a connection may wait. Outline servers take one that says nothing for 59 seconds for a probe, and close it."""
DELAY: Final = 0.008
"""Seconds from a flow to the handshake that replaces what it took, so that the two do not compete."""
PATIENCE: Final = 2.0
"""Seconds without a sign of life after which a connection that waited is given up for a new one."""
BUSY: Final = 0.004
"""Seconds of lateness by which the loop is too busy for handshakes that nobody waits for yet."""


class Standby(Generic[LinkT]):
    """The waiting connections of one server, for one kind of traffic.

    :param endpoint: opens them
    """

    def __init__(self, endpoint: StandbyEndpoint[LinkT]) -> None:
        self.size = 0
        """How many should wait."""
        self._endpoint = endpoint
        self._waiting: list[_Waiting[LinkT]] = []  # the youngest last
        self._timer: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def take(self) -> LinkT | None:
        """Return a connection, paused, if one is waiting that the server answers on; either way, have the missing ones opened.

        Cancelling closes the one that was asked.
        """
        if not self._waiting:
            self._fill_later()
            return None
        waiting = self._waiting[-1]
        waiting.claim()
        self._fill_later()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._endpoint.check(waiting.link)
            if waiting.over:
                return None
        except (DialError, TimeoutError) as exc:
            log.debug("standby was dead", error=str(exc) or "no answer")
            waiting.end()
            self._close_waiting()
            return None
        except BaseException:
            waiting.end()
            raise
        return waiting.leave()

    def keep(self, link: LinkT) -> None:
        """Let a connection wait, if there is a place for it and flows may come; else close it.

        :param link: a paused stream or a channel without a sink, over which nothing was sent; becomes ours
        """
        if (self._filling is None and self._timer is None) or len(self._waiting) >= self.size:
            link.close()
        else:
            self._waiting.append(_Waiting(link, self._waiting))

    def drop(self) -> None:
        """Close what waits, and open nothing before the next flow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        self._close_waiting()

    def _close_waiting(self) -> None:
        for waiting in list(self._waiting):
            waiting.end()

    def _fill_later(self) -> None:
        if self._timer is None and self._filling is None and len(self._waiting) < self.size:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DELAY, self._fill, loop.time() + DELAY)

    def _fill(self, due: float) -> None:
        self._timer = None
        if len(self._waiting) >= self.size:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - due > BUSY:
            self._fill_later()
            return
        self._filling = loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            link = await self._endpoint.connect()
        except DialError as exc:  # the next flow will find out by itself
            log.debug("standby failed", error=str(exc))
            self._filling = None
        except Exception as exc:
            log.error("standby failed", exc_info=exc)
            self._filling = None
        else:
            self.keep(link)
            self._filling = None
            self._fill_later()


class _Waiting(StreamSink, PacketSink[bytes], Generic[LinkT]):
    """A connection that waits: watched for its end.

    :param link: a paused stream, or a channel without a sink
    :param others: the list that this is in, or will be
    """

    __slots__ = ("_others", "_timer", "link", "over")

    def __init__(self, link: LinkT, others: list[_Waiting[LinkT]]) -> None:
        self.link = link
        self.over = False
        self._others = others
        self._timer = asyncio.get_running_loop().call_later(MAX_AGE, self.end)
        if isinstance(link, Stream):
            link.set_sink(self)
            link.resume_reading()
        else:
            link.set_sink(self)

    def claim(self) -> None:
        """Wait no more, but go on watching."""
        self._timer.cancel()
        if self in self._others:
            self._others.remove(self)

    def leave(self) -> LinkT:
        """Stop watching; return the connection, a stream paused again."""
        self.claim()
        if isinstance(self.link, Stream):
            self.link.set_sink(NOBODY)
            self.link.pause_reading()
        else:
            self.link.set_sink(NO_PACKET_SINK)
        return self.link

    def end(self) -> None:
        """Close it, unless it is over."""
        if not self.over:
            self.over = True
            self.leave().close()

    def data_received(self, data: Buffer) -> None:  # the server speaks before it was spoken to
        self.end()

    def packets_received(self, packets: list[bytes]) -> None:
        self.end()

    def eof_received(self) -> None:
        self.end()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.claim()
