"""Host names to socket addresses, with name servers that are slow, broken, or lie."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from typing import Final, TypeAlias

import structlog

from ..base.address import Address
from ..base.errors import describe

log = structlog.get_logger("net")

SocketAddress: TypeAlias = tuple[socket.AddressFamily, tuple[str, int]]

HEDGE: Final = 0.3
"""Seconds after which the families are asked for apart as well: the system waits for both, and one of them may never be answered."""
MAX_LOOKUPS: Final = 256
"""Lookups under way at a time, each in a thread; with a silent name server one lasts for many seconds."""
PATIENCE: Final = 1.0
"""Seconds that a lookup may take where an older answer is at hand."""
RECHECK: Final = 30.0
"""Seconds for which the older answer is taken, after a lookup failed, without asking again (RFC 8767 section 5)."""

_Key: TypeAlias = tuple[str, int, socket.AddressFamily]
_Found: TypeAlias = list[SocketAddress]


class Resolver(ABC):
    """Finds where a name is."""

    @abstractmethod
    async def resolve(self, address: Address) -> list[SocketAddress]:
        """Return where to connect to, in order of preference; an IP address is its own answer.

        :raises OSError: (often `socket.gaierror`) if there is no answer
        """


class SystemResolver(Resolver):
    """Asks the operating system, in threads, so that a slow name server stalls nobody else.

    Not in the loop's own threads: those are few, so one silent name would hold up all others, and the program waits for them at its end. Who asks
    for a name that is being looked up gets the same answer.
    """

    def __init__(self) -> None:
        self._under_way: dict[_Key, asyncio.Future[_Found]] = {}

    async def resolve(self, address: Address) -> list[SocketAddress]:
        ip = address.ip
        if ip is not None:
            return [(socket.AF_INET if ip.version == 4 else socket.AF_INET6, (address.host, address.port))]
        both = self._look_up(address, socket.AF_UNSPEC)
        waiting = {both}
        await asyncio.wait(waiting, timeout=HEDGE)
        if not both.done():
            waiting |= {self._look_up(address, family) for family in (socket.AF_INET, socket.AF_INET6)}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for lookup in done:
                if lookup.exception() is None:
                    return interleave(lookup.result())
        error = both.exception()
        assert error is not None
        raise error.with_traceback(None)

    def _look_up(self, address: Address, family: socket.AddressFamily) -> asyncio.Future[_Found]:
        """Return the lookup that is under way, or begin one."""
        loop, key = asyncio.get_running_loop(), (address.host, address.port, family)
        lookup = self._under_way.get(key)
        if lookup is None:
            lookup = self._under_way[key] = loop.create_future()
            try:
                if len(self._under_way) > MAX_LOOKUPS:
                    raise RuntimeError("too many names are being looked up")
                threading.Thread(target=self._ask, args=(loop, key), daemon=True).start()
            except (RuntimeError, MemoryError) as exc:
                self._answer(key, socket.gaierror(socket.EAI_AGAIN, describe(exc)))
        return lookup

    def _ask(self, loop: asyncio.AbstractEventLoop, key: _Key) -> None:
        """Ask the system; in a thread."""
        host, port, family = key
        found: _Found | Exception
        try:
            answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            found = [(kind, (str(name[0]), int(name[1]))) for kind, _, _, _, name in answers]
        except Exception as exc:
            found = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._answer, key, found)

    def _answer(self, key: _Key, found: _Found | Exception) -> None:
        lookup = self._under_way.pop(key)
        if isinstance(found, Exception):
            lookup.set_exception(found)
            lookup.exception()  # nobody may be left to ask for it
        else:
            lookup.set_result(found)


class LastGood(Resolver):
    """Takes the last answer for a name when there is no new one: a server does not move because its name server is down, or lies.

    For the names of servers, which are few and trusted; what users ask for is gone when its name is.

    :param resolver: who is asked
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[Address, list[SocketAddress]] = {}
        self._failed: dict[Address, float] = {}  # when

    async def resolve(self, address: Address) -> list[SocketAddress]:
        now = asyncio.get_running_loop().time()
        known = self._known.get(address)
        if known and address in self._failed and now < self._failed[address] + RECHECK:
            return known
        try:
            async with asyncio.timeout(PATIENCE if known else None):
                found = await self._resolver.resolve(address)
        except OSError as exc:  # which TimeoutError is too
            if not known:
                raise
            log.info("name not found, taking its last address", name=address.host, error=describe(exc))
            self._failed[address] = asyncio.get_running_loop().time()
            return known
        self._failed.pop(address, None)
        self._known[address] = found
        return found


def interleave(found: list[SocketAddress]) -> list[SocketAddress]:
    """Alternate between the families, the first one first (RFC 8305 section 4)."""
    if not found:
        return []
    first = [entry for entry in found if entry[0] == found[0][0]]
    other = [entry for entry in found if entry[0] != found[0][0]]
    mixed: list[SocketAddress] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1] + other[index : index + 1]
    return mixed
