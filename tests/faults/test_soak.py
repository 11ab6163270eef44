"""The short form of the soak: a quarter of a minute of fifty applications and of faults. The long one is ``nox -s soak``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the program in /proc")
def test_no_stream_is_corrupted_and_nothing_is_left_whatever_goes_wrong(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "soak.run", "--minutes", "0.3", "--json", str(figures)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=TESTS)
    assert done.returncode == 0, done.stdout
    found = json.loads(figures.read_text())
    assert found["failures"] == []
    assert all(ends["complete"] for ends in found["ends"].values())
    assert sum(found["faults"].values()) >= 5
    assert sum(ends["aborted"] + ends["refused"] for ends in found["ends"].values()) > 0, "no fault had any effect"
