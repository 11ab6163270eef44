"""Memory, descriptors and tasks of a program while it runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soak.world import World, tell_tasks


@dataclass(frozen=True, slots=True)
class Sample:
    """What was there at a moment.

    :param at: the moment, in seconds
    :param memory: resident bytes
    :param descriptors: open descriptors
    :param threads: threads
    :param tasks: asyncio tasks
    """

    at: float
    memory: int
    descriptors: int
    threads: int
    tasks: int


async def measure(world: World) -> Sample:
    """Look at the client."""
    answer = world.folder / "tasks"
    answer.unlink(missing_ok=True)
    tell_tasks(world.client)
    async with asyncio.timeout(60):
        while not answer.exists():
            await asyncio.sleep(0.02)
    process = Path("/proc") / str(world.client.process.pid)
    pages = int((process / "statm").read_text().split()[1])
    return Sample(
        at=time.monotonic(),
        memory=pages * os.sysconf("SC_PAGESIZE"),
        descriptors=len(os.listdir(process / "fd")),
        threads=len(os.listdir(process / "task")),
        tasks=int(answer.read_text()),
    )


def slope(samples: Sequence[Sample], name: str) -> float:
    """Return by how much a figure grows in ten minutes: the line of least squares."""
    if len(samples) < 2:
        return 0.0
    times = [sample.at - samples[0].at for sample in samples]
    values = [float(getattr(sample, name)) for sample in samples]
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - mean_time) ** 2 for at in times)
    together = sum((at - mean_time) * (value - mean_value) for at, value in zip(times, values, strict=True))
    return together / spread * 600 if spread else 0.0
