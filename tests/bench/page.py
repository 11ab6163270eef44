"""The page in docs/explanation, of which the tables and the plot are made from the JSON file beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from . import plot, report
from .results import Run

PARTS: Final[Mapping[str, Callable[[Run], str]]] = {
    "targets": report.targets,
    "figures": report.figures,
    "packets": report.packets,
    "units": report.units,
    "about": report.about,
}


def fill(text: str, run: Run) -> str:
    """Return a page with its generated parts made anew; each stands between ``<!-- bench: NAME -->`` and ``<!-- end -->``."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n\n{PARTS[match[2]](run)}\n\n<!-- end -->"

    return re.sub(r"(<!-- bench: (\w+) -->).*?<!-- end -->", part, text, flags=re.DOTALL)


def render(file: Path) -> int:
    """Write the page (``.md``) and the plot (``.svg``) of a JSON file; return the exit code."""
    run, page = Run.read(file), file.with_suffix(".md")
    page.write_text(fill(page.read_text("utf-8"), run), "utf-8")
    file.with_suffix(".svg").write_text(plot.draw(run), "utf-8")
    return 0
