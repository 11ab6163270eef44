"""The examples of the documentation do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outline_lb.config.load import load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]


def examples() -> list[tuple[str, str]]:
    """Return every YAML block that is a whole configuration, with its page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            if "version: 1" in block:
                found.append((str(page.relative_to(ROOT)), block))
    return found


@pytest.mark.parametrize(("page", "text"), examples(), ids=[page for page, _ in examples()])
def test_configurations_are_accepted(page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\{env: (\w+)\}", text):
        monkeypatch.setenv(name, "secret")
    for name in re.findall(r"\{file: ([\w./-]+)\}", text):
        (tmp_path / name).write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "outline-lb.yaml"
    file.write_text(text)
    settings, _ = load(file)
    assert settings.frontends, page


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
