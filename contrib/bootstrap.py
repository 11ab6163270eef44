"""Set up `.venv` in this checkout: outline-lb, all plugins and, with ``--dev``, the tools that the checks need.

`make` runs this before anything else; it needs a Python and nothing more. A second run finds its stamp and returns at once. Written so that
Python 3.8 still understands it, far enough to look for a newer one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

OLDEST = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "outline-lb.stamp"
CONSTRAINTS = ROOT / "contrib" / "constraints.txt"

# What pip would put into a fresh environment for each of our distributions; installed once instead.
BUILD_TOOLS = ("hatchling", "editables")


class SetupError(Exception):
    """What stopped the set-up, in one line.

    :param message: that line
    :param output: what the program said that failed
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def main() -> int:
    """Set up what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(description="Set up .venv in this checkout.")
    parser.add_argument("--dev", action="store_true", help="also the tools that the checks need")
    dev = parser.parse_args().dev
    try:
        if sys.version_info[:2] < OLDEST:
            start_over_with_newer_python()
        if not is_ready(dev):
            set_up(dev)
    except SetupError as error:
        print(error.output, end="", file=sys.stderr)
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def start_over_with_newer_python() -> None:
    """Become the newest suitable Python on the path, running this file again.

    :raises SetupError: there is none
    """
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for name in NEWER:
        # A version manager's shim may stand there for a version that is not switched on, so ask it.
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", check], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.execv(path, [path, *sys.argv])
    raise SetupError(
        "outline-lb needs Python 3.11 or newer; this one is {}.{}, and none of {} is on the path".format(*sys.version_info[:2], ", ".join(NEWER))
    )


def set_up(dev: bool) -> None:
    """Make `.venv` and install everything into it.

    :param dev: also the development tools
    :raises SetupError: something failed
    """
    import tomllib

    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if not is_usable():
        say(f"Setting up .venv with Python {sys.version.split()[0]}")
        make_venv()
    plugins = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
    requirements = ["--editable", ".[demo]"]
    for plugin in plugins:
        requirements += ["--editable", f"./{plugin.relative_to(ROOT)}"]
    if dev:
        requirements += tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    pip("uninstall", "--yes", *departed())
    say("  installing the build tools")
    pip("install", "--constraint", str(CONSTRAINTS), *BUILD_TOOLS)
    say(f"  installing outline-lb, {len(plugins)} plugins{' and the development tools' if dev else ''}")
    pip("install", "--constraint", str(CONSTRAINTS), "--no-build-isolation", *requirements)
    STAMP.write_text(f"{fingerprint(dev=False)} {fingerprint(dev=dev)}\n", encoding="ascii")
    say(f"  ready after {time.monotonic() - started:.0f} s")


def is_ready(dev: bool) -> bool:
    """Return whether an earlier run did all that this one would do."""
    return PYTHON.exists() and STAMP.exists() and fingerprint(dev) in STAMP.read_text(encoding="ascii").split()


def fingerprint(dev: bool) -> str:
    """Return a hash of all that decides what `.venv` must hold."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT} {dev}".encode())
    for path in [Path(__file__), CONSTRAINTS, ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
        digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def is_usable() -> bool:
    """Return whether `.venv` was made here, for this Python, and has pip: a moved, copied or half-made one has not."""
    try:
        answer = output(str(VENV / "bin" / "pip"), "--version")
    except (OSError, SetupError):
        return False
    return str(VENV) in answer and "(python {}.{})".format(*sys.version_info[:2]) in answer


def make_venv() -> None:
    """Make an empty `.venv` with pip in it, in whichever way this Python can.

    :raises SetupError: it cannot, or the way that it has failed
    """
    # Run from within a virtual environment, perhaps this very one: take the Python that it was made of.
    python = sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)
    venv = [python, "-m", "venv", "--clear", str(VENV)]
    if importlib.util.find_spec("ensurepip"):
        output(*venv)
        return
    for way in (
        [[*venv, "--without-pip"], [python, "-m", "pip", "--python", str(PYTHON), "install", "pip"]],
        [[python, "-m", "virtualenv", "--clear", str(VENV)]],
        [["virtualenv", "--python", python, "--clear", str(VENV)]],
    ):
        try:
            for command in way:
                output(*command)
        except (OSError, SetupError):
            continue
        return
    raise SetupError(f"{python} cannot make a virtual environment: apt-get install python3-venv (or another Python: make PYTHON=...)")


def departed() -> list[str]:
    """Return our distributions in `.venv` whose folder is gone, as after a change of branch: their entry points would lead nowhere."""
    names = []
    for path in VENV.glob("lib/python*/site-packages/outline_lb*.dist-info/direct_url.json"):
        folder = Path(unquote(urlsplit(json.loads(path.read_text(encoding="utf-8"))["url"]).path))
        if not (folder / "pyproject.toml").exists():
            names.append(path.parent.name.split("-")[0])
    return names


def pip(command: str, *arguments: str) -> None:
    """Run pip in `.venv`, if there is anything to run it for.

    :raises SetupError: it failed
    """
    if any(not argument.startswith("-") for argument in arguments):
        output(str(PYTHON), "-m", "pip", command, "--disable-pip-version-check", "--no-input", "--quiet", *arguments)


def output(*command: str) -> str:
    """Run a command in the checkout, and return what it said.

    :raises OSError: there is no such program
    :raises SetupError: it failed
    """
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SetupError(f"`{Path(command[0]).name} {' '.join(command[1:4])} ...` failed with exit code {done.returncode}", done.stdout)
    return done.stdout


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
