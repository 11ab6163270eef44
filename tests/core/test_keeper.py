from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest

from outline_lb.base.flow import Network
from outline_lb.datapath.upstream import Upstream
from outline_lb.monitoring.keeper import AT_ONCE, KEEP_ALIVE, LOOK, Keeper
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.upstreams import SilentEndpoint, fake_upstream

pytestmark = pytest.mark.fake_clock


class Flow:
    """A carried stream that keeps how it was visited."""

    received = 0

    def __init__(self) -> None:
        self.visits: list[bool] = []

    def keep_alive(self, doubt: bool = False) -> None:
        self.visits.append(doubt)

    def leave(self) -> None: ...


def clock() -> ClockLoop:
    return cast(ClockLoop, asyncio.get_running_loop())


@asynccontextmanager
async def kept(*upstreams: Upstream) -> AsyncIterator[None]:
    clock().autojump = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Keeper(lambda: upstreams).run)
        await settle()
        yield
        tasks.cancel_scope.cancel()


def with_flow(server: bool = True) -> tuple[Upstream, Flow]:
    upstream, flow = fake_upstream(SilentEndpoint() if server else None), Flow()
    upstream.ways[Network.TCP].carried.add(flow)
    return upstream, flow


async def pass_time(seconds: float) -> None:
    for _ in range(round(seconds / LOOK)):
        await clock().advance(LOOK)


async def test_every_stream_is_visited_again_and_again() -> None:
    upstream, flow = with_flow()
    async with kept(upstream):
        await pass_time(KEEP_ALIVE - LOOK)
        assert flow.visits == []
        await pass_time(2 * KEEP_ALIVE + 3 * LOOK)
        assert flow.visits == [False, False, False]


async def test_flows_of_packets_are_visited_too() -> None:
    upstream, stream = with_flow()
    upstream.ways[Network.UDP].carried.add(packets := Flow())
    async with kept(upstream):
        await pass_time(KEEP_ALIVE + LOOK)
        assert (stream.visits, packets.visits) == ([False], [False])


async def test_direct_connections_are_left_to_the_kernel() -> None:
    upstream, flow = with_flow(server=False)
    async with kept(upstream):
        await pass_time(5 * KEEP_ALIVE)
    assert flow.visits == []


async def test_after_a_sleep_all_are_asked_at_once() -> None:
    upstream, flow = with_flow()
    async with kept(upstream):
        await pass_time(2 * LOOK)
        clock().now += 60
        await settle()
        assert flow.visits == [True]
        await pass_time(KEEP_ALIVE + LOOK)
        assert flow.visits == [True, False]


async def test_where_the_loop_was_late_missing_answers_are_forgiven() -> None:
    upstream, flow = with_flow()
    async with kept(upstream):
        await pass_time(2 * LOOK)
        clock().now += 3
        await settle()
        assert flow.visits == []
        await pass_time(KEEP_ALIVE)
        assert flow.visits == [True]


async def test_many_streams_do_not_hold_everything_up() -> None:
    upstream, _ = with_flow()
    flows = [Flow() for _ in range(3 * AT_ONCE)]
    upstream.ways[Network.TCP].carried.update(flows)
    seen: list[int] = []

    async def others() -> None:
        while not all(flow.visits for flow in flows):
            seen.append(sum(len(flow.visits) for flow in flows))
            await asyncio.sleep(0)

    async with kept(upstream):
        await pass_time(KEEP_ALIVE - LOOK)
        clock().now += LOOK
        await others()
    assert sum(0 < count < len(flows) for count in seen) >= 2
