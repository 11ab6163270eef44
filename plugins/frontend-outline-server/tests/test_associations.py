from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import Address, Carrier, Cipher, ComponentSpec, FrontendDeps, Network, Packet, Secret, SocketListener, UdpSocket
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.packets import FakeChannel
from outline_lb_frontend_outline_server import associations as module
from outline_lb_frontend_outline_server.associations import Associations

CipherSpec = Callable[[int], ComponentSpec[None, Cipher]]
PACKET = Packet(Address("example.com", 443), b"hello")
QUERY = Packet(Address("192.0.2.1", 53), b"query")

pytestmark = pytest.mark.fake_clock


class Desk:
    """Takes channels in; what is behind them is in `dialer`. Alice has the secret "x"."""

    def __init__(self, deps: FrontendDeps, dialer: FakeDialer, carrier: Carrier, cipher: Cipher) -> None:
        self.dialer = dialer
        self.carrier = carrier
        self.codec = cipher.client(Secret("x"), b"").packets()
        self.associations = Associations(deps, [cipher.server({"alice": Secret("x")})], public_only=True, timeout=300.0)

    def channel(self, *packets: Packet) -> FakeChannel[bytes]:
        """Return a channel over which these packets came."""
        channel = FakeChannel[bytes](Address("192.0.2.7", 4000))
        self.associations.begin(channel)
        if packets:
            channel.feed(*self.codec.seal(list(packets)))
        return channel


@pytest.fixture
async def desk(cipher: CipherSpec) -> AsyncIterator[Desk]:
    async with anyio.create_task_group() as tasks:
        dialer, carrier = FakeDialer(), Carrier(tasks)
        yield Desk(FrontendDeps("server", dialer, carrier, SocketListener, UdpSocket.bind), dialer, carrier, cipher(1).build(None))
        tasks.cancel_scope.cancel()


async def test_a_flow_is_carried_with_what_is_known_about_it(desk: Desk, clock: ClockLoop) -> None:
    channel = desk.channel()
    await clock.advance(2)
    more = Packet(Address("192.0.2.1", 7), b"more")
    channel.feed(*desk.codec.seal([PACKET, more]))
    [flow] = desk.dialer.flows
    assert (flow.frontend, flow.network, flow.client, flow.user) == ("server", Network.UDP, Address("192.0.2.7", 4000), "alice")
    assert (flow.target, flow.started, flow.public_only) == (PACKET.address, clock.now, True)
    [far] = desk.dialer.channels
    assert far.sent == [PACKET, more]
    far.feed(more, PACKET)
    assert channel.sent == desk.codec.seal([more, PACKET])


async def test_the_end_of_either_side_ends_the_other(desk: Desk) -> None:
    for lost in (0, 1):
        near = desk.channel(PACKET)
        far = desk.dialer.channels[-1]
        (near, far)[lost].lose(None)
        assert (near, far)[1 - lost].closed
        await settle()
        assert desk.carrier.active == 0


async def test_a_query_ends_with_its_answer(desk: Desk) -> None:
    channel = desk.channel(QUERY)
    [far] = desk.dialer.channels
    far.feed(QUERY)
    await settle()
    assert channel.sent == desk.codec.seal([QUERY])
    assert (channel.closed, far.closed) == (True, True)
    assert desk.carrier.active == 0


async def test_two_queries_that_come_at_once_are_not_one(desk: Desk) -> None:
    channel = desk.channel(QUERY, QUERY)
    desk.dialer.channels[0].feed(QUERY)
    await settle()
    assert not channel.closed


@pytest.mark.parametrize("size", [155, 1255])
async def test_bursts_come_through_whole(desk: Desk, size: int) -> None:
    sent = [Packet(PACKET.address, os.urandom(size)) for _ in range(300)]
    channel = desk.channel(*sent)
    [far] = desk.dialer.channels
    far.feed(*sent)
    assert far.sent == sent
    assert channel.sent == desk.codec.seal(sent)


async def test_a_channel_that_says_nothing_has_no_deadline(desk: Desk, clock: ClockLoop) -> None:
    channel = desk.channel()
    await clock.advance(3600)
    assert not channel.closed
    channel.feed(*desk.codec.seal([PACKET]))
    assert desk.dialer.flows


async def test_the_oldest_channel_that_says_nothing_makes_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    talking, idle = desk.channel(), [desk.channel() for _ in range(1)]
    talking.feed(*desk.codec.seal([PACKET]))
    idle += [desk.channel() for _ in range(3)]
    await settle()
    assert [channel.closed for channel in idle] == [True, True, False, False]
    assert not talking.closed
    idle[2].lose(None)
    desk.channel()
    assert not idle[3].closed


async def test_the_association_that_was_not_used_for_longest_makes_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ASSOCIATIONS", 3)
    channels = [desk.channel(PACKET) for _ in range(3)]
    channels[0].feed(*desk.codec.seal([PACKET]))
    with capture_logs() as logs:
        channels += [desk.channel(PACKET) for _ in range(2)]
    assert [channel.closed for channel in channels] == [False, True, True, False, False]
    assert [far.closed for far in desk.dialer.channels] == [False] * 5  # they hear of it from the loop
    await settle()
    assert [far.closed for far in desk.dialer.channels] == [False, True, True, False, False]
    assert [line["event"] for line in logs] == ["too many associations"]
    channels[3].lose(None)
    desk.channel(PACKET)
    assert not channels[0].closed


async def test_close_ends_everything(desk: Desk) -> None:
    channels = [desk.channel(), desk.channel(PACKET), desk.channel()]
    desk.associations.close()
    await settle()
    assert [channel.closed for channel in channels] == [True] * 3
    assert desk.dialer.channels[0].closed
    assert desk.carrier.active == 0
