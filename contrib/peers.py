"""Install into build/peers what the interop tests talk to and no distribution packages: Xray, the real outline-ss-server, the Autobahn suite.

Each one becomes an executable in build/peers/bin. What cannot be had here is told in one line and is no failure: the tests that want it are skipped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

INTO = Path(__file__).resolve().parent.parent / "build" / "peers"

XRAY = "Xray-core==1.8.26.13"
"""The binding's version; Xray itself is 26.10.10 in it."""
OUTLINE_MODULE = "github.com/Jigsaw-Code/outline-ss-server"
OUTLINE_VERSION = "v1.9.2"
AUTOBAHN = ("wsaccel<0.6.3", "autobahntestsuite==25.10.1")
"""The last wsaccel for CPython 2.7."""

RUN_XRAY = "import sys, xray; xray.startFromJSON(open(sys.argv[1], encoding='utf-8').read()) if sys.argv[1:] else print(xray.__version__)"
RUN_AUTOBAHN = "import sys; from autobahntestsuite.wstest import run; sys.exit(run())"

TIMEOUT = 900.0
"""Seconds for each command: a cold module cache on a busy machine takes minutes."""


class PeerError(Exception):
    """Why a peer cannot be had, in one line."""


def main() -> int:
    """Do what the command line asks for. Return 0, whatever could not be had."""
    parser = argparse.ArgumentParser(description="Install the programs of others that the interop tests want and no distribution has.")
    parser.add_argument("--into", type=Path, default=INTO, metavar="FOLDER", help="where to (default: build/peers)")
    parser.add_argument("--list", action="store_true", help="only print the names of those that are there")
    arguments = parser.parse_args()
    into: Path = arguments.into.absolute()
    for name, peer in PEERS.items():
        present = is_present(into, name)
        if arguments.list:
            print(name, flush=True) if present else None
        elif present:
            print(f"{name}: already there", flush=True)
        else:
            try:
                print(f"{name}: {peer(into)}", flush=True)
            except PeerError as error:
                print(f"{name}: not installed: {error}", flush=True)
    return 0


def is_present(into: Path, name: str) -> bool:
    """Return whether a peer can be started: one that was made for another interpreter cannot."""
    try:
        done = subprocess.run([into / "bin" / name, *PRESENT[name]], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install_xray(into: Path) -> str:
    """Install Xray as a module for the Python that runs this.

    :return: what was done
    :raises PeerError: there is no wheel of it
    """
    folder = into / "python"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--upgrade", "--no-deps"]
    run(*pip, "--only-binary", ":all:", "--target", folder, XRAY)
    make_launcher(into, "xray", folder, sys.executable, RUN_XRAY)
    return f"{XRAY} for Python {sys.version.split()[0]}"


def install_outline_ss_server(into: Path) -> str:
    """Build the real outline-ss-server.

    :return: what was done
    :raises PeerError: there is no Go, or none that is new enough
    """
    go = shutil.which("go")
    if go is None:
        raise PeerError("no go on the path")
    with tempfile.TemporaryDirectory() as folder:
        # `go install module@version` asks for the list of versions, which not every proxy gives; a requirement asks for this one only.
        requirement = f"module peers\n\ngo {go_version(go)}\n\nrequire {OUTLINE_MODULE} {OUTLINE_VERSION}\n"
        Path(folder, "go.mod").write_text(requirement, encoding="ascii")
        target = into / "bin" / "outline-ss-server"
        run(go, "build", "-mod=mod", "-o", target, f"{OUTLINE_MODULE}/cmd/outline-ss-server", cwd=folder)
    return f"{OUTLINE_VERSION}, built with {Path(go)}"


def go_version(go: str) -> str:
    """Return the version of a Go, such as ``1.26``.

    :raises PeerError: it does not say, or cannot read the modules of today
    """
    words = run(go, "env", "GOVERSION").strip().removeprefix("go").split(".")
    if len(words) < 2 or not words[1].isdigit():
        raise PeerError(f"{go} does not tell its version")
    if int(words[1]) < 21:
        raise PeerError(f"{go} is {'.'.join(words)}, and {OUTLINE_MODULE} {OUTLINE_VERSION} needs 1.21")
    return f"1.{words[1]}"


def install_autobahn(into: Path) -> str:
    """Install the Autobahn suite, which only CPython 2.7 runs.

    :return: what was done
    :raises PeerError: there is no such Python, or it cannot install
    """
    python = python2()
    folder = into / "autobahn"
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-warn-conflicts", "--upgrade"]
    # Wheels that somebody collected for newer Pythons would be tried first, and fail.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    run(*pip, "--target", folder, *AUTOBAHN, env=environment)
    # Installed in this way, the namespace package has no file of its own, and CPython 2.7 wants one.
    (folder / "zope" / "__init__.py").touch()
    make_launcher(into, "autobahn", folder, python, RUN_AUTOBAHN)
    return f"{AUTOBAHN[-1]} for {python}"


def python2() -> str:
    """Return a CPython 2.7.

    :raises PeerError: there is none
    """
    found = []
    pyenvs = [Path.home() / ".pyenv"]
    if on_path := shutil.which("python2.7"):
        found.append(on_path)
        # It may be pyenv's shim for a version that is not switched on: look behind it.
        pyenvs.append(Path(on_path).parents[1])
    found += [str(python) for root in pyenvs for python in sorted(root.glob("versions/2.7*/bin/python"))]
    for python in found:
        if subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            return python
    raise PeerError("no python2.7 on the path, nor in ~/.pyenv/versions")


def make_launcher(into: Path, name: str, modules: Path, python: str, program: str) -> None:
    """Write an executable that runs a Python program with modules from a folder."""
    file = into / "bin" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join([python, "-c", program])
    script = ["#!/bin/sh", f'PYTHONPATH={shlex.quote(str(modules))} exec {command} "$@"', ""]
    file.write_text("\n".join(script), encoding="utf-8")
    file.chmod(0o755)


def run(*command: str | Path, cwd: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it said.

    :raises PeerError: it failed, with the last line of its complaint
    """
    try:
        done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise PeerError(said[-1] if said else f"{command[0]} failed with exit code {done.returncode}")
    return done.stdout


PEERS: dict[str, Callable[[Path], str]] = {
    "outline-ss-server": install_outline_ss_server,
    "xray": install_xray,
    "autobahn": install_autobahn,
}
PRESENT = {"outline-ss-server": ["-version"], "xray": [], "autobahn": ["--help"]}
"""What each one does at once, and with success, where it is installed."""


if __name__ == "__main__":
    sys.exit(main())
