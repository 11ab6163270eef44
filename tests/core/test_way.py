from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from channels import ChannelServer

from outline_lb.base.errors import UpstreamError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.stream import Stream
from outline_lb.datapath.carried import CarriedStream
from outline_lb.datapath.transport import StandbyEndpoint
from outline_lb.datapath.upstream import Upstream
from outline_lb.datapath.way import DirectWay, ServerWay
from outline_lb.selection.health import Health, HealthOptions
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import FakeChannel
from outline_lb.testing.streams import FakeStream

pytestmark = pytest.mark.fake_clock

FAILED = UpstreamError("connect", "refused")
TCP = Network.TCP


class SlowServer(StandbyEndpoint[Any]):
    """Takes 0.3 seconds for a stream or a channel, and 0.1 for a sign of life."""

    def __init__(self, kind: type[FakeStream] | type[FakeChannel[bytes]] = FakeStream, error: UpstreamError | None = None) -> None:
        self.links: list[Any] = []
        self._kind = kind
        self._error = error

    async def connect(self) -> Any:
        await asyncio.sleep(0.3)
        if self._error is not None:
            raise self._error
        self.links.append(self._kind())
        return self.links[-1]

    async def check(self, link: Any) -> None:
        await asyncio.sleep(0.1)


def to_server(endpoint: Any, standby: int = 0) -> ServerWay[Any, Any]:
    """Return a way over which a flow gets the link itself, with the flow's name beside it."""
    way = ServerWay[Any, Any](Health(HealthOptions()), endpoint, lambda link, flow: (link, flow))
    if way.standby is not None:
        way.standby.size = standby
    return way


def closed(link: FakeStream | FakeChannel[bytes]) -> bool:
    return link.closed if isinstance(link, FakeChannel) else "close" in link.calls


KINDS: Sequence[Any] = [FakeStream, FakeChannel]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handshake_is_measured_and_closed_politely(kind: Any) -> None:
    server = SlowServer(kind)
    assert await to_server(server).handshake() == pytest.approx(0.3)
    assert closed(server.links[0])
    await settle()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handshake_is_a_new_one_whatever_waits(kind: Any) -> None:
    server = SlowServer(kind)
    way = to_server(server, standby=1)
    assert way.standby is not None
    await way.open(fake_flow())
    await asyncio.sleep(1)
    assert len(way.standby) == 1
    assert await way.handshake() == pytest.approx(0.3)
    assert len(server.links) == 3
    way.standby.drop()
    await settle()


async def test_a_handshake_that_fails() -> None:
    with pytest.raises(UpstreamError) as caught:
        await to_server(SlowServer(error=FAILED)).handshake()
    assert caught.value is FAILED


async def test_without_a_server_there_is_no_handshake() -> None:
    async def dial(flow: Flow) -> Stream:
        raise AssertionError

    way = DirectWay[Stream](Health(HealthOptions()), dial)
    assert await way.handshake() is None
    assert not way.has_server


async def test_where_nothing_answers_a_handshake_says_nothing() -> None:
    server = ChannelServer(answers=False)
    assert await to_server(server).handshake() is None
    assert server.channel.closed
    await settle()


async def test_an_opening_is_measured_where_the_server_answers() -> None:
    opening = await to_server(SlowServer()).open(fake_flow())
    assert opening.fresh
    assert opening.seconds == pytest.approx(0.3)
    opening = await to_server(ChannelServer(answers=False)).open(fake_flow())
    assert (opening.fresh, opening.seconds) == (False, None)


async def test_a_direct_connection_is_what_the_flow_gets_and_its_time_is_the_targets() -> None:
    stream, flow = FakeStream(), fake_flow()

    async def dial(asked: Flow) -> Stream:
        assert asked is flow
        await asyncio.sleep(0.3)
        return stream

    way = DirectWay[Stream](Health(HealthOptions()), dial)
    opening = await way.open(flow)
    assert (opening.fresh, opening.seconds) == (True, None)
    assert way.begin(opening, flow) is stream
    assert await way.dial(flow) is stream
    way.give_back(opening)
    assert stream.calls == ["close"]
    await settle()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_waiting_connection_is_taken_and_says_nothing_about_the_server(kind: Any) -> None:
    server = SlowServer(kind)
    way, flow = to_server(server, standby=1), fake_flow()
    assert way.standby is not None
    assert (await way.open(flow)).fresh
    await asyncio.sleep(1)
    opening = await way.open(flow)
    assert (opening.opened, opening.fresh, opening.seconds) == (server.links[1], False, None)
    assert way.begin(opening, flow) == (server.links[1], flow)
    way.standby.drop()
    await settle()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dial_opens_a_new_one_whatever_waits(kind: Any) -> None:
    server = SlowServer(kind)
    way, flow = to_server(server, standby=1), fake_flow()
    assert way.standby is not None
    await way.open(flow)
    await asyncio.sleep(1)
    assert len(way.standby) == 1
    assert await way.dial(flow) == (server.links[2], flow)
    assert len(way.standby) == 1
    way.standby.drop()
    await settle()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_flow_does_not_want_waits_for_another_where_one_is_missing(kind: Any) -> None:
    way = to_server(SlowServer(kind), standby=1)
    assert way.standby is not None
    first, second = [await to_server(SlowServer(kind)).open(fake_flow()) for _ in range(2)]
    assert await way.standby.take() is None  # a flow was here
    way.give_back(first)
    way.give_back(second)
    assert (len(way.standby), closed(first.opened), closed(second.opened)) == (1, False, True)
    way.standby.drop()
    await settle()


async def test_a_handshake_that_a_probe_made_waits_for_a_flow_where_one_is_missing() -> None:
    way = to_server(SlowServer(), standby=1)
    assert way.standby is not None
    assert await way.standby.take() is None  # a flow was here
    await way.handshake()
    assert len(way.standby) == 1
    way.standby.drop()
    await settle()


async def test_a_server_that_cannot_be_asked_has_none_that_wait() -> None:
    server = ChannelServer()
    way = to_server(server)
    assert way.standby is None
    way.give_back(await way.open(fake_flow()))
    assert server.channel.closed
    await settle()


async def test_what_came_for_the_flows_under_way_is_added_up() -> None:
    ways = {network: to_server(SlowServer()) for network in Network}
    upstream = Upstream("a", ways)
    streams = [CarriedStream(lower := FakeStream(), upstream, fake_flow(), lambda *_: None) for _ in range(2)]
    for stream in streams:
        stream.data_received(bytes(100))
    assert (len(ways[TCP].carried), ways[TCP].received, ways[Network.UDP].received) == (2, 200, 0)
    lower.lose(ConnectionResetError())
    assert (len(ways[TCP].carried), ways[TCP].received) == (1, 100)
