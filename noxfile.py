"""Every check by name; `nox --list` says what there is, `make test` runs those that stand in `nox.options.sessions`.

The checks run in the checkout's own `.venv`, which contrib/bootstrap.py sets up: nothing is installed twice. Only `matrix` makes environments.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
BIN = ROOT / ".venv" / "bin"
REPORTS = ROOT / "build" / "reports"
WHEELS = ROOT / "build" / "wheels"
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
LONG_FILE = 250

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "tests", "integration", "faults", "interop", "docs", "summary"]


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    tools(session, ["ruff", "check"], ["ruff", "format", "--check"])
    for path in sorted(path for top in ("core", "plugins") for path in (ROOT / top).rglob("*.py")):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONG_FILE:
            session.log(f"{path.relative_to(ROOT)} has {lines} lines: fine for one reason, not for two")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on code and tests."""
    sources = [f"plugins/{name}/src" for name in PLUGINS]
    # The plugins' tests one by one, since their modules have the same names.
    tests = with_tests(*(f"plugins/{name}/tests" for name in PLUGINS))
    everything = ["mypy", "--explicit-package-bases", "core", "schemas", "tests", "contrib", "noxfile.py", *sources]
    tools(session, everything, *(["mypy", folder] for folder in tests))


@nox.session
def imports(session: nox.Session) -> None:
    """Import-linter: the floors of the core. (Plugins: tests/contract/test_house.py.)"""
    tool(session, "lint-imports", "--no-logo")


@nox.session
def tests(session: nox.Session) -> None:
    """The core's tests, the contracts, the corpus of the fuzz targets, and each plugin's own tests."""
    run_tests(session, "tests/core", "tests/contract", "tests/fuzz", *(f"plugins/{name}/tests" for name in PLUGINS))


@nox.session
def integration(session: nox.Session) -> None:
    """Several parts together, and the whole program from outside."""
    run_tests(session, "tests/integration", "tests/acceptance")


@nox.session
def faults(session: nox.Session) -> None:
    """Bad servers, bad networks, bad days: the rows of docs/explanation/faults.md."""
    run_tests(session, "tests/faults")


@nox.session
def faults_long(session: nox.Session) -> None:
    """The same, with the rows that take minutes as long as the fault matrix says; not part of `make test`."""
    session.env["OUTLINE_LB_LONG_FAULTS"] = "1"
    run_tests(session, "tests/faults")


@nox.session
def interop(session: nox.Session) -> None:
    """Our program with those of others; what is not installed is skipped."""
    run_tests(session, "tests/interop")


@nox.session
def docs(session: nox.Session) -> None:
    """Is docs/reference in step with the code? Then a site in build/site, without dead links."""
    tools(session, ["python", "-m", "contrib.docs.generate", "--check"], ["python", "-m", "contrib.docs.build"])


@nox.session
def summary(session: nox.Session) -> None:
    """Say what ran, and what was skipped and why."""
    tool(session, "python", "contrib/summary.py")


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines the core's and the plugins' own tests reach. Nothing depends on the figure."""
    folders = ["tests/core", "tests/contract", *(f"plugins/{name}/tests" for name in PLUGINS)]
    tool(session, "coverage", "run", "--branch", "--source=core,plugins", "--omit=*/tests/*", "-m", "pytest", "-q", *with_tests(*folders))
    tool(session, "coverage", "report", "--show-missing", "--skip-covered")


@nox.session
def bench(session: nox.Session) -> None:
    """Our client beside those of v2ray and Xray; arguments after ``--`` go to tests/bench/run.py."""
    tool(session, "python", "tests/bench/run.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Ten minutes of atheris for each parser: ``-- --seconds 600 socks5 websocket``. What it finds stays in build/fuzz."""
    if not (ROOT / "build" / "atheris").exists():  # not a development tool: it has wheels for few Pythons
        tool(session, "python", "-m", "pip", "install", "--quiet", "--no-deps", "--target", "build/atheris", "atheris==3.0.0")
    session.env["PYTHONPATH"] = str(ROOT / "tests")
    tool(session, "python", "-m", "fuzz.run", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Half an hour of fifty applications and of faults; ``-- --minutes 1`` is the short form."""
    session.env["PYTHONPATH"] = str(ROOT / "tests")
    tool(session, "python", "-m", "soak.run", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    folders = [".", *(f"./plugins/{name}" for name in PLUGINS)]
    tool(session, "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(WHEELS), *folders)


@nox.session(venv_backend="virtualenv", requires=["wheels"])
@nox.parametrize("plugin", PLUGINS)
def matrix(session: nox.Session, plugin: str) -> None:
    """Install the core and one plugin alone, from wheels: each distribution stands by itself."""
    pyproject = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text(encoding="utf-8"))
    session.install("--quiet", "--constraint", "contrib/constraints.txt", "--find-links", str(WHEELS), pyproject["project"]["name"])
    session.run("outline-lb", "--help", silent=True)
    modules = {module for group in pyproject["project"].get("entry-points", {}).values() for module in group.values()}
    packages = {Path(package).name for package in pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    for module in sorted(modules | packages):
        session.run("python", "-c", f"import {module}")


def run_tests(session: nox.Session, *folders: str) -> None:
    """Run pytest once over the folders that have tests, and leave a report for `summary`."""
    report = REPORTS / f"{session.name}.xml"
    report.unlink(missing_ok=True)
    found = with_tests(*folders)
    if not found:
        session.skip(f"no tests in {', '.join(folders)}")
    tool(session, "python", "-m", "pytest", f"--junitxml={report}", *found, *session.posargs)


def with_tests(*folders: str) -> list[str]:
    """Return the folders that have tests."""
    return [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]


def tool(session: nox.Session, name: str, *arguments: str) -> None:
    """Run a program of `.venv`."""
    session.run(str(BIN / name), *arguments)


def tools(session: nox.Session, *commands: Sequence[str]) -> None:
    """Run programs of `.venv`, all of them even if one fails."""
    failed = 0
    for command in commands:
        try:
            tool(session, *command)
        except CommandFailed:
            failed += 1
    if failed:
        session.error(f"{failed} of {len(commands)} failed")
