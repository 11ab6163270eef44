"""How an upstream carries one kind of traffic: what opens it, what is known about it, and what is under way."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..base.flow import Flow
from ..base.packets import Packet, PacketChannel
from ..base.stream import Stream
from ..selection.health import Health
from .standby import Standby
from .transport import Endpoint, LinkT, StandbyEndpoint

OpenedT = TypeVar("OpenedT", bound="Stream | PacketChannel[bytes] | PacketChannel[Packet]")
FlowT = TypeVar("FlowT", bound="Stream | PacketChannel[Packet]")
"""What a flow gets: a stream to its target, or a channel for its packets."""


class Carried(Protocol):
    """A flow over an upstream."""

    @property
    def received(self) -> int:
        """Bytes that came."""

    def keep_alive(self, doubt: bool = False) -> None:
        """As `Stream.keep_alive`."""

    def leave(self) -> None:
        """The upstream is about to go: end, if the flow can go on elsewhere."""


@dataclass(frozen=True, slots=True)
class Opening(Generic[OpenedT]):
    """What was opened for a flow, before anything was sent.

    :param opened: leads to the server if there is one, else to the target
    :param seconds: what it took; None if that says nothing about the upstream
    :param fresh: whether the server answered just now, which shows that it is there
    """

    opened: OpenedT
    seconds: float | None
    fresh: bool = True


class Way(ABC, Generic[OpenedT, FlowT]):
    """One kind of traffic over one upstream.

    :param health: what is known
    """

    has_server: bool
    """Whether a server is in between, which can be to blame when a target does not answer."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.carried: set[Carried] = set()
        self.standby: Standby[Any] | None = None

    @property
    def received(self) -> int:
        """Bytes that came for the flows under way."""
        return sum(flow.received for flow in self.carried)

    @abstractmethod
    async def open(self, flow: Flow) -> Opening[OpenedT]:
        """Open what a flow needs: take a connection that waits, or make one. Nothing of the flow is sent.

        :raises DialError: if it cannot be opened
        """

    @abstractmethod
    def begin(self, opening: Opening[OpenedT], flow: Flow) -> FlowT:
        """Make what the flow gets of what was opened for it."""

    def give_back(self, opening: Opening[OpenedT]) -> None:
        """Take what was opened for a flow that does not want it any more."""
        opening.opened.close()

    @abstractmethod
    async def dial(self, flow: Flow) -> FlowT:
        """Open a new one for a flow, whatever waits.

        :raises DialError: if it cannot be opened
        """

    async def handshake(self) -> float | None:
        """Open one to the server, and measure; close it politely, unless a place is free among those that wait.

        :return: seconds that it took to open; None if there is no server
        :raises UpstreamError: if it could not be opened
        """
        return None


class DirectWay(Way[FlowT, FlowT]):
    """Straight to the targets.

    :param health: what is known
    :param dial: opens what a flow gets
    """

    has_server = False

    def __init__(self, health: Health, dial: Callable[[Flow], Awaitable[FlowT]]) -> None:
        super().__init__(health)
        self._dial = dial

    async def open(self, flow: Flow) -> Opening[FlowT]:
        return Opening(await self._dial(flow), None)

    def begin(self, opening: Opening[FlowT], flow: Flow) -> FlowT:
        return opening.opened

    async def dial(self, flow: Flow) -> FlowT:
        return await self._dial(flow)


class ServerWay(Way[LinkT, FlowT]):
    """Through a server.

    :param health: what is known
    :param endpoint: the server
    :param begin: makes what a flow gets of a connection to the server
    """

    has_server = True

    def __init__(self, health: Health, endpoint: Endpoint[LinkT], begin: Callable[[LinkT, Flow], FlowT]) -> None:
        super().__init__(health)
        self._endpoint = endpoint
        self._begin = begin
        self.standby: Standby[LinkT] | None = Standby(endpoint) if isinstance(endpoint, StandbyEndpoint) else None

    async def open(self, flow: Flow) -> Opening[LinkT]:
        if self.standby is not None and (waiting := await self.standby.take()) is not None:
            return Opening(waiting, None, fresh=False)
        return await self._connect()

    async def _connect(self) -> Opening[LinkT]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        link = await self._endpoint.connect()
        return Opening(link, loop.time() - started) if self._endpoint.answers else Opening(link, None, fresh=False)

    def begin(self, opening: Opening[LinkT], flow: Flow) -> FlowT:
        return self._begin(opening.opened, flow)

    def give_back(self, opening: Opening[LinkT]) -> None:
        if self.standby is None:
            opening.opened.close()
        else:
            self.standby.keep(opening.opened)

    async def dial(self, flow: Flow) -> FlowT:
        return self._begin(await self._endpoint.connect(), flow)

    async def handshake(self) -> float | None:
        opening = await self._connect()
        self.give_back(opening)
        return opening.seconds
