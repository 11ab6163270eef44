"""The house keeps its own rules: what is documented, where tests stand, what a plugin folder holds and imports.

Import-linter watches the floors of the core (see pyproject.toml). Plugins are checked here: from their folders, so that a new one is checked
without being listed anywhere, and with their tests, which no package contains.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core" / "outline_lb"
PLUGINS = sorted(folder for folder in (ROOT / "plugins").iterdir() if any(folder.rglob("*.py")))
SOURCES = sorted([*CORE.rglob("*.py"), *ROOT.glob("schemas/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])

UNTESTED = {
    "__init__.py": "explains or re-exports",
    "__main__.py": "calls cli.main; the acceptance tests start the program with it",
    "api.py": "re-exports; every plugin's tests import from it",
    "datapath/cipher.py": "a contract: testing/conformance and the plugins' tests",
    "datapath/frontend.py": "a contract: testing/conformance and the plugins' tests",
    "datapath/transport.py": "a contract: testing/conformance and the plugins' tests",
    "base/dialer.py": "a contract: its implementations' tests",
    "monitoring/probe.py": "a contract: testing/conformance and the plugins' tests",
    "plugin/hookspecs.py": "declarations: each hook is checked below",
    "plugin/markers.py": "two constants",
    "commands/run.py": "the acceptance tests run it",
    "commands/demo.py": "the acceptance tests run it",
    "datapath/access.py": "declarations: what prints keys, and what lists them, is tested",
    "commands/check.py": "the acceptance tests run it",
    "demo/": "the acceptance tests run on its world",
    "testing/": "what tests and conformance suites are made of: they run it",
}
"""Core modules, file names and folders without test modules of their own, and why."""

plugin_folders = pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def project(folder: Path) -> dict[str, Any]:
    """Return the pyproject.toml of a distribution."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def entry_points(folder: Path) -> dict[str, dict[str, str]]:
    """Return the entry points of a distribution: none means that it is a plain library."""
    points: dict[str, dict[str, str]] = project(folder)["project"].get("entry-points", {})
    return points


def package_of(folder: Path) -> Path:
    """Return the folder of the package that a plugin distribution ships."""
    (package,) = project(folder)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return folder / str(package)


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """Return the functions at the top of a module, by name."""
    return {node.name: node for node in parsed(path).body if isinstance(node, ast.FunctionDef)}


HOOKS = sorted(functions(CORE / "plugin" / "hookspecs.py"))


def public_parts(path: Path) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield what must explain itself: the module, its public classes and functions, and abstract methods."""
    if path.name != "__init__.py" or path.stat().st_size:
        yield "module", parsed(path)
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_") and node.name not in HOOKS:
            yield node.name, node
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and "abstractmethod" in map(ast.unparse, member.decorator_list):
                    yield f"{node.name}.{member.name}", member


def imported(path: Path) -> set[str]:
    """Return the absolute names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            # `from outline_lb import api` names a module, too
            names.update({f"outline_lb.{alias.name}" for alias in node.names} if node.module == "outline_lb" else {node.module})
    return names


def text_files() -> Iterator[Path]:
    """Yield every file of the checkout that is not made by a tool."""
    for place, folders, files in os.walk(ROOT):
        folders[:] = [
            name for name in folders if not (name.startswith(".") and name not in {".ci", ".github"}) and name not in {"__pycache__", "build", "dist"}
        ]
        yield from (Path(place, name) for name in files if not name.endswith((".pyc", ".png")))


def assert_none(found: list[str]) -> None:
    """Fail with one offender a line."""
    assert not found, "\n" + "\n".join(sorted(found))


def test_every_public_name_has_a_docstring() -> None:
    silent = [f"{path.relative_to(ROOT)}: {name}" for path in SOURCES for name, node in public_parts(path) if not ast.get_docstring(node)]
    assert_none(silent)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_parameters(hook: str) -> None:
    node = functions(CORE / "plugin" / "hookspecs.py")[hook]
    documented = re.findall(r":param (\w+):", ast.get_docstring(node) or "no docstring")
    assert documented == [argument.arg for argument in node.args.args]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_of_its_name(hook: str) -> None:
    assert f"test_{hook}" in functions(Path(__file__).with_name("test_hooks.py"))


def excuses(module: str) -> set[str]:
    """Return what stands in `UNTESTED` about a module of the core."""
    return {key for key in UNTESTED if key in {module, module.rpartition("/")[2]} or (key.endswith("/") and module.startswith(key))}


def untested() -> set[str]:
    """Return the modules of the core that no test module is named after."""
    tests = {path.name for path in (ROOT / "tests" / "core").rglob("test_*.py")}
    return {path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py") if f"test_{path.name}" not in tests}


def test_every_core_module_has_a_test_module() -> None:
    assert_none([module for module in untested() if not excuses(module)])


def test_every_exception_is_needed() -> None:
    assert_none(list(UNTESTED.keys() - set().union(*map(excuses, untested()))))


def test_core_imports_itself_relatively() -> None:
    absolute = [f"{path.relative_to(ROOT)}: {name}" for path in CORE.rglob("*.py") for name in imported(path) if name.split(".")[0] == "outline_lb"]
    assert_none(absolute)


@plugin_folders
def test_plugin_folder_is_complete(folder: Path) -> None:
    assert project(folder)["project"]["name"] == f"outline-lb-{folder.name}"
    needed = [folder / "README.md", package_of(folder) / "__init__.py", package_of(folder) / "py.typed"]
    assert [path for path in needed if not path.is_file()] == []
    assert any((folder / "tests").rglob("test_*.py"))


@plugin_folders
def test_plugin_entry_points_lead_to_modules_that_name_their_api(folder: Path) -> None:
    for group, points in entry_points(folder).items():
        assert group == "outline_lb.observers" or group.replace(".", "_") in HOOKS
        for module in points.values():
            path = package_of(folder).parent.joinpath(*module.split(".")).with_suffix(".py")
            versions = [ast.unparse(node) for node in parsed(path).body if isinstance(node, ast.Assign | ast.AnnAssign)]
            assert any(re.fullmatch(r"OUTLINE_LB_API(: .*)? = \d+", version) for version in versions), path


@plugin_folders
def test_plugin_imports_the_core_through_its_api_and_no_other_plugin(folder: Path) -> None:
    required = {re.split(r"[^\w.-]", requirement)[0] for requirement in project(folder)["project"]["dependencies"]}
    libraries = {package_of(other).name for other in PLUGINS if not entry_points(other) and project(other)["project"]["name"] in required}
    ours = re.compile(rf"outline_lb\.api|{package_of(folder).name}(\..*)?|({'|'.join(libraries) or '-'})(\..*)?")
    for path in folder.rglob("*.py"):
        allowed_more = r"outline_lb\.testing(\..*)?" if (folder / "tests") in path.parents else "-"
        foreign = [
            name for name in imported(path) if name.startswith("outline_lb") and not ours.fullmatch(name) and not re.fullmatch(allowed_more, name)
        ]
        assert foreign == [], path


def test_extras_name_distributions_of_this_house() -> None:
    houses = {f"outline-lb-{folder.name}" for folder in PLUGINS} | {"outline-lb"}
    requirements = [requirement for extra in project(ROOT)["project"]["optional-dependencies"].values() for requirement in extra]
    named = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    assert {name for name in named if name.startswith("outline-lb")} - houses == set()


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "contrib" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    registry = re.compile(rb"https?://[^/\s\"]*(pypi|pythonhosted|npmjs|crates|debian|maven)")
    place = re.compile(rb"(?<![\w.])/(home/\w+|Users/\w+|work)/")
    found = [str(path.relative_to(ROOT)) for path in text_files() if registry.search(content := path.read_bytes()) or place.search(content)]
    assert_none(found)
