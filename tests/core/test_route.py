from __future__ import annotations

import asyncio

import pytest
from channels import PacketPool, packets

from outline_lb.base.dialer import StreamDialer
from outline_lb.base.flow import Network
from outline_lb.base.packets import Packet
from outline_lb.base.stream import Stream
from outline_lb.datapath.balancer import Balancer, Member
from outline_lb.datapath.route import Route
from outline_lb.datapath.upstream import Upstream
from outline_lb.datapath.way import DirectWay
from outline_lb.selection.health import Health, HealthOptions
from outline_lb.selection.policy import OnlyPolicy
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.dialers import EchoDialer
from outline_lb.testing.packets import RecordingPacketSink

pytestmark = pytest.mark.fake_clock


def leading_to(dialer: StreamDialer) -> Balancer:
    upstream = Upstream("one", {Network.TCP: DirectWay[Stream](Health(HealthOptions()), dialer.dial_stream)})
    return Balancer("pool", [Member(upstream)], OnlyPolicy(), 10.0)


async def test_leads_where_it_points_when_a_flow_comes() -> None:
    one, two = EchoDialer(), EchoDialer()
    route = Route(leading_to(one))
    first = await route.dial_stream(fake_flow(), b"first")
    route.to = leading_to(two)
    second = await route.dial_stream(fake_flow())
    assert (len(one.flows), len(two.flows)) == (1, 1)
    assert one.streams[0].written == b"first"
    first.write(b" and more")
    assert one.streams[0].written == b"first and more"
    first.abort()
    second.abort()


async def test_packets_go_on_where_they_went_until_they_need_another_way() -> None:
    one, two = PacketPool("a"), PacketPool("a")
    route = Route(one.balancer)
    channel, sink = route.packets(fake_flow(Network.UDP)), RecordingPacketSink[Packet]()
    channel.set_sink(sink)
    channel.send(packets("1"))
    await settle()
    route.to = two.balancer
    channel.send(packets("2"))
    assert one.servers["a"].channel.sent == packets("1", "2")
    one.servers["a"].channel.lose()
    channel.send(packets("3"))
    await settle()
    assert two.servers["a"].channel.sent == packets("3")
    channel.close()
    await asyncio.wait_for(sink.lost.wait(), 1)


async def test_what_nobody_carries_is_told_by_the_pool_that_it_leads_to() -> None:
    one, two = PacketPool("A"), PacketPool("A")
    route = Route(one.balancer)
    for pool in (one, two):
        route.to = pool.balancer
        channel = route.packets(fake_flow(Network.UDP))
        channel.send(packets("1"))
        await settle()
    assert one.balancer.drops.counts == two.balancer.drops.counts == {"no upstream carries it": 1}


async def test_carries_what_its_balancer_does() -> None:
    route = Route(PacketPool("Ab").balancer)
    assert set(route.networks) == {Network.TCP, Network.UDP}
    route.to = PacketPool("A").balancer
    assert set(route.networks) == {Network.TCP}
