"""Upstreams and endpoints for the tests of probes, and of what uses upstreams."""

from __future__ import annotations

import socket
from typing import Any

import anyio

from ..base.address import Address
from ..base.errors import DialError, UpstreamError
from ..base.flow import Flow, Network
from ..base.stream import Stream
from ..datapath.transport import Endpoint
from ..datapath.upstream import Upstream
from ..datapath.way import DirectWay, ServerWay, Way
from ..net.connector import Connector
from ..selection.health import Health, HealthOptions


class PortEndpoint(Endpoint[Stream]):
    """A plain TCP port."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def connect(self) -> Stream:
        try:
            return await Connector().connect(self._address)
        except DialError as exc:
            raise UpstreamError(exc.operation, exc.cause) from exc


class SilentEndpoint(Endpoint[Stream]):
    """A server that never answers: `asked` counts the streams that were wanted, `waiting` those that still are."""

    def __init__(self) -> None:
        self.asked = self.waiting = 0

    async def connect(self) -> Stream:
        self.asked += 1
        self.waiting += 1
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            self.waiting -= 1


async def _nowhere(flow: Flow) -> Stream:
    raise UpstreamError("connect", "there is no server")


def fake_upstream(endpoint: Endpoint[Any] | None, options: HealthOptions | None = None, name: str = "test") -> Upstream:
    """Return an upstream whose flows of both kinds get what one endpoint opens, as it is; without one, no target can be reached."""
    ways: dict[Network, Way[Any, Any]] = {}
    for network in Network:
        health = Health(options or HealthOptions())
        ways[network] = DirectWay(health, _nowhere) if endpoint is None else ServerWay(health, endpoint, lambda stream, _flow: stream)
    return Upstream(name, ways)


def closed_port() -> Address:
    """Return an address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", sock.getsockname()[1])
