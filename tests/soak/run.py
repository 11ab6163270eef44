"""The soak: half an hour of fifty applications of all sorts, and a fault every 20 seconds. ``nox -s soak``, or ``nox -s soak -- --minutes 1``.

(Without nox: ``python -m soak.run`` in `tests`.)

Every byte of every stream is compared. A stream ends complete or with an abort; a clean end that comes too early is an error, as is a stream on
which nothing moves any more. When the load is gone, tasks and descriptors must be back where they were; and memory must not have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from soak.clients import APPLICATIONS, Application
from soak.faults import Faults
from soak.gauge import Sample, measure, slope
from soak.ledger import End, Ledger
from soak.target import Target
from soak.world import World

FAULT_EVERY: Final = 20.0
LONG: Final = 1200.0
"""Seconds from which on slopes mean something."""
MEGABYTE: Final = 1_000_000
MOST_GROWTH: Final = {"memory": 1 * MEGABYTE, "descriptors": 10, "tasks": 5}
"""In ten minutes, while the load stays the same."""
SETTLING: Final = 120.0
"""Seconds that the last flow may take to disappear, and the connections that wait for flows with it."""
WAITING: Final = 10
"""Connections that may wait for flows. A short soak does not wait for their end, which is up to 45 s away."""


@dataclass
class Report:
    """What the soak showed."""

    seconds: float
    ledger: Ledger
    faults: Faults
    idle: Sample
    samples: list[Sample] = field(default_factory=list)
    after: Sample | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def steady(self) -> list[Sample]:
        """The samples after the warm-up, which is a third."""
        return self.samples[len(self.samples) // 3 :]

    def failures(self) -> list[str]:
        """Return what must not be."""
        found = [*self.ledger.corrupted, *self.ledger.stuck, *self.lines]
        found += [f"no {kind} flow was ever complete" for kind in APPLICATIONS if not self.ledger.ends[kind, End.COMPLETE]]
        after = self.after
        if after is None:
            found.append("the program did not come to rest")
        else:
            for name, more in (("descriptors", spare(self.seconds)), ("tasks", 0)):
                if getattr(after, name) > getattr(self.idle, name) + more:
                    found.append(f"{getattr(after, name)} {name} are left, and there were {getattr(self.idle, name)} before")
        if self.seconds >= LONG:
            found += [
                f"{name} grows by {slope(self.steady, name):.0f} in 10 minutes"
                for name, most in MOST_GROWTH.items()
                if slope(self.steady, name) > most
            ]
        return found

    def __str__(self) -> str:
        return "\n".join([*self._streams(), "", *self._faults(), "", *self._gauges(), ""])

    def _streams(self) -> Iterable[str]:
        yield "| applications | of this kind | complete | aborted | refused | given up at the end | MB compared |"
        yield "|---|---|---|---|---|---|---|"
        for kind, count in APPLICATIONS.items():
            ends = " | ".join(f"{self.ledger.ends[kind, end]:,}" for end in End)
            yield f"| {count} | {kind} | {ends} | {self.ledger.carried[kind] / MEGABYTE:,.0f} |"
        yield ""
        yield f"Corrupted: {len(self.ledger.corrupted)}. Stuck: {len(self.ledger.stuck)}. Flows: {self.ledger.flows:,}."
        yield f"Early ends that targets saw of killed servers: {self.ledger.short_after_kill}."

    def _faults(self) -> Iterable[str]:
        yield "| fault | times |"
        yield "|---|---|"
        for what, times in sorted(self.faults.done.items()):
            yield f"| {what} | {times} |"
        yield ""
        yield f"Streams that were closed with 1011: {self.faults.closed}."

    def _gauges(self) -> Iterable[str]:
        yield "| client | before | after the warm-up, mean | at most | growth in 10 min | when the load was gone |"
        yield "|---|---|---|---|---|---|"
        for name, unit in (("memory", MEGABYTE), ("descriptors", 1), ("tasks", 1), ("threads", 1)):
            values = [getattr(sample, name) / unit for sample in self.steady] or [0.0]
            digits = 1 if unit > 1 else 0
            last = f"{getattr(self.after, name) / unit:.{digits}f}" if self.after else "-"
            yield (
                f"| {name}{', MB' if unit > 1 else ''} | {getattr(self.idle, name) / unit:.{digits}f} | {sum(values) / len(values):.1f} "
                f"| {max(values):.{digits}f} | {slope(self.steady, name) / unit:+.2f} | {last} |"
            )


async def soak(seconds: float, seed: int, folder: Path) -> Report:
    """Run it.

    :param seconds: how long the load lasts
    :param seed: of all that is left to chance
    :param folder: for what the programs need and say
    """
    end_with_signals()
    chance, ledger, world = random.Random(seed), Ledger(), World(folder)
    pace = min(1.0, seconds / 600)
    target = Target(ledger)
    try:
        address = await target.start()
        await world.start()
        idle = await at_rest(world, None)
        assert idle is not None, "the client does not come to rest"
        faults = Faults(world, target, chance, pace)
        report = Report(seconds, ledger, faults, idle)
        async with asyncio.TaskGroup() as load:
            tasks = [
                load.create_task(Application(ledger, target, address, world.proxies, random.Random(chance.random()), pace).run(kind))
                for kind, count in APPLICATIONS.items()
                for _ in range(count)
            ]
            await go_on(seconds, pace, world, report)
            for task in tasks:
                task.cancel()
        if world.changed:
            world.reload()
        began = time.monotonic()
        report.after = await at_rest(world, idle, spare(seconds))
        say(f"the load is gone; {time.monotonic() - began:.0f} s later: {report.after}")
        report.lines = [line for program in (world.client, *world.servers.values()) for line in complaints(program.log)]
        return report
    finally:
        await world.stop()
        target.close()


def end_with_signals() -> None:
    """Let a signal end the programs too; they would not notice otherwise."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def go_on(seconds: float, pace: float, world: World, report: Report) -> None:
    """Let time pass, with a fault now and then, and a look at the client more often."""
    every = FAULT_EVERY if pace == 1 else max(2.0, seconds / 12)
    look = min(5.0, every / 2)
    began = time.monotonic()
    next_fault = began + every
    async with asyncio.TaskGroup() as running:
        while time.monotonic() - began < seconds:
            await asyncio.sleep(look)
            report.samples.append(await measure(world))
            if time.monotonic() >= next_fault:
                next_fault += every
                running.create_task(report.faults.one())
            if len(report.samples) % 12 == 0:
                say(f"{time.monotonic() - began:.0f} s: {report.samples[-1]}, {report.ledger.flows} flows, {len(report.ledger.corrupted)} corrupted")


def spare(seconds: float) -> int:
    """Return how many descriptors more than before may be open when the load is gone."""
    return 0 if seconds >= LONG else WAITING


async def at_rest(world: World, wanted: Sample | None, more: int = 0) -> Sample | None:
    """Wait until the client has no more than it had before; or, for the first time, until nothing comes or goes any more.

    :param wanted: what it had before; None: this is before
    :param more: descriptors that it may have besides
    """
    seen: list[tuple[int, int]] = []
    ends = time.monotonic() + SETTLING
    while time.monotonic() < ends:
        sample = await measure(world)
        seen.append((sample.descriptors, sample.tasks))
        if wanted is None:
            if seen[-20:] == seen[-1:] * 20:
                return sample
        elif sample.descriptors <= wanted.descriptors + more and sample.tasks <= wanted.tasks:
            return sample
        await asyncio.sleep(0.1)
    return sample if wanted else None


def complaints(log: Path) -> list[str]:
    """Return the lines of a log that nobody should ever see."""
    lines = log.read_text(errors="replace").splitlines()
    return [f"{log.name}: {line}" for line in lines if not line.startswith("{") or json.loads(line)["level"] in {"error", "critical"}]


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run, print the report, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance, as far as time allows")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outline-lb-soak-") as folder:
        report = asyncio.run(soak(options.minutes * 60, options.seed, Path(folder)))
    failures = report.failures()
    print(report)
    for failure in failures[:50]:
        print(f"FAILED: {failure}")
    if options.json:
        options.json.write_text(json.dumps(figures(report, failures)), encoding="utf-8")
    return int(bool(failures))


def figures(report: Report, failures: list[str]) -> dict[str, Any]:
    """Return the report as plain data."""
    ends = {kind: {end.value: report.ledger.ends[kind, end] for end in End} for kind in APPLICATIONS}
    return {"ends": ends, "faults": dict(report.faults.done), "flows": report.ledger.flows, "failures": failures}


if __name__ == "__main__":
    sys.exit(main())
