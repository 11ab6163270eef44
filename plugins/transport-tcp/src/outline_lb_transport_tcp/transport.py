"""The connecting half."""

from __future__ import annotations

import asyncio

from outline_lb.api import (
    Address,
    AddressError,
    Connector,
    DialError,
    SecretUrl,
    Stream,
    StreamEndpoint,
    StreamTransport,
    TransportDeps,
    UpstreamError,
)

from .options import TransportOptions


class TcpEndpoint(StreamEndpoint):
    """A host and port.

    :param address: where the server is
    :param connector: opens the connections
    :param timeout: seconds for finding the server and connecting
    """

    def __init__(self, address: Address, connector: Connector, timeout: float) -> None:
        self._address = address
        self._connector = connector
        self._timeout = timeout

    async def connect_stream(self) -> Stream:
        operation = "resolve"
        try:
            async with asyncio.timeout(self._timeout):
                candidates = await self._connector.resolve(self._address)
                operation = "connect"
                return await self._connector.connect_to(candidates)
        except TimeoutError:
            raise UpstreamError(operation, TimeoutError(f"no answer within {self._timeout:g} s")) from None
        except DialError as exc:
            raise UpstreamError(exc.operation, exc.cause) from exc


class TcpTransport(StreamTransport):
    """Streams are TCP connections, one for each.

    :param options: from the configuration
    :param deps: opens the connections
    """

    def __init__(self, options: TransportOptions, deps: TransportDeps) -> None:
        self._options = options
        self._connector = deps.connector

    def stream_endpoint(self, url: SecretUrl) -> StreamEndpoint:
        if url.reveal_target() != "/":
            raise AddressError(f"{url}: a tcp:// URL has no path: write tcp://{url.address}")
        return TcpEndpoint(url.address, self._connector, self._options.connect_timeout)
