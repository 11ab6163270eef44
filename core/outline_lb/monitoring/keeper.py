"""Keeps the streams to servers alive, and ends those whose server is gone.

An idle tunnel is forgotten by whatever stands in between (address translators after minutes, content delivery networks after 100 seconds), and a
server that vanishes does not say so. What is asked, and how, is each layer's business: see `Stream.keep_alive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import anyio
import anyio.lowlevel
import structlog

from ..base.duration import format_duration
from ..datapath.upstream import Upstream
from .absence import ASLEEP, Absence

log = structlog.get_logger("health")

LOOK: Final = 1.0
"""Seconds between two looks at the clock."""
KEEP_ALIVE: Final = 12.0
"""Seconds between two visits to every stream."""
LATE: Final = 1.0
"""Seconds of lateness at which answers may have come that nobody has read yet."""
AT_ONCE: Final = 100
"""Streams that are visited before others have their turn."""


class Keeper:
    """Visits the streams of all upstreams that have a server.

    :param upstreams: returns those that there are
    """

    def __init__(self, upstreams: Callable[[], Iterable[Upstream]]) -> None:
        self._upstreams = upstreams

    async def run(self) -> None:
        """Visit until cancelled. After the machine was asleep, at once."""
        absence, loop = Absence(), asyncio.get_running_loop()
        due, late = loop.time() + KEEP_ALIVE, False
        while True:
            await anyio.sleep(LOOK)
            away = absence.seconds()
            late = late or away > LOOK + LATE
            if away > ASLEEP:
                log.info("was asleep, asking all servers", seconds=format_duration(away))
                self._forget_standbys()
            elif loop.time() < due:
                continue
            due = loop.time() + KEEP_ALIVE
            await self._visit(doubt=late)
            late = False

    async def _visit(self, doubt: bool) -> None:
        for upstream in list(self._upstreams()):
            flows = [flow for way in upstream.ways.values() if way.has_server for flow in way.carried]
            for index, flow in enumerate(flows):
                flow.keep_alive(doubt)
                if index % AT_ONCE == AT_ONCE - 1:
                    await anyio.lowlevel.checkpoint()

    def _forget_standbys(self) -> None:
        for upstream in self._upstreams():
            upstream.drop_standbys()
