"""What integration, acceptance and interop tests share: certificates, an origin, figures, and programs that end with the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from leaks import leaks, secrets_of
from service_manager import ServiceManager

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

StartProgram = Callable[..., Awaitable[Program]]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a CA and of a certificate for this machine that it signed."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Make certificates for 127.0.0.1, ::1 and localhost."""
    folder = tmp_path_factory.mktemp("tls")
    files = TlsFiles(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "::1", "localhost")
    authority.cert_pem.write_to_path(str(files.ca))
    certificate.cert_chain_pems[0].write_to_path(str(files.certificate))
    certificate.private_key_pem.write_to_path(str(files.key))
    return files


def free_port(count: int = 1) -> int:
    """Return the first of `count` ports in a row that are free now."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            first = 0
            for offset in range(count):
                sock = stack.enter_context(socket.socket())
                sock.bind(("127.0.0.1", first + offset if first else 0))
                first = first or sock.getsockname()[1]
            return first


@pytest.fixture(scope="session")
def origin() -> Iterator[Address]:
    """Start an origin (see origin.py) for all tests; it listens on IPv4 and IPv6."""
    port = free_port(2)
    programs = []
    for host in ("127.0.0.1", "::1"):
        command = [sys.executable, str(Path(__file__).with_name("origin.py")), host, str(port)]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
    yield Address("127.0.0.1", port)
    for program in programs:
        program.terminate()
        program.communicate()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceManager]:
    """Be the service manager of the programs that the test starts."""
    monkeypatch.setenv("NOTIFY_SOCKET", name := str(tmp_path / "notify"))
    manager = ServiceManager(name)
    yield manager
    manager.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartProgram]:
    """Return a function that starts an outline-lb process, which ends with the test; no secret of its configuration may stand in its log."""
    programs: list[Program] = []
    secrets: set[str] = set()

    async def start_program(name: str, config: object, *arguments: str, **more: Any) -> Program:
        program = await Program.start(name, config, tmp_path, *arguments, **more)
        programs.append(program)
        secrets.update(secrets_of(config))
        return program

    yield start_program
    await asyncio.gather(*(program.stop() for program in programs))
    assert [line for program in programs for line in leaks(program.log.read_bytes(), secrets)] == []


@pytest.fixture
def record(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that keeps a figure in the report, and prints it."""

    def keep(name: str, value: float | str, unit: str = "") -> None:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        record_property(name, f"{text} {unit}".strip())
        with capsys.disabled():
            print(f"\n  {request.node.name}: {name}: {text} {unit}".rstrip(), end="")

    return keep
