from __future__ import annotations

from outline_lb.base.address import Address
from outline_lb.base.flow import Flow, Network
from outline_lb.datapath.route import Route
from outline_lb.testing.dialers import EchoDialer

FLOW = Flow("test", Network.TCP, None, "", Address("example.com", 443), 0.0)


async def test_leads_where_it_points_when_a_flow_comes() -> None:
    one, two = EchoDialer(), EchoDialer()
    route = Route(one)
    await route.dial_stream(FLOW, b"first")
    route.to = two
    await route.dial_stream(FLOW)
    assert (len(one.flows), len(two.flows)) == (1, 1)
    assert one.streams[0].written == b"first"
