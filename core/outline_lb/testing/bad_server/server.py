"""The listening half: plays the script with each connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self, TypeAlias

from ...base.address import Address
from .peer import Peer
from .wire import Wire

Step: TypeAlias = Callable[[Peer], Awaitable[None]]
"""One thing that the server does. An `OSError` (the client left) ends the script; anything else is the test's mistake."""

_BACKLOG: Final = 1024


class BadServer:
    """Listens while it is entered, and does what its script says.

    :param script: for each connection, from its beginning
    :param address: where to listen; port 0 takes a free one
    """

    def __init__(self, *script: Step, address: Address | None = None) -> None:
        self.script: tuple[Step, ...] = script
        """For connections that come from now on."""
        self.visits: list[Peer] = []
        """Every connection so far, in their order."""
        self._wanted = address or Address("127.0.0.1", 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []
        self._came = asyncio.Condition()

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._sock.getsockname()[:2]
        return Address(host, port)

    @property
    def flows(self) -> list[Peer]:
        """The connections that brought a Shadowsocks header: no probes."""
        return [peer for peer in self.visits if peer.target is not None]

    async def visit(self, number: int) -> Peer:
        """Wait for a connection, counted from 1, and return it."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.visits) >= number)
        return self.visits[number - 1]

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._wanted.host else socket.AF_INET
        self._sock = socket.create_server((self._wanted.host, self._wanted.port), family=family, backlog=_BACKLOG)
        self._sock.setblocking(False)
        self._start(self._accept())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sock.close()
        if self._failures and exc is None:
            raise ExceptionGroup("the script of a bad server failed", self._failures)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._sock)
            peer = Peer(Wire(sock))
            self._start(self._play(peer, self.script))
            async with self._came:
                self.visits.append(peer)
                self._came.notify_all()

    async def _play(self, peer: Peer, script: tuple[Step, ...]) -> None:
        try:
            for step in script:
                await step(peer)
            await peer.wire.end()
            await peer.wait_until_gone()
        except (OSError, ssl.SSLError) as exc:  # the client left, or the step had it so
            peer.trouble = exc
            with contextlib.suppress(OSError):
                await peer.wire.end()
        except Exception as exc:
            self._failures.append(exc)
        finally:
            peer.wire.close()
            peer.over.set()
