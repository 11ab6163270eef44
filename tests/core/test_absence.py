from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from outline_lb.monitoring import absence as module
from outline_lb.monitoring.absence import Absence
from outline_lb.testing.clock import ClockLoop

pytestmark = pytest.mark.fake_clock


async def test_the_loops_time_counts_from_look_to_look() -> None:
    loop = cast(ClockLoop, asyncio.get_running_loop())
    absence = Absence()
    loop.now += 7
    assert absence.seconds() == pytest.approx(7, abs=0.5)
    loop.now += 2
    assert absence.seconds() == pytest.approx(2, abs=0.5)


async def test_the_time_asleep_counts_though_the_loop_did_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.clock_gettime(module._CLOCK)
    absence = Absence()
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: real + 3600)
    assert absence.seconds() == pytest.approx(3600, abs=1)
