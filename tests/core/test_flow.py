from __future__ import annotations

from outline_lb.base.address import Address
from outline_lb.base.flow import Flow, Network


def make() -> Flow:
    return Flow("local", Network.TCP, None, "", Address("example.com", 443), 1.0)


def test_each_flow_is_itself() -> None:
    one, two = make(), make()
    assert one != two
    assert one == one
    assert two.id == one.id + 1
    assert len({one, two}) == 2
