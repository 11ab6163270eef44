"""Runs a program that has to share one processor with others that never rest: ``python starve.py SWITCH BURNERS COMMAND ...``

The burners belong to the same session as the program, and the program is nicer than they are, so it gets the crumbs of one processor whatever the
scheduler groups by; to everybody else all of them together are one nice process. They burn while the file SWITCH exists, and end with the program.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

NICER = 5
MOST = 60.0
"""Seconds of burning after which a burner ends in any case."""


def burn(switch: Path, parent: int) -> None:
    """Burn while the switch is there, until the parent is gone."""
    burned = 0.0
    while os.getppid() == parent and burned < MOST:
        if switch.exists():
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                pass
            burned += 0.1
        else:
            time.sleep(0.05)


def main() -> None:
    """Start the burners, and become the program."""
    switch, burners, *command = sys.argv[1:]
    with contextlib.suppress(AttributeError):  # Linux only
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with contextlib.suppress(OSError):  # where sessions are scheduled as groups
        Path("/proc/self/autogroup").write_text("5")
    parent = os.getpid()
    for _ in range(int(burners)):
        if not os.fork():
            os.nice(5)
            burn(Path(switch), parent)
            os._exit(0)
    os.nice(5 + NICER)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
