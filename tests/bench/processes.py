"""The processes of a run: they are started, watched and ended here."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme
from client import can_connect

HERE: Final = Path(__file__).parent
PROGRAMS: Final = ("load", "origin", "udp")
"""Ours, in C."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 5.0


class BenchError(Exception):
    """Something did not do its part, so that there is nothing to measure."""


@dataclass(frozen=True)
class Running:
    """A program that listens.

    :param process: it
    :param port: where it listens, on 127.0.0.1
    :param seconds: from its start until it listened
    """

    process: subprocess.Popen[bytes]
    port: int
    seconds: float

    def cpu_seconds(self) -> float:
        """Return the processor time, user and system, that all its threads have used so far."""
        return time.clock_gettime((~self.process.pid << 3) | 2)  # the clock of a process, as clock_getcpuclockid(3) makes it

    def memory(self) -> int:
        """Return the bytes that it has in memory (RSS)."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Workshop:
    """A folder with certificates for ``localhost`` and our C programs, and everything that was started from it.

    :param folder: empty; everything is written there
    """

    folder: Path
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca))
        certificate.cert_chain_pems[0].write_to_path(str(self.certificate))
        certificate.private_key_pem.write_to_path(str(self.key))
        for name in PROGRAMS:
            subprocess.run(["cc", "-O2", "-o", str(self.folder / name), str(HERE / f"{name}.c"), "-lpthread"], check=True, timeout=60)

    @property
    def ca(self) -> Path:
        """The CA, in PEM."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The certificate of ``localhost``, in PEM."""
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        """Its key, in PEM."""
        return self.folder / "key.pem"

    def write(self, name: str, text: str) -> Path:
        """Write a file that only we may read."""
        file = self.folder / name
        file.touch(0o600)
        file.write_text(text)
        return file

    def start(self, command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None, host: str = "127.0.0.1") -> Running:
        """Start a program, and wait until it listens.

        :param environment: more variables
        :param host: where it listens
        :raises BenchError: with what it said, if it does not listen in time
        """
        log = self.folder / f"{port}.log"
        with log.open("ab") as output:
            began = time.monotonic()
            process = subprocess.Popen(
                [*map(str, command)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )
        running = Running(process, port, 0.0)
        while not (can_connect(port) if host == "127.0.0.1" else _can_connect(host, port)):
            if process.poll() is not None or time.monotonic() > began + START_TIMEOUT:
                running.stop()
                raise BenchError(f"{command[0]} does not listen; it says:\n{log.read_text(errors='replace')}")
            time.sleep(0.001)
        running = Running(process, port, time.monotonic() - began)
        self.running.append(running)
        return running

    def stop(self, running: Running) -> None:
        """End a program."""
        self.running.remove(running)
        running.stop()

    def stop_since(self, count: int) -> None:
        """End all programs but the first `count`; the last first."""
        while len(self.running) > count:
            self.stop(self.running[-1])


def _can_connect(host: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0
