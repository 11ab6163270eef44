"""The demo, as ``make demo ARGS=--once`` runs it."""

from __future__ import annotations

import subprocess
import sys


def test_the_story_ends_well() -> None:
    ended = subprocess.run([sys.executable, "-m", "outline_lb", "demo", "--once"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    steps = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith(("  ✓", "  ✗"))]
    assert steps == ["started", "measured", "request", "accident", "again", "failed"]
    assert "from amsterdam to frankfurt" in ended.stdout
