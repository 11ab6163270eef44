"""The demo, as ``make demo ARGS=--once`` runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest


def test_the_story_ends_well() -> None:
    ended = subprocess.run([sys.executable, "-m", "outline_lb", "demo", "--once"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    steps = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith(("  ✓", "  ✗"))]
    assert steps == ["started", "measured", "request", "accident", "again", "failed", "datagram"]
    assert "from amsterdam to frankfurt" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_waits_for_the_reader_and_takes_its_servers_along_when_it_ends(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "outline_lb", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as demo:
        assert demo.stdout is not None
        story = ""
        while "Ctrl-C ends it." not in story:
            line = demo.stdout.readline()
            assert line, story
            story += line
        assert "curl --socks5-hostname 127.0.0.1:" in story
        (alive,) = map(int, re.findall(r"or kill another one:  kill (\d+)", story))
        os.kill(alive, 0)
        demo.send_signal(number)
        assert demo.wait(20) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(alive, 0)
