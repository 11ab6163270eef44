"""Where the processor time of our client goes: perf samples it under a load, and says in which library it was, and in which function."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from .contenders import CONTENDERS
from .processes import BenchError, Workshop
from .scenarios import FULL, SCENARIOS, Place
from .servers import SERVERS, origin

PROFILES: Final = tuple(scenario.word for scenario in SCENARIOS if scenario.run)
"""What can be profiled: scenarios, such as ``down-1``."""

TIMEOUT: Final = 300.0
FUNCTIONS: Final = 15
_PARTS: Final = (
    (r"\[kernel|\[guest|\[vdso|\.ko", "kernel"),
    (r"^python|libpython", "interpreter"),
    (r"^_rust", "cryptography (ciphers of Shadowsocks)"),
    (r"^libcrypto", "libcrypto (ciphers of TLS)"),
    (r"^libssl|^_ssl", "libssl"),
    (r"^libc[.-]|^ld-|^libpthread", "libc"),
    (r"^loop\.|uvloop|_uv", "uvloop"),
    (r"^speedups", "websockets (masking)"),
)


def profile(workshop: Workshop, name: str, cipher: str, server: str) -> str:
    """Run one scenario over our client alone, and return Markdown.

    :param name: one of `PROFILES`
    :param server: name of one of `SERVERS`
    :raises BenchError: if perf is not there, or has seen nothing
    """
    perf = shutil.which("perf")
    if perf is None:
        raise BenchError("perf is not installed: apt-get install linux-perf")
    kind = next((each for each in SERVERS if each.name == server), None)
    if kind is None:
        raise BenchError(f"there is no server {server}")
    if missing := kind.missing():
        raise BenchError(missing)
    (scenario,) = (each for each in SCENARIOS if each.word == name)
    assert scenario.run
    if not scenario.fits(server, cipher):
        raise BenchError(f"{name} is for {', '.join(scenario.servers)} and {', '.join(scenario.ciphers)}")
    data = workshop.folder / "perf.data"
    with origin(workshop, kind.origin_host) as target:
        place = Place(workshop, kind.start(workshop, cipher), target, cipher)
        client = place.start(CONTENDERS[0])
        # cpu-clock, since machines that are rented do not count cycles
        command = [perf, "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-p", str(client.process.pid), "-o", str(data)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as recorder:
            try:
                figures = scenario.run(place, client, replace(FULL, megabytes=400, seconds=60 if kind.packets else 6))
            finally:
                recorder.send_signal(signal.SIGINT)
                recorder.wait(TIMEOUT)
    libraries, functions = _shares(perf, data, "dso"), _shares(perf, data, "dso,symbol")
    parts: dict[str, float] = {}
    for library, share in libraries:
        parts[_part(library)] = parts.get(_part(library), 0.0) + share
    lines = [f"{name}, {cipher}, server {server}: " + ", ".join(f"{figure} {value:.3g}" for figure, value in figures.items())]
    largest = sorted(parts.items(), key=lambda item: -item[1])
    lines += ["", "| where | share |", "| --- | --- |", *(f"| {part} | {share:.1%} |" for part, share in largest if share >= 0.005)]
    lines += ["", "| library | function | share |", "| --- | --- | --- |"]
    for at, share in functions[:FUNCTIONS]:
        library, _, function = at.partition(" ")
        symbol = re.sub(r"^\[.\] |  .*", "", function.strip())  # after the name come columns that are empty
        lines.append(f"| {library} | `{symbol}` | {share:.1%} |")
    return "\n".join(lines)


def _part(library: str) -> str:
    return next((part for pattern, part in _PARTS if re.search(pattern, library)), library)


def _shares(perf: str, data: Path, by: str) -> list[tuple[str, float]]:
    """Return what perf saw, the largest share first."""
    command = [perf, "report", "-i", str(data), "--no-children", "-g", "none", "--sort", by, "--stdio", "-q"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    found = [*_lines(output.stdout)]
    if not found:
        raise BenchError(f"perf has seen nothing: {output.stderr.strip()}")
    return found


def _lines(output: str) -> Iterator[tuple[str, float]]:
    for line in output.splitlines():
        if match := re.fullmatch(r"\s*([0-9.]+)%\s+(.*?)\s*", line):
            yield match[2], float(match[1]) / 100
