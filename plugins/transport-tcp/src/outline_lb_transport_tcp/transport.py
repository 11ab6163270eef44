"""The connecting half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from outline_lb.api import (
    Address,
    AddressError,
    Connector,
    DialError,
    Drops,
    Endpoint,
    PacketChannel,
    PacketTransport,
    SecretUrl,
    SocketAddress,
    Stream,
    StreamTransport,
    TransportDeps,
    UpstreamError,
    name_of,
)

from .options import TransportOptions
from .packets import ClientChannel

LinkT = TypeVar("LinkT")

STREAMS: Final = "tcp"
PACKETS: Final = "udp"
"""The schemes of the URLs."""


class Server:
    """A host and port.

    :param address: where it is
    :param connector: opens the sockets
    :param timeout: seconds for finding the server and connecting
    """

    def __init__(self, address: Address, connector: Connector, timeout: float) -> None:
        self.address: Final = address
        self.connector: Final = connector
        self._timeout = timeout

    async def reach(self, open_link: Callable[[list[SocketAddress]], Awaitable[LinkT]]) -> LinkT:
        """Find the server, and return what opens there.

        :param open_link: called with its addresses, never none
        :raises UpstreamError: with the operation that failed, or took too long
        """
        operation = "resolve"
        try:
            async with asyncio.timeout(self._timeout):
                candidates = await self.connector.resolve(self.address)
                operation = "connect"
                return await open_link(candidates)
        except TimeoutError:
            raise UpstreamError(operation, TimeoutError(f"no answer within {self._timeout:g} s")) from None
        except DialError as exc:
            raise UpstreamError(exc.operation, exc.cause) from exc


class TcpEndpoint(Endpoint[Stream]):
    """Streams to a server.

    :param server: where it is
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    async def connect(self) -> Stream:
        return await self._server.reach(self._server.connector.connect_to)


class UdpEndpoint(Endpoint[PacketChannel[bytes]]):
    """Packets to a server. Nothing shows that it is there; only that it is not, if its machine says so once something was sent.

    :param server: where it is
    :param drops: hears of what cannot be sent
    """

    answers = False

    def __init__(self, server: Server, drops: Drops) -> None:
        self._server = server
        self._drops = drops

    async def connect(self) -> PacketChannel[bytes]:
        return await self._server.reach(self._open)

    async def _open(self, candidates: list[SocketAddress]) -> PacketChannel[bytes]:
        """Take the first address that there is a way to."""
        failures = []
        for candidate in candidates:
            try:
                return ClientChannel(self._server.connector.open_udp(candidate, self._drops, connect=True), name_of(candidate[1]))
            except DialError as exc:
                failures.append(exc)
        raise failures[0]


class TcpTransport(StreamTransport, PacketTransport):
    """Streams are TCP connections, one for each; packets are datagrams, those of a flow over a socket of its own.

    :param options: from the configuration
    :param deps: opens the sockets
    """

    def __init__(self, options: TransportOptions, deps: TransportDeps) -> None:
        self._options = options
        self._connector = deps.connector

    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        return TcpEndpoint(self._server(url, STREAMS, "streams"))

    def packet_endpoint(self, url: SecretUrl) -> Endpoint[PacketChannel[bytes]]:
        return UdpEndpoint(self._server(url, PACKETS, "packets"), Drops(server=str(url)))

    def _server(self, url: SecretUrl, scheme: str, kind: str) -> Server:
        """Return where a URL leads to.

        :raises AddressError: if it has another scheme, or a path
        """
        if url.scheme != scheme:
            raise AddressError(f"{url}: {kind} go to a {scheme}:// URL: write {scheme}://{url.address}")
        if url.reveal_target() != "/":
            raise AddressError(f"{url}: a {scheme}:// URL has no path: write {scheme}://{url.address}")
        return Server(url.address, self._connector, self._options.connect_timeout)
