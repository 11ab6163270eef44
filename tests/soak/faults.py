"""What goes wrong during the soak."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from soak.target import Target
from soak.world import SERVERS, World

MORTAL: Final = tuple(name for name in SERVERS if name != "plain")
"""Servers that may be killed. The kernel ends the sockets of a killed process with a FIN, and Shadowsocks alone has no other sign of an end."""


class Faults:
    """Chooses faults by chance and does them; several may last at the same time, each at another server.

    :param world: where
    :param target: hears of killed servers
    :param chance: what decides
    :param pace: 1 in a long soak; less makes long faults shorter
    """

    def __init__(self, world: World, target: Target, chance: random.Random, pace: float) -> None:
        self._world = world
        self._target = target
        self._chance = chance
        self._pace = pace
        self._whole = set(SERVERS)
        self._rest: list[Callable[[], Awaitable[None]]] = []
        self.done: Counter[str] = Counter()

    @property
    def closed(self) -> int:
        """How many streams were closed with 1011."""
        return self._world.rude.closed

    async def one(self) -> None:
        """Do one. Each comes before any comes again."""
        if not self._rest:
            self._rest = [self.kill, self.stall, self.black_hole, self.reset, self.reload, self.close_1011]
            self._chance.shuffle(self._rest)
        await self._rest.pop()()

    async def kill(self) -> None:
        """A server dies, and comes back after a moment."""
        name = await self._take("a server killed and started again", MORTAL)
        self._target.killed = math.inf  # while it happens, any stream may end so
        await self._world.servers[name].kill()
        self._target.killed = time.monotonic()
        await asyncio.sleep(self._chance.uniform(0.5, 4))
        await self._world.start_server(name)
        self._whole.add(name)

    async def stall(self) -> None:
        """A server stands still for a moment."""
        await self._stop("a server stopped for some seconds", self._chance.uniform(2, 6))

    async def black_hole(self) -> None:
        """A server stands still for so long that its tunnels are given up."""
        await self._stop("a server stopped for a minute", 4 + 66 * self._pace)

    async def _stop(self, what: str, seconds: float) -> None:
        name = await self._take(what)
        process = self._world.servers[name].process
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)
        self._whole.add(name)

    async def reset(self) -> None:
        """All connections to a server are torn."""
        self._world.way.reset()
        self._count("all connections to a server reset", "two")

    async def reload(self) -> None:
        """The client gets another configuration."""
        self._world.reload()
        self._count("another configuration, and SIGHUP")

    async def close_1011(self) -> None:
        """For a while there is a server more, which closes every stream with 1011."""
        await self._world.rude.start()
        self._count("a server that closes with 1011")
        await asyncio.sleep(5 + 10 * self._pace)
        self._world.rude.stop()

    async def _take(self, what: str, among: Collection[str] = SERVERS) -> str:
        """Return a server that is whole; there is always another one that nothing happens to."""
        while len(self._whole) < 2 or not self._whole & set(among):
            await asyncio.sleep(0.1)
        name = self._chance.choice(sorted(self._whole & set(among)))
        self._whole.remove(name)
        self._count(what, name)
        return name

    def _count(self, what: str, name: str = "") -> None:
        self.done[what] += 1
        print(f"{time.strftime('%X')} fault: {what} {name}", file=sys.stderr, flush=True)
