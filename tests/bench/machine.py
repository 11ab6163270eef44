"""Where and when a run took place."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from ssl import OPENSSL_VERSION

from .servers import program


def describe(arguments: Sequence[str]) -> dict[str, str]:
    """Say what a reader has to know beside the figures.

    :param arguments: of the command line
    """
    shown = re.sub(r"--json[ =]\S+", "", " ".join(arguments)).strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": f"nox -s bench -- {shown}".strip(" -"),
        "processor": f"{os.cpu_count()} × {_processor()}",
        "system": f"Linux {'.'.join(platform.release().split('.')[:2])}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {OPENSSL_VERSION}",
        **{name: _version(name) for name in ("uvloop", "cryptography", "websockets")},
        "v2ray": _says("v2ray", "-version", r"V2Ray (\S+)"),
        "xray": "PyPI Xray-core " + _says("xray", "", r"(\S+)"),
        "revision": _says("git", "describe --always --dirty", r"(\S+)"),
    }


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _says(name: str, arguments: str, pattern: str) -> str:
    """Return what a program says about itself."""
    path = program(name)
    if path is None:
        return "not installed"
    command: Sequence[str] = [path, *arguments.split()]
    output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=Path(__file__).parent).stdout
    found = re.search(pattern, output)
    return found[1] if found else "unknown"
