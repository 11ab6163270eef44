from __future__ import annotations

import asyncio
import socket
import time
from itertools import pairwise

import pytest

from outline_lb.testing.clock import ClockLoop, run_on_clock, settle

pytestmark = pytest.mark.fake_clock


def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop


async def test_hours_pass_in_no_time() -> None:
    loop, real = clock(), time.monotonic()
    before = loop.time()
    await asyncio.sleep(36_000)
    assert loop.time() == pytest.approx(before + 36_000)
    assert time.monotonic() - real < 5


async def test_timers_run_in_order_and_at_their_time() -> None:
    loop = clock()
    start = loop.time()
    seen: list[tuple[float, float]] = []

    def record(delay: float) -> None:
        seen.append((delay, round(loop.time() - start, 6)))

    for delay in (5.0, 0.001, 3600.0, 1.0, 2.0):
        loop.call_later(delay, record, delay)
    await asyncio.sleep(4000)
    assert seen == [(delay, delay) for delay in (0.001, 1.0, 2.0, 5.0, 3600.0)]


async def test_timeouts_are_exact() -> None:
    start = clock().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(15):
            await asyncio.get_running_loop().create_future()
    assert clock().time() - start == pytest.approx(15)


async def test_time_stands_while_there_is_something_to_do() -> None:
    loop = clock()
    start = loop.time()
    loop.call_later(0.001, lambda: None)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert loop.time() == start


async def test_advance_runs_what_is_due_and_nothing_else() -> None:
    loop, seen = clock(), []
    start = loop.time()
    for delay in (1.0, 2.0, 3.0):
        loop.call_later(delay, lambda: seen.append(loop.time() - start))
    await loop.advance(2.0)
    assert seen == [1.0, 2.0]
    assert loop.time() == start + 2.0
    await loop.advance(0.999)
    assert len(seen) == 2
    await loop.advance(0.001)
    assert len(seen) == 3


async def test_advance_runs_timers_that_timers_set() -> None:
    loop, seen = clock(), []
    start = loop.time()

    def again() -> None:
        seen.append(round(loop.time() - start, 6))
        loop.call_later(0.1, again)

    again()
    await loop.advance(1.0)
    assert seen == [round(i / 10, 6) for i in range(11)]


async def test_advance_lets_tasks_finish_what_a_timer_began() -> None:
    loop, steps = clock(), []

    async def work() -> None:
        await asyncio.sleep(1)
        for step in range(50):  # more than any fixed number of rounds that one would choose
            await asyncio.sleep(0)
            steps.append(step)

    task = asyncio.create_task(work())
    await loop.advance(1)
    assert task.done()
    assert len(steps) == 50


async def test_a_cancelled_timer_does_not_run() -> None:
    loop = clock()
    seen: list[int] = []
    loop.call_later(1, seen.append, 1).cancel()
    await loop.advance(2)
    assert seen == []


async def test_without_autojump_time_waits_for_advance() -> None:
    loop = clock()
    loop.autojump = False
    task = asyncio.create_task(asyncio.sleep(10))
    await asyncio.to_thread(time.sleep, 0.05)
    assert not task.done()
    await loop.advance(10)
    assert task.done()


async def test_no_time_passes_while_a_thread_works() -> None:
    start = clock().time()
    async with asyncio.timeout(1):
        await asyncio.to_thread(time.sleep, 0.05)
    assert clock().time() == start


async def test_sockets_work_while_time_stands() -> None:
    loop, start = clock(), clock().time()
    one, two = socket.socketpair()
    with one, two:
        one.setblocking(False)
        two.setblocking(False)
        for i in range(100):
            async with asyncio.timeout(0.001):
                await loop.sock_sendall(one, bytes((i,)) * 1000)
                got = b""
                while len(got) < 1000:
                    got += await loop.sock_recv(two, 1000)
                assert got == bytes((i,)) * 1000
    assert loop.time() == start


async def test_settle_ends_although_somebody_polls() -> None:
    async def poll() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.create_task(poll())
    await settle()
    task.cancel()


async def test_settle_waits_for_what_goes_over_sockets() -> None:
    one, two = socket.socketpair()
    with one, two:
        two.setblocking(False)
        seen: list[bytes] = []
        loop = clock()

        def echo(left: int) -> None:
            seen.append(two.recv(1))
            if left:
                loop.add_reader(two, echo, left - 1)
                one.send(b"x")

        loop.add_reader(two, echo, 60)
        one.send(b"x")
        await settle()
        loop.remove_reader(two)
        assert len(seen) == 61


def test_run_on_clock() -> None:
    async def nap(seconds: float) -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        return asyncio.get_running_loop().time() - before

    assert run_on_clock(nap, 500.0) == pytest.approx(500)


async def test_time_never_goes_back() -> None:
    seen = []
    for seconds in (1, 0.5, 0, 100, 0.001):
        seen.append(clock().time())
        await asyncio.sleep(seconds)
    assert all(before <= after for before, after in pairwise(seen))
