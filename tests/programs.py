"""Programs that we did not write and that a test wants."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

NO_SKIP: Final = "OUTLINE_LB_NO_SKIP"
"""Environment variable: names of programs, with spaces between, whose absence is a failure. CI sets it to those that it installs."""


def require_program(name: str, install: str) -> str:
    """Return the path of a program; skip the test where it is not on the path.

    :param name: of the program
    :param install: the command that installs it, for the reason
    """
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed: {install}"
        if name in os.environ.get(NO_SKIP, "").split():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path
