"""Opens sockets, on the way that the configuration wants: from an address, through an interface, with a mark."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass, replace
from typing import Final

import anyio

from ..base.address import Address
from ..base.drops import Drops
from ..base.errors import DialError, Reason
from .resolver import Resolver, SocketAddress, SystemResolver
from .socket import SocketStream
from .udp import UdpSocket

STAGGER: Final = 0.25
"""Seconds before the next address of a name is tried beside the one under way (RFC 8305 section 5)."""


@dataclass(frozen=True, slots=True)
class Via:
    """How outgoing sockets leave this machine.

    :param source: IP address to bind to
    :param interface: network interface to leave through (Linux)
    :param fwmark: firewall mark (Linux, needs CAP_NET_ADMIN)
    """

    source: str | None = None
    interface: str | None = None
    fwmark: int | None = None

    def apply(self, sock: socket.socket) -> None:
        """Prepare a new socket.

        :raises OSError: if the system refuses
        """
        if self.fwmark is not None:
            sock.setsockopt(socket.SOL_SOCKET, _option("SO_MARK"), self.fwmark)
        if self.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, _option("SO_BINDTODEVICE"), self.interface.encode())
        if self.source is not None:
            sock.bind((self.source, 0))


def _option(name: str) -> int:
    number: int | None = getattr(socket, name, None)
    if number is None:
        raise OSError(errno.EOPNOTSUPP, f"this system has no {name}")
    return number


class Connector:
    """Opens TCP connections and UDP sockets.

    :param via: how they leave this machine
    :param resolver: who finds names
    """

    def __init__(self, via: Via = Via(), resolver: Resolver | None = None) -> None:
        self.via: Final = via
        self._resolver = resolver or SystemResolver()

    def with_source(self, source: str) -> Connector:
        """Return a connector like this one whose connections leave from another IP address."""
        return Connector(replace(self.via, source=source), self._resolver)

    async def resolve(self, address: Address) -> list[SocketAddress]:
        """Return where `connect` would go: the addresses of the family that the source has, if there is one.

        :raises DialError: with the operation ``resolve``
        """
        try:
            found = await self._resolver.resolve(address)
        except OSError as exc:
            raise DialError("resolve", exc) from exc
        if self.via.source is not None:
            wanted = socket.AF_INET if ipaddress.ip_address(self.via.source).version == 4 else socket.AF_INET6
            found = [candidate for candidate in found if candidate[0] == wanted]
        if not found:
            place = "" if self.via.source is None else f" that can be reached from {self.via.source}"
            raise DialError("resolve", socket.gaierror(socket.EAI_NODATA, f"no address{place}"))
        return found

    async def connect(self, address: Address) -> SocketStream:
        """Connect to a host, trying its addresses one after the other, a little staggered (RFC 8305).

        Cancelling leaves no socket behind.

        :raises DialError: with the operation ``resolve``, ``socket``, ``bind`` or ``connect``
        """
        return await self.connect_to(await self.resolve(address))

    async def connect_to(self, candidates: list[SocketAddress]) -> SocketStream:
        """Connect to the first of these socket addresses that answers.

        :raises DialError: the first failure that says more than that a network is unreachable (as all of IPv6 is for many), with the operation
            ``socket``, ``bind`` or ``connect``
        """
        if len(candidates) == 1:
            return SocketStream(await self._open(*candidates[0]))
        return SocketStream(await self._race(candidates))

    def open_udp(self, candidate: SocketAddress, drops: Drops, connect: bool = False) -> UdpSocket:
        """Open a UDP socket.

        :param candidate: whose family it needs, and where to, if it is to be connected
        :param drops: hears of what cannot be sent
        :param connect: whether everything goes there and comes from there
        :raises DialError: with the operation ``socket``, ``bind`` or ``connect``
        """
        family, name = candidate
        sock = _socket(family, socket.SOCK_DGRAM)
        operation = "bind"
        try:
            if family == socket.AF_INET6:  # each socket its family: a bound one would also take what comes over IPv4
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.via.apply(sock)
            if connect:
                operation = "connect"
                sock.connect(name)
            elif self.via.source is None:
                sock.bind(("", 0))
        except OSError as exc:
            sock.close()
            raise DialError(operation, exc) from exc
        return UdpSocket(sock, drops)

    async def _race(self, candidates: list[SocketAddress]) -> socket.socket:
        winner: socket.socket | None = None
        failures: list[DialError] = []

        async def attempt(candidate: SocketAddress, ended: anyio.Event) -> None:
            nonlocal winner
            try:
                sock = await self._open(*candidate)
            except DialError as exc:
                failures.append(exc)
                ended.set()
                return
            if winner is None:
                winner = sock
                group.cancel_scope.cancel()
            else:
                sock.close()

        try:
            async with anyio.create_task_group() as group:
                for candidate in candidates:
                    ended = anyio.Event()
                    group.start_soon(attempt, candidate, ended)
                    with anyio.move_on_after(STAGGER):
                        await ended.wait()
        except BaseException:
            if winner is not None:
                winner.close()
            raise
        if winner is None:
            raise next((failure for failure in failures if failure.reason is not Reason.NETWORK_UNREACHABLE), failures[0])
        return winner

    async def _open(self, family: socket.AddressFamily, name: tuple[str, int]) -> socket.socket:
        sock = _socket(family, socket.SOCK_STREAM)
        operation = "bind"
        try:
            sock.setblocking(False)
            self.via.apply(sock)
            operation = "connect"
            await self._reach(sock, name)
        except OSError as exc:
            sock.close()
            raise DialError(operation, exc) from exc
        except BaseException:
            sock.close()
            raise
        return sock

    async def _reach(self, sock: socket.socket, name: tuple[str, int]) -> None:
        """Connect a socket. Not by the loop: uvloop looks up every address in a thread first, numbers too."""
        try:
            sock.connect(name)
        except (BlockingIOError, InterruptedError):  # under way
            pass
        else:
            return
        loop = asyncio.get_running_loop()
        writable: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock, _set, writable)
        try:
            await writable
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))


def _socket(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    try:
        return socket.socket(family, kind)
    except OSError as exc:
        raise DialError("socket", exc) from exc


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
