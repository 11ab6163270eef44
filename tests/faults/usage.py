"""What a process uses, from /proc: the figures of a fault."""

from __future__ import annotations

import os
from pathlib import Path

from outline_lb.testing.program import Program

_TICK = os.sysconf("SC_CLK_TCK")


def resident(program: Program) -> int:
    """Return the resident memory in KB."""
    return status(program, "VmRSS")


def status(program: Program, field: str) -> int:
    """Return a number of /proc/PID/status, such as VmRSS or VmSize in KB."""
    lines = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def cpu_seconds(program: Program) -> float:
    """Return the seconds of CPU time, of the program and of the kernel for it."""
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def descriptors(program: Program) -> int:
    """Return the number of open descriptors."""
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))
