"""The load generator, and what one run of it tells about the client that it goes through."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Final

from outline_lb.base.address import Address

from .processes import BenchError, Running, Workshop

TIMEOUT: Final = 300.0
SETTLE: Final = 0.2
"""Seconds after a load in which its flows end."""

Figures = dict[str, float]


def bulk(workshop: Workshop, client: Running, origin: Address, mode: str, flows: int, size: int) -> Figures:
    """Move `size` bytes ``down`` or ``up``, over so many flows at once."""
    seconds, cpu = _cpu(workshop, client, origin, mode, flows, size // flows)
    return {"CPU s/GB": cpu / size * 1e9, "MB/s": size / seconds["seconds"] / 1e6}


def echo(workshop: Workshop, client: Running, origin: Address, count: int) -> Figures:
    """Send one byte there and back, again and again, over one flow."""
    result, cpu = _cpu(workshop, client, origin, "echo", count)
    return {"p50 µs": result["p50_us"], "p99 µs": result["p99_us"], "CPU µs": cpu / count * 1e6}


def flows(workshop: Workshop, client: Running, origin: Address, workers: int, seconds: float) -> Figures:
    """Open flow after flow, so many at a time, and get 64 bytes over each."""
    result, cpu = _cpu(workshop, client, origin, "flows", workers, seconds)
    return {"flows/s": result["samples"] / result["seconds"], "CPU ms/flow": cpu / result["samples"] * 1e3}


def paced(workshop: Workshop, client: Running, origin: Address, count: int, interval: float) -> Figures:
    """Open a flow every `interval` seconds, and get 64 bytes over each."""
    result, cpu = _cpu(workshop, client, origin, "paced", count, interval * 1e3)
    return {"p50 ms": result["p50_us"] / 1e3, "p99 ms": result["p99_us"] / 1e3, "CPU ms/flow": cpu / result["samples"] * 1e3}


def settle() -> None:
    """Let what has just begun or ended come to rest."""
    time.sleep(SETTLE)


def idle(workshop: Workshop, client: Running, origin: Address, count: int) -> float:
    """Open so many flows, leave them alone, and return how many KB of memory each one takes."""
    before = client.memory()
    with subprocess.Popen(_command(workshop, client, origin, "idle", count), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        assert load.stdout
        limit = threading.Timer(TIMEOUT, load.kill)
        limit.start()
        try:
            result = json.loads(load.stdout.readline() or b'{"errors": -1}')
            settle()
            memory = client.memory()
            load.communicate(b"\n")
        finally:
            limit.cancel()
            load.kill()
    if result["errors"]:
        raise BenchError(f"{result['errors']} of {count} idle flows failed")
    return (memory - before) / count / 1e3


def _cpu(workshop: Workshop, client: Running, origin: Address, mode: str, *arguments: float) -> tuple[Figures, float]:
    """Run a load; return what it printed, and the processor time that the client used meanwhile."""
    before = client.cpu_seconds()
    done = subprocess.run(_command(workshop, client, origin, mode, *arguments), stdout=subprocess.PIPE, timeout=TIMEOUT, check=False)
    settle()
    result: Figures = json.loads(done.stdout or b"{}")
    if done.returncode:
        raise BenchError(f"{mode} {arguments}: {result.get('errors', 'all')} flows failed, or brought wrong bytes")
    return result, client.cpu_seconds() - before


def _command(workshop: Workshop, client: Running, origin: Address, mode: str, *arguments: float) -> list[str]:
    numbers = [f"{argument:.15g}" for argument in arguments]
    return [str(workshop.folder / "load"), mode, str(client.port), origin.host, str(origin.port), *numbers]
