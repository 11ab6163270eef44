from __future__ import annotations

import gc
import weakref

import pytest
from channels import SlowChannel, packets

from outline_lb.base.errors import StreamError
from outline_lb.base.packets import Packet
from outline_lb.datapath.packet_relay import relay_packets
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import FakeChannel


class Joined:
    """Two channels, and how often they were said to be over."""

    def __init__(self) -> None:
        self.one, self.two = FakeChannel[Packet](), FakeChannel[Packet]()
        self.over = 0
        relay_packets(self.one, self.two, self._over)

    def _over(self) -> None:
        self.over += 1


async def test_packets_go_both_ways_in_the_batches_in_which_they_came() -> None:
    joined = Joined()
    joined.one.feed(*packets("a", "b"))
    joined.two.feed(*packets("c"))
    joined.one.feed(*packets(""))
    assert joined.two.batches == [packets("a", "b"), packets("")]
    assert joined.one.batches == [packets("c")]


@pytest.mark.parametrize("cause", [None, StreamError("gone")])
@pytest.mark.parametrize("first", [0, 1])
async def test_when_one_is_lost_the_other_is_closed_and_both_are_over_once(first: int, cause: Exception | None) -> None:
    joined = Joined()
    lost, other = (joined.one, joined.two)[:: 1 if first == 0 else -1]
    lost.lose(cause)
    assert (other.closed, joined.over) == (True, 0)
    await settle()
    assert joined.over == 1
    assert not lost.closed, "it is over by itself"


async def test_both_lost_in_the_same_moment_are_over_once() -> None:
    joined = Joined()
    joined.one.close()
    joined.two.close()
    await settle()
    assert joined.over == 1


async def test_what_comes_while_the_other_one_closes_goes_nowhere() -> None:
    one, two = FakeChannel[Packet](), SlowChannel()
    relay_packets(one, two)
    one.lose()
    assert two.closed
    two.feed(*packets("late"))
    assert one.sent == []
    two.lose()


async def test_channels_that_were_lost_before_are_over_too() -> None:
    one, two, told = FakeChannel[Packet](), FakeChannel[Packet](), []
    one.lose()
    relay_packets(one, two, lambda: told.append(True))
    await settle()
    assert (two.closed, told) == (True, [True])


async def test_nothing_is_left_for_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        joined = Joined()
        joined.one.feed(*packets("a"))
        joined.one.close()
        await settle()
        remains = weakref.ref(joined), weakref.ref(joined.one), weakref.ref(joined.two)
        del joined
        assert [ref() for ref in remains] == [None, None, None]
    finally:
        gc.enable()
