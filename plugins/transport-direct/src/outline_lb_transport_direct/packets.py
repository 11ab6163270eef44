"""A channel to any target. It has one socket for each IP family, so all targets see the same sender, and whoever knows it may answer."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
from typing import Final, TypeAlias

import structlog

from outline_lb.api import (
    NO_PACKET_SINK,
    Address,
    Connector,
    Datagram,
    DialError,
    Drops,
    Packet,
    PacketChannel,
    PacketSink,
    SocketAddress,
    SocketName,
    UdpSocket,
    describe,
    is_public,
    name_of,
)

log = structlog.get_logger("direct")

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_TARGETS: Final = 512
"""Targets of a channel that are remembered. For one more, the one that was not written to for the longest time is forgotten."""
MAX_SENDERS: Final = 512
"""Senders whose addresses are remembered."""
NAME_LIFE: Final = 60.0
"""Seconds after which a name is looked up again, if there is something to send."""
RECHECK: Final = 10.0
"""Seconds for which a name that was not found is not looked for again."""
MAX_LOOKUPS: Final = 32
"""Names that a channel looks for at a time: all flows share those who look."""
MAX_WAITING: Final = 256 * 1024
"""Bytes of a channel that wait for names to be found."""

_OVERHEAD = 64
_UNKNOWN = "the target's name was not found"
_REFUSED = "no address of the public internet, and others are not allowed here"
_OTHER_FAMILY = "the source address is of another family than the target"
_FLOODED = "too much before the target's name was found"
_TOO_MANY = "too many names at once"


class Target:
    """Where packets for an address go.

    :param address: as the packets have it
    """

    __slots__ = ("address", "due", "looking", "name", "reason", "socket", "waiting")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.socket: UdpSocket | None = None
        """What they go over; None: they wait, or cannot go."""
        self.name: SocketName = ("", 0)
        self.reason = ""
        """Why they cannot go, as far as that is known."""
        self.due = math.inf
        """The loop's time for another look at the name."""
        self.looking: asyncio.Task[None] | None = None
        self.waiting: list[bytes] = []


class DirectChannel(PacketChannel[Packet]):
    """The packets of one flow.

    :param connector: opens the sockets, and finds names
    :param drops: hears of what cannot be sent
    :param public_only: whether targets outside the public internet are refused
    :param timeout: seconds for finding a name
    """

    __slots__ = (
        "_connector",
        "_drops",
        "_lookups",
        "_lost",
        "_public_only",
        "_senders",
        "_sink",
        "_sockets",
        "_source",
        "_targets",
        "_timeout",
        "_waiting",
    )

    def __init__(self, connector: Connector, drops: Drops, public_only: bool, timeout: float) -> None:
        self._connector = connector
        self._drops = drops
        self._public_only = public_only
        self._timeout = timeout
        source = connector.via.source
        self._source = None if source is None else family_of(ipaddress.ip_address(source))
        self._sink: PacketSink[Packet] = NO_PACKET_SINK
        self._sockets: dict[socket.AddressFamily, UdpSocket] = {}
        self._targets: dict[Address, Target] = {}  # the one that was not written to for the longest time first
        self._senders = _Senders()
        self._lookups = 0  # under way
        self._waiting = 0  # bytes that wait for names
        self._lost = False

    @property
    def peer_address(self) -> Address | None:
        return None

    def set_sink(self, sink: PacketSink[Packet]) -> None:
        self._sink = sink
        if self._lost:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def close(self) -> None:
        if self._lost:
            return
        self._lost = True
        for target in self._targets.values():
            self._forget(target)
        self._targets.clear()
        for sock in self._sockets.values():
            sock.close()
        asyncio.get_running_loop().call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        sink, self._sink = self._sink, NO_PACKET_SINK  # breaks the reference circle
        sink.connection_lost(None)

    # -- sending

    def send(self, packets: list[Packet]) -> None:
        if self._lost:
            return
        now = asyncio.get_running_loop().time()
        before: Address | None = None
        for address, data in packets:
            if address is not before:  # most packets go where the one before went
                before, target = address, self._find(address, now)
            if target.socket is not None:
                target.socket.send(data, target.name)
            else:
                self._keep(target, data)

    def _find(self, address: Address, now: float) -> Target:
        """Return the target of an address, now the one that was written to last."""
        targets = self._targets
        target = targets.pop(address, None)
        if target is None:
            if len(targets) >= MAX_TARGETS:
                self._forget(targets.pop(next(iter(targets))))
            target = Target(address)
            self._look_at(target, now)
        elif now >= target.due:
            self._look_at(target, now)
        targets[address] = target
        return target

    def _keep(self, target: Target, data: bytes) -> None:
        """Let a packet wait for its target to be found, if anybody looks for it."""
        size = _size(data)
        if target.looking is None:
            self._drops.count(target.reason)
        elif self._waiting + size > MAX_WAITING:
            self._drops.count(_FLOODED)
        else:
            target.waiting.append(data)
            self._waiting += size

    def _take_waiting(self, target: Target) -> list[bytes]:
        """Return what waits for a target, which waits no more."""
        waiting, target.waiting = target.waiting, []
        self._waiting -= sum(map(_size, waiting))
        return waiting

    def _forget(self, target: Target) -> None:
        if target.looking is not None:
            target.looking.cancel()
            target.looking = None
            self._lookups -= 1
        if waiting := self._take_waiting(target):
            self._drops.count("given up before the target's name was found", len(waiting))

    # -- finding out where a target is

    def _look_at(self, target: Target, now: float) -> None:
        """Find out where packets for a target go; if it has a name, in the background."""
        target.due = math.inf
        ip = target.address.ip
        if ip is None and self._lookups < MAX_LOOKUPS:
            self._lookups += 1
            target.looking = asyncio.get_running_loop().create_task(self._look_up(target))
        elif ip is None:
            target.reason, target.due = _TOO_MANY, now
        elif not self._lead(target, [(family_of(ip), (target.address.host, target.address.port))]):
            target.due = now + RECHECK

    async def _look_up(self, target: Target) -> None:
        """Find the name of a target, and send what waits for it. One that was found before stays where it was if it is not found now."""
        found = False
        try:
            async with asyncio.timeout(self._timeout):
                candidates = await self._connector.resolve(target.address)
            found = self._lead(target, candidates)
        except (DialError, TimeoutError) as exc:
            log.debug("name not found", name=target.address.host, error=describe(exc))
            target.reason = _UNKNOWN
        except Exception:  # a defect: ends this attempt, and not the channel
            log.exception("name not found", name=target.address.host)
            target.reason = _UNKNOWN
        target.looking = None
        self._lookups -= 1
        target.due = asyncio.get_running_loop().time() + (NAME_LIFE if found else RECHECK)
        waiting = self._take_waiting(target)
        if target.socket is not None:
            for data in waiting:
                target.socket.send(data, target.name)
        elif waiting:
            self._drops.count(target.reason, len(waiting))

    def _lead(self, target: Target, candidates: list[SocketAddress]) -> bool:
        """Let a target lead to the first of these addresses that will do, unless it leads to one of them already: a conversation stays where it is.

        :return: whether it leads to one
        """
        usable = [_unmapped(candidate) for candidate in candidates if self._allows(target, candidate)]
        if target.socket is not None and target.name in [name for _, name in usable]:
            return True
        for family, name in usable:
            if self._source is not None and family != self._source:
                target.reason = _OTHER_FAMILY
                continue
            try:
                target.socket = self.open(family)
            except DialError as exc:
                target.reason = describe(exc.cause)
                continue
            target.name = name
            return True
        return False

    def _allows(self, target: Target, candidate: SocketAddress) -> bool:
        """Tell whether packets may go to an address."""
        if self._public_only and not is_public(ipaddress.ip_address(candidate[1][0])):
            target.reason = _REFUSED
            return False
        return True

    def open(self, family: socket.AddressFamily) -> UdpSocket:
        """Return the socket of a family; opened if there is none.

        :raises DialError: if it cannot be had
        """
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = self._connector.open_udp((family, ("", 0)), self._drops)
            sock.start(self._received)
        return sock

    # -- receiving

    def _received(self, datagrams: list[Datagram]) -> None:
        senders = self._senders
        self._sink.packets_received([Packet(senders[name], data) for data, name in datagrams])


def _size(data: bytes) -> int:
    """Return the memory that a waiting packet takes, empty ones too."""
    return len(data) + _OVERHEAD


def family_of(ip: IPAddress) -> socket.AddressFamily:
    """Return the family over which packets go to an IP address."""
    return socket.AF_INET if ip.version == 4 or ip.ipv4_mapped else socket.AF_INET6


def _unmapped(candidate: SocketAddress) -> SocketAddress:
    """Return an IPv4 address that hides in an IPv6 one (RFC 4291 section 2.5.5.2) as itself: the sockets are each for one family."""
    _, (host, port) = candidate
    ip = ipaddress.ip_address(host)
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    return candidate if mapped is None else (socket.AF_INET, (str(mapped), port))


class _Senders(dict[SocketName, Address]):
    """The addresses of those who sent something lately, each made once."""

    def __missing__(self, name: SocketName) -> Address:
        if len(self) >= MAX_SENDERS:
            del self[next(iter(self))]
        address = self[name] = name_of(name)
        return address
