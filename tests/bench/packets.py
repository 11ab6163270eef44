"""The load of datagrams, and what one run of it tells about the client that it goes through."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from typing import IO, Final

from outline_lb.base.address import Address

from .loads import TIMEOUT, Figures, settle
from .processes import BenchError, Running, Workshop

MOST_LOST: Final = 0.05
"""Of all datagrams; if there are more, the load was not what it should be."""
PER_CPU: Final = "datagrams/CPU s"


def echoes(workshop: Workshop, client: Running, origin: Address, associations: int, window: int, size: int, seconds: float) -> Figures:
    """Keep `window` datagrams of `size` bytes on their way, there and back, over so many associations."""
    result, cpu = _measured(workshop, client, origin, associations, window, size, seconds)
    datagrams = 2 * result["round_trips"]
    bad = {f"{what} %": result[what] / result["round_trips"] * 100 for what in ("lost", "astray", "wrong") if result[what]}
    return {PER_CPU: datagrams / cpu, "datagrams/s": datagrams / result["seconds"], **bad}


def echo(workshop: Workshop, client: Running, origin: Address, size: int, seconds: float) -> Figures:
    """Send one datagram there and back, again and again, over one association."""
    result, cpu = _measured(workshop, client, origin, 1, 1, size, seconds)
    return {"p50 µs": result["p50_us"], "p99 µs": result["p99_us"], "CPU µs": cpu / result["round_trips"] * 1e6}


def check(workshop: Workshop, client: Running, origin: Address) -> None:
    """See that datagrams get through.

    :raises BenchError: if none does
    """
    with _load(workshop, client, origin, 1, 1, 64, 0.0):
        pass


def idle(workshop: Workshop, client: Running, origin: Address, count: int) -> float:
    """Open so many associations, leave them alone, and return how many KB of memory each one takes."""
    before = client.memory()
    with _load(workshop, client, origin, count, 1, 64, 0.0):
        settle()
        return (client.memory() - before) / count / 1e3


def _measured(
    workshop: Workshop, client: Running, origin: Address, associations: int, window: int, size: int, seconds: float
) -> tuple[Figures, float]:
    """Return what a load printed, and the processor time that the client used meanwhile."""
    with _load(workshop, client, origin, associations, window, size, seconds) as (go, results):
        before = client.cpu_seconds()
        go.write(b"\n")
        go.flush()
        result: Figures = json.loads(results.readline() or b'{"lost": 0, "wrong": 0, "round_trips": 0}')
        cpu = client.cpu_seconds() - before
    lost, wrong, trips = result["lost"], result["wrong"], result["round_trips"]
    if not trips or lost + wrong > MOST_LOST * trips:
        raise BenchError(f"{lost} lost and {wrong} wrong beside {trips} right ones")
    return result, cpu


@contextlib.contextmanager
def _load(
    workshop: Workshop, client: Running, origin: Address, associations: int, window: int, size: int, seconds: float
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Run a load, warm it up, and yield what it waits for, and where it prints."""
    numbers = (client.port, origin.host, origin.port, associations, window, size, seconds)
    command = [str(workshop.folder / "udp"), *map(str, numbers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        assert load.stdin
        assert load.stdout
        limit = threading.Timer(TIMEOUT, load.kill)
        limit.start()
        try:
            if json.loads(load.stdout.readline() or b'{"failed": 1}')["failed"]:
                raise BenchError(f"not all of {associations} associations brought a datagram back")
            yield load.stdin, load.stdout
        finally:
            limit.cancel()
            load.kill()
