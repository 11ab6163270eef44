"""The packets of one flow over the upstreams of a pool: opened with the first, opened again when a server ends it, elsewhere when that is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from ..base.address import Address
from ..base.errors import DialError
from ..base.flow import Flow
from ..base.packets import NO_PACKET_SINK, Packet, PacketChannel, PacketSink

if TYPE_CHECKING:
    from .balancer import Balancer, Member

log = structlog.get_logger("datapath")

MAX_WAITING: Final = 512 * 1024
"""Bytes that wait while a way is opened."""
OVERHEAD: Final = 128
"""Bytes that a packet takes besides its data: there may be many, and empty ones."""
PAUSE: Final = 1.0
"""Seconds after a failure in which what comes is dropped: each packet would have all upstreams tried again."""
DNS: Final = 53
"""The port of name servers."""
FRUITLESS: Final = 3
"""Ways in a row that ended before anything came over them, after which that is a failure: a server that takes them, and ends them at once."""


class PacketFlow(PacketChannel[Packet]):
    """A channel that lasts until it is closed, over ways that do not.

    Which upstream a flow goes over is decided when its way is opened: with its first packet, and with the first one after the way ended (servers end
    what is idle), or after the upstream went down while another one is up.

    A flow that was closed is over when its last way is.

    :param flow: whose packets they are
    :param balancer: returns the one that is asked for a way
    """

    __slots__ = ("_balancer", "_carried", "_fruitless", "_opening", "_over", "_retry", "_sink", "_size", "_told", "_waiting", "_ways", "flow")

    def __init__(self, flow: Flow, balancer: Callable[[], Balancer]) -> None:
        self.flow = flow
        self._balancer = balancer
        self._sink: PacketSink[Packet] = NO_PACKET_SINK
        self._carried: CarriedPackets | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting: list[Packet] = []
        self._size = 0  # bytes that wait
        self._ways = 0  # that are not over, those that were left among them
        self._fruitless = 0  # of them ended in a row
        self._retry = 0.0  # the loop's time before which no way is looked for
        self._over = False
        self._told = False  # somebody of connection_lost

    @property
    def peer_address(self) -> Address | None:
        return None

    def set_sink(self, sink: PacketSink[Packet]) -> None:
        self._sink = sink
        if self._told:
            self._told = False
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def send(self, packets: list[Packet]) -> None:
        carried = self._carried
        if self._over:
            pass
        elif carried is None:
            self._wait(packets)
        elif carried.should_leave():
            carried.leave()
            self._wait(packets)
        else:
            carried.send(packets)

    def close(self) -> None:
        if self._over:
            return
        self._over = True
        self._drop_waiting("the flow was closed before a way was open")
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._carried is not None:
            self._carried.close()
        if not self._ways:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        self._told = True
        sink, self._sink = self._sink, NO_PACKET_SINK  # breaks the reference circle
        sink.connection_lost(None)

    # -- opening

    def _wait(self, packets: list[Packet]) -> None:
        """Keep packets until a way is open, and open one."""
        loop = asyncio.get_running_loop()
        if self._opening is None and loop.time() < self._retry:
            self._drop("no upstream carries it", len(packets))
            return
        for packet in packets:
            size = len(packet.data) + OVERHEAD
            if self._size + size > MAX_WAITING:
                self._drop("too much before a way was open")
            else:
                self._waiting.append(packet)
                self._size += size
        if self._opening is None:
            self._opening = loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            carried = await self._balancer().carry_packets(self.flow, self)
        except DialError as exc:
            log.info("flow failed", flow=self.flow.id, target=str(self.flow.target), error=str(exc))
            self._failed()
        except Exception:  # a defect: ends this attempt, and not the program
            log.exception("flow failed", flow=self.flow.id, target=str(self.flow.target))
            self._failed()
        else:
            self._opening = None
            self._carried = carried
            self._ways += 1
            waiting, self._waiting, self._size = self._waiting, [], 0
            carried.send(waiting)

    def _failed(self) -> None:
        self._opening = None
        self._pause()
        self._drop_waiting("no upstream carries it")

    def _pause(self) -> None:
        self._retry = asyncio.get_running_loop().time() + PAUSE

    def _drop_waiting(self, reason: str) -> None:
        if self._waiting:
            self._drop(reason, len(self._waiting))
            self._waiting, self._size = [], 0

    def _drop(self, reason: str, packets: int = 1) -> None:
        self._balancer().drops.count(reason, packets)

    # -- called by what carries it

    def received(self, packets: list[Packet]) -> None:
        """Take packets that came."""
        self._sink.packets_received(packets)

    def left(self, carried: CarriedPackets) -> None:
        """The way is not to be used any more; the next packet needs another."""
        if self._carried is carried:
            self._carried = None

    def ended(self, carried: CarriedPackets) -> None:
        """A way is over."""
        self._ways -= 1
        if self._carried is carried:
            self._carried = None
            self._fruitless = 0 if carried.answered else self._fruitless + 1
            if self._fruitless >= FRUITLESS:
                self._pause()
        if self._over and not self._ways:
            self._tell_lost()


class CarriedPackets(PacketSink[Packet]):
    """A flow over one upstream, for as long as that lasts: counted, and watched for its end.

    Servers end an association with the answer to its only packet, if that was a query for a name (so do those of Outline, and ours). Then this side
    leaves, too: what it sent from now on would be lost.

    :param lower: the channel; becomes ours
    :param fresh: whether opening it showed that the server is there; else the first packet that comes does
    :param member: the upstream, in its pool
    :param packets: the flow
    :param should_leave: tells whether the upstream is down, and another one is not
    :param closed: called with this and the error, if any, at the end
    """

    __slots__ = (
        "_closed",
        "_fresh",
        "_lone_query",
        "_lower",
        "_over",
        "_packets",
        "_way",
        "answered",
        "flow",
        "member",
        "received",
        "sent",
        "should_leave",
    )

    def __init__(
        self,
        lower: PacketChannel[Packet],
        fresh: bool,
        member: Member,
        packets: PacketFlow,
        should_leave: Callable[[], bool],
        closed: Callable[[CarriedPackets, Exception | None], None],
    ) -> None:
        self.flow = packets.flow
        self.member = member
        self.sent = self.received = 0
        self.answered = False  # something came
        self.should_leave = should_leave
        self._lower = lower
        self._fresh = fresh
        self._packets = packets
        self._closed = closed
        self._over = False  # on our side
        self._lone_query: bool | None = None  # whether all that was sent is one query; None: nothing was
        self._way = member.upstream.ways[self.flow.network]
        self._way.carried.add(self)
        lower.set_sink(self)

    def send(self, packets: list[Packet]) -> None:
        """Send packets."""
        if self._lone_query is not False:
            self._lone_query = self._lone_query is None and len(packets) == 1 and packets[0].address.port == DNS
        for packet in packets:
            self.sent += len(packet.data)
        self._lower.send(packets)

    def close(self) -> None:
        """The flow is over."""
        self._over = True
        self._lower.close()

    def leave(self) -> None:
        """The flow goes on elsewhere."""
        self._packets.left(self)
        self.close()

    def keep_alive(self, doubt: bool = False) -> None:
        """As `Stream.keep_alive`."""
        self._lower.keep_alive(doubt)

    def packets_received(self, packets: list[Packet]) -> None:
        if self._over:
            return
        if not self.answered:
            self.answered = True
            self.member.upstream.answered(self.flow.network, self._fresh)
        for packet in packets:
            self.received += len(packet.data)
        if self._lone_query and self._way.has_server and packets[0].address.port == DNS:
            self.leave()
        self._packets.received(packets)

    def connection_lost(self, exc: Exception | None) -> None:
        self._way.carried.discard(self)
        if exc is not None and not self._over:
            self.member.upstream.broke(self.flow.network, exc)
        self._closed(self, exc)
        self._packets.ended(self)
