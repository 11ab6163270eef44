"""Programs that we did not write and that a test wants."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

NO_SKIP: Final = "OUTLINE_LB_NO_SKIP"
"""Environment variable: names of programs, with spaces between, whose absence is a failure. CI sets it to those that it installs."""
PEERS: Final = Path(__file__).parents[1] / "build" / "peers" / "bin"
"""Where contrib/peers.py puts the programs that no distribution has, each one executable:

* ``outline-ss-server -config FILE``: the real one, as Go builds it
* ``xray FILE``: runs Xray with a JSON configuration, until SIGTERM
* ``autobahn -m fuzzingclient -s FILE``: the Autobahn suite's ``wstest``
"""
SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian puts servers, and where the path of others than root does not lead."""
PEERS_INSTALL: Final = "python3 contrib/peers.py"
"""The command that installs those."""


def require_program(name: str, install: str) -> str:
    """Return the path of a program; skip the test where it is neither on the path nor among the peers.

    ``require_program("outline-ss-server", PEERS_INSTALL)`` finds build/peers/bin/outline-ss-server.

    :param name: of the program
    :param install: the command that installs it, for the reason
    """
    path = shutil.which(name) or shutil.which(name, path=SYSTEM) or peer(name)
    if path is None:
        reason = f"{name} is not installed: {install}"
        if name in os.environ.get(NO_SKIP, "").split():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


def peer(name: str) -> str | None:
    """Return the path of a program that contrib/peers.py installed, or None."""
    return shutil.which(name, path=PEERS)
