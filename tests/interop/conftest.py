"""Servers and clients that we did not write."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client import can_connect
from interop.v2ray import StartV2ray
from programs import require_program


@pytest.fixture
def start_v2ray(tmp_path: Path) -> Iterator[StartV2ray]:
    """Return a function that starts a v2ray with a configuration, and waits until it listens on a port."""
    require_program("v2ray", "apt-get install v2ray")
    programs: list[subprocess.Popen[bytes]] = []

    def start(name: str, config: dict[str, Any], port: int) -> subprocess.Popen[bytes]:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"log": {"loglevel": "warning"}, **config}))
        with (tmp_path / f"{name}.log").open("wb") as log:
            programs.append(subprocess.Popen(["v2ray", "-config", str(file)], stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        deadline = time.monotonic() + 20
        while not can_connect(port):
            assert programs[-1].poll() is None, (tmp_path / f"{name}.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return programs[-1]

    yield start
    for program in programs:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(5)
        program.kill()
        program.wait()
