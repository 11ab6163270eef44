from __future__ import annotations

import asyncio
from typing import cast

import pytest

from outline_lb.monitoring.lag import LoopLag
from outline_lb.testing.clock import ClockLoop

pytestmark = pytest.mark.fake_clock


def block(seconds: float) -> None:
    """Keep the loop from running for so long, as a blocking call does."""
    cast(ClockLoop, asyncio.get_running_loop()).now += seconds


async def test_a_loop_that_runs_has_no_lag() -> None:
    with LoopLag(0.1) as lag:
        await asyncio.sleep(5)
    assert lag.seconds == pytest.approx(0)


async def test_a_block_counts_but_for_the_time_until_the_next_look() -> None:
    with LoopLag(0.1) as lag:
        await asyncio.sleep(1)
        block(2)
        await asyncio.sleep(1)
    assert lag.seconds == pytest.approx(1.95, abs=0.051)


async def test_a_block_at_the_very_end_counts_too() -> None:
    with LoopLag(0.1) as lag:
        block(2)
    assert lag.seconds == pytest.approx(1.9)


async def test_many_short_blocks_add_up() -> None:
    with LoopLag(0.1) as lag:
        for _ in range(10):
            await asyncio.sleep(0.1)
            block(0.3)
    assert lag.seconds == pytest.approx(2.5, abs=0.51)


async def test_it_ends_with_the_block_also_after_an_error() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="x"), LoopLag(0.1):
        raise ValueError("x")
    before = loop.time()
    await asyncio.sleep(1)
    assert loop.time() == before + 1
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
