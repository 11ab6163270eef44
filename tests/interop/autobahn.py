"""The Autobahn suite: plays a peer of WebSocket, well-behaved and otherwise, and judges what it sees."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from programs import PEERS_INSTALL, require_program

AGENT: Final = "outline-lb"

Verdict: TypeAlias = tuple[str, str]
"""What the suite says about our behaviour in a case, and about our way to close: ``OK``, ``FAILED``, ``UNCLEAN`` and so on."""

_ON_LOOPBACK = """
import socket
bind = socket.socket.bind
socket.socket.bind = lambda sock, name: bind(sock, (name[0] or "127.0.0.1", name[1]))
"""
"""A usercustomize module of CPython 2.7, because the suite listens everywhere and has no option against it."""


@contextlib.contextmanager
def autobahn(mode: str, spec: Mapping[str, Any], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the suite until the context ends.

    :param mode: ``fuzzingclient``, which ends when it is through, or ``fuzzingserver``
    :param spec: what it does
    :param folder: an empty one; `read_verdicts` finds the verdicts there
    """
    program = require_program("autobahn", PEERS_INSTALL)
    customize = folder / "lib" / "python2.7" / "site-packages" / "usercustomize.py"
    customize.parent.mkdir(parents=True)
    customize.write_text(_ON_LOOPBACK)
    file = folder / "spec.json"
    file.write_text(json.dumps({"outdir": str(folder / "reports"), "exclude-cases": [], "exclude-agent-cases": {}, **spec}))
    command = [program, "--mode", mode, "--spec", str(file), "--webport", "0"]
    environment = {**os.environ, "PYTHONUSERBASE": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_verdicts(folder: Path) -> dict[str, Verdict]:
    """Return the verdict on each case."""
    index = json.loads((folder / "reports" / "index.json").read_text())
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in index[AGENT].items()}
