"""Fuzzes with atheris (libFuzzer for Python), one process for each target; `nox -s fuzz` installs it into build/atheris and runs this.

It begins with the corpus in the tree; what it finds on the way is kept in build/fuzz and used again by the next run, and an input that breaks
something is written there, too. The table at the end stands in build/reports/fuzz.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
ATHERIS = ROOT / "build" / "atheris"
FOUND = ROOT / "build" / "fuzz"
REPORT = ROOT / "build" / "reports" / "fuzz.md"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    :param name: of the target
    :param runs: inputs that were tried
    :param seconds: how long it took
    :param edges: places in the code that were reached
    :param inputs: those that reached something new, with those of the corpus
    :param memory: most megabytes that the process had
    :param failed: whether something was found
    """

    name: str
    runs: int
    seconds: float
    edges: int
    inputs: int
    memory: int
    failed: bool

    def __str__(self) -> str:
        result = "**see the log**" if self.failed else "none"
        speed = self.runs / self.seconds
        return f"| `{self.name}` | {self.runs:,} | {speed:,.0f} | {self.edges:,} | {self.inputs:,} | {self.memory} MB | {result} |"


COLUMNS = ("target", "inputs tried", "a second", "edges reached", "inputs that reached something new", "most memory", "findings")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def main() -> int:
    """Run what the command line says; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="target", help=f"one or more of {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    arguments = parser.parse_args()
    outcomes = []
    for name in arguments.targets or TARGETS:
        outcomes.append(run(name, arguments.seconds))
        print(HEAD, outcomes[-1], sep="\n", flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join([HEAD, *map(str, outcomes)]) + "\n", encoding="utf-8")
    return int(any(outcome.failed for outcome in outcomes))


def run(name: str, seconds: int) -> Outcome:
    """Fuzz one target in a process of its own.

    :param seconds: how long
    """
    folder = FOUND / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "fuzz.one", name, str(seconds)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ATHERIS, ROOT / "tests")))}
        done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    text = log.read_text(errors="replace")
    failed = done.returncode != 0
    if failed:
        print("\n".join(text.splitlines()[-60:]))
    status = re.findall(r"^#(\d+)\s.*?cov: (\d+) .*?corp: (\d+)/", text, re.MULTILINE)[-1:] or [("0", "0", "0")]
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    memory = re.search(r"stat::peak_rss_mb:\s*(\d+)", text)
    return Outcome(
        name,
        int(runs[1] if runs else status[0][0]),
        time.monotonic() - began,
        int(status[0][1]),
        int(status[0][2]),
        int(memory[1]) if memory else 0,
        failed,
    )


if __name__ == "__main__":
    sys.exit(main())
