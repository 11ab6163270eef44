"""The documentation does what it says: its examples run, its reference is the code's, its links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from examples import Block, Story, blocks, matches, whole
from programs import require_program
from ruamel.yaml import YAML

from outline_lb.config.load import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]
BLOCKS = {page: blocks(page, ROOT) for page in PAGES}
STORIES = [page for page, found in BLOCKS.items() if any(block.role in {"run", "serve"} for block in found)]


def written_in(language: str) -> pytest.MarkDecorator:
    """Run a test with each block of a language."""
    found = [block for page in BLOCKS.values() for block in page if block.language == language and not (block.broken or "/" in block.role)]
    return pytest.mark.parametrize("block", found, ids=[block.place for block in found])


@written_in("yaml")
def test_configurations_and_parts_of_them_are_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\{env: (\w+)\}", block.text):
        monkeypatch.setenv(name, "/secret")
    for name in re.findall(r"\{file: ([\w./-]+)\}", block.text):
        if not name.startswith("/"):
            (tmp_path / name).write_text("secret\n")
    text = re.sub(r"\{file: /[\w./-]+\}", "secret", block.text)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "outline-lb.yaml"
    file.write_text(text if "version: 1" in text else json.dumps(whole(YAML(typ="safe").load(text))))
    settings, _ = load(file)
    assert settings.frontends


@written_in("python")
def test_python_imports_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


EXCERPTS = [block for page in BLOCKS.values() for block in page if "/" in block.role]


@pytest.mark.parametrize("block", EXCERPTS, ids=[block.place for block in EXCERPTS])
def test_excerpts_are_what_the_file_says(block: Block) -> None:
    assert block.text in (ROOT / block.role).read_text("utf-8"), f"{block.place} is no part of {block.role}"


@pytest.mark.parametrize("page", STORIES, ids=[page.stem for page in STORIES])
def test_what_a_page_tells_happens(page: Path, tmp_path: Path) -> None:
    Story(tmp_path).tell(BLOCKS[page])


def test_reference_says_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, "-m", "contrib.docs.generate", "--check"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], list[str]]:
    """Return what makes the site."""
    monkeypatch.syspath_prepend(str(ROOT))
    from contrib.docs.build import build

    return build


def test_every_link_leads_somewhere(build: Callable[[Path, Path], list[str]], tmp_path: Path) -> None:
    assert build(ROOT, tmp_path / "site") == []
    assert "<table>" in (tmp_path / "site" / "docs" / "reference" / "configuration.html").read_text()


def test_dead_links_and_lonely_pages_are_found(build: Callable[[Path, Path], list[str]], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# Index\n[one](one.md#first-part) [two](one.md#second) [three](three.md)\n[self](#index)\n")
    (tmp_path / "docs" / "one.md").write_text("# One\n## `First` part!\n")
    (tmp_path / "docs" / "lonely.md").write_text("# Lonely\n")
    assert build(tmp_path, tmp_path / "site") == [
        "docs/README.md: dead link: one.md#second: no such heading",
        "docs/README.md: dead link: three.md",
        "docs/lonely.md: no way leads here from docs/README.md",
    ]
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(("expected", "good", "bad"), [("one ... three\n", "one two  three", "one two"), ("", "\n", "x"), ("...x", "a\nx\n", "xy")])
def test_outputs_are_compared_loosely(expected: str, good: str, bad: str) -> None:
    assert matches(expected, good)
    assert not matches(expected, bad)


def test_unit_of_systemd_is_one(tmp_path: Path) -> None:
    require_program("systemd-analyze", "apt-get install systemd")
    unit = (ROOT / "contrib" / "systemd" / "outline-lb.service").read_text()
    program = re.search(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert program
    (tmp_path / "outline-lb.service").write_text(unit.replace(program[1], sys.executable))  # which must exist
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "outline-lb.service")], capture_output=True, text=True, check=False)
    assert "outline-lb.service" not in done.stderr, done.stderr
