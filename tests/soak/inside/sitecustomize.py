"""A window into a program for the soak, without a line in the program: Python imports this file because it is on PYTHONPATH.

At SIGUSR1 the number of asyncio tasks is written to the file that SOAK_TASKS names.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType


def tell(_number: int, _frame: FrameType | None) -> None:
    """Write the number; the file is never seen half written."""
    file = Path(os.environ["SOAK_TASKS"])
    new = file.with_suffix(".new")
    new.write_text(str(len(asyncio.all_tasks())), encoding="ascii")
    new.replace(file)


if "SOAK_TASKS" in os.environ:
    signal.signal(signal.SIGUSR1, tell)
