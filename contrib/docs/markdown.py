"""Small pieces of Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    head = list(head)
    yield from (f"| {' | '.join(head)} |", "|" + "---|" * len(head))
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def sentence(text: str) -> str:
    """Return a text that begins and ends as a sentence does."""
    text = " ".join(text.split())
    return text and text[0].upper() + text[1:].rstrip(".") + "."


def prose(docstring: str | None) -> Iterator[str]:
    """Yield a docstring as Markdown: literals, literal blocks, and the fields as a list."""
    for paragraph in re.split(r"(?<=::)\n\n((?:    .*\n?|\n)+)", inspect.cleandoc(docstring or "")):
        if paragraph.startswith("    "):
            yield from ("```text", textwrap.dedent(paragraph).strip(), "```", "")
            continue
        for line in paragraph.strip().splitlines():
            field = re.fullmatch(r":(\w+)(?: (\w+))?: ?(.*)", line)
            text = f"* {code(field[2]) if field[2] else field[1]}: {field[3]}" if field else re.sub(r"::$", ":", line)
            yield re.sub(r"``(.+?)``", r"`\1`", text) if text != ":" else ""
        yield ""


def code(text: object) -> str:
    """Return a text as a literal."""
    return f"`{text}`"
