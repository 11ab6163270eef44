"""Upstreams and endpoints for the tests of probes, and of what uses upstreams."""

from __future__ import annotations

import socket

import anyio

from ..base.address import Address
from ..base.dialer import StreamDialer
from ..base.errors import DialError, UpstreamError
from ..base.flow import Flow, Network
from ..base.stream import Stream
from ..datapath.transport import StreamEndpoint
from ..datapath.upstream import Upstream
from ..net.connector import Connector
from ..selection.health import Health, HealthOptions


class PortEndpoint(StreamEndpoint):
    """A plain TCP port."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def connect_stream(self) -> Stream:
        try:
            return await Connector().connect(self._address)
        except DialError as exc:
            raise UpstreamError(exc.operation, exc.cause) from exc


class SilentEndpoint(StreamEndpoint):
    """A server that never answers: `asked` counts the streams that were wanted, `waiting` those that still are."""

    def __init__(self) -> None:
        self.asked = self.waiting = 0

    async def connect_stream(self) -> Stream:
        self.asked += 1
        self.waiting += 1
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            self.waiting -= 1


class EndpointDialer(StreamDialer):
    """Every target is the endpoint; without one, none can be reached."""

    def __init__(self, endpoint: StreamEndpoint | None) -> None:
        self._endpoint = endpoint

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        if self._endpoint is None:
            raise UpstreamError("connect", "there is no server")
        stream = await self._endpoint.connect_stream()
        stream.write(first)
        return stream


def fake_upstream(endpoint: StreamEndpoint | None, options: HealthOptions | None = None, name: str = "test") -> Upstream:
    """Return an upstream for both kinds of traffic whose streams all go to one endpoint."""
    health = {network: Health(options or HealthOptions()) for network in Network}
    return Upstream(name, EndpointDialer(endpoint), endpoint, health)


def closed_port() -> Address:
    """Return an address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", sock.getsockname()[1])
