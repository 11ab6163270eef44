"""Makes a static site of the documentation: ``python -m contrib.docs.build [FOLDER]``, by default build/site.

It fails if a link leads to no file or no heading, or if a page of docs/ cannot be reached from docs/README.md.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parents[2]
INDEX: Final = Path("docs/README.md")
_PAGES: Final = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "plugins/*/README.md", "contrib/*/README.md")
_SECTIONS: Final = ("docs", "tutorial", "how-to", "reference", "explanation")
_STYLE: Final = """
body{margin:0;display:flex;font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff}
nav{flex:none;width:15em;padding:1em;background:#f4f4f2;min-height:100vh;box-sizing:border-box}
nav ul{list-style:none;padding:0}nav b{text-transform:capitalize}main{padding:1em 2em;max-width:55em;min-width:0}
pre{background:#f4f4f2;padding:.7em;overflow:auto}code{font:14px/1.4 ui-monospace,monospace}
table{border-collapse:collapse;display:block;overflow:auto}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top}
@media(max-width:50em){body{display:block}nav{width:auto;min-height:0}}
"""


@dataclass
class Page:
    """One Markdown file, parsed.

    :param path: from the root
    :param tokens: what markdown-it made of it
    """

    path: Path
    tokens: list[Token]
    title: str = ""
    anchors: set[str] = field(default_factory=set)

    def links(self) -> Iterator[tuple[Token, str]]:
        """Yield the tokens of links and images, and where they lead."""
        for token in (child for block in self.tokens for child in block.children or ()):
            target = token.attrGet("href") or token.attrGet("src")
            if target:
                yield token, str(target)


def main(arguments: Iterable[str] = ()) -> int:
    """Build the site; return the exit code."""
    (target,) = [*arguments] or [str(ROOT / "build" / "site")]
    problems = build(ROOT, Path(target))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(problems)} dead links" if problems else f"wrote {target}")
    return int(bool(problems))


def build(root: Path, target: Path) -> list[str]:
    """Make the site.

    :param root: the checkout
    :param target: folder of the site; what is in it is removed
    :return: what is wrong, a line each; nothing is written then
    """
    parser = MarkdownIt("commonmark").enable("table")
    paths = sorted({path.relative_to(root) for pattern in _PAGES for path in root.glob(pattern)})
    pages = {path: _parse(parser, path, (root / path).read_text("utf-8")) for path in paths}
    problems = [problem for page in pages.values() for problem in _check(root, page, pages)]
    reached = _reachable(pages)
    problems += [f"{path}: no way leads here from {INDEX}" for path in pages if path.parts[0] == "docs" and path not in reached]
    if problems:
        return problems
    shutil.rmtree(target, ignore_errors=True)
    for page in pages.values():
        for file in _linked_files(root, page, pages):
            _copy(root / file, target / file)
        _write(target / page.path.with_suffix(".html"), _render(parser, page, pages))
    shutil.copyfile(target / INDEX.with_suffix(".html"), target / "docs" / "index.html")
    _write(target / "index.html", '<meta http-equiv="refresh" content="0; url=docs/README.html">')
    return []


def _parse(parser: MarkdownIt, path: Path, text: str) -> Page:
    """Parse a page, and give its headings the anchors that GitHub gives them."""
    page = Page(path, parser.parse(text))
    for opening, inline in zip(page.tokens, page.tokens[1:], strict=False):
        if opening.type == "heading_open":
            words = "".join(child.content for child in inline.children or ())
            slug = anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            count = 0
            while anchor in page.anchors:
                count += 1
                anchor = f"{slug}-{count}"
            page.anchors.add(anchor)
            opening.attrSet("id", anchor)
            page.title = page.title or words
    return page


def _resolve(page: Page, link: str) -> tuple[Path, str] | None:
    """Return the path from the root and the anchor that a link leads to; None if it leads out."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    return Path(os.path.normpath(page.path.parent / path)) if path else page.path, anchor


def _check(root: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for _, link in page.links():
        found = _resolve(page, link)
        if found is None:
            continue
        path, anchor = found
        if not (root / path).exists():
            yield f"{page.path}: dead link: {link}"
        elif anchor and (path not in pages or anchor not in pages[path].anchors):
            yield f"{page.path}: dead link: {link}: no such heading"


def _reachable(pages: dict[Path, Page]) -> set[Path]:
    reached: set[Path] = set()
    ahead = {INDEX} & pages.keys()
    while ahead:
        page = pages[ahead.pop()]
        reached.add(page.path)
        ahead |= {found[0] for _, link in page.links() if (found := _resolve(page, link)) and found[0] in pages} - reached
    return reached


def _linked_files(root: Path, page: Page, pages: dict[Path, Page]) -> Iterator[Path]:
    for _, link in page.links():
        found = _resolve(page, link)
        if found and found[0] not in pages and (root / found[0]).is_file():
            yield found[0]


def _render(parser: MarkdownIt, page: Page, pages: dict[Path, Page]) -> str:
    for token, link in page.links():
        found = _resolve(page, link)
        if found and found[0] in pages:
            there = os.path.relpath(found[0].with_suffix(".html"), page.path.parent)
            token.attrSet("href", there + (f"#{found[1]}" if found[1] else ""))
    body = parser.renderer.render(page.tokens, parser.options, {})
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(page.title)}</title>'
    navigation = _navigation(page, pages)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body><nav>{navigation}</nav><main>{body}</main></body></html>"


def _navigation(here: Page, pages: dict[Path, Page]) -> str:
    sections: dict[str, list[Page]] = {}
    for page in pages.values():
        if page.path.parts[0] == "docs":
            sections.setdefault(page.path.parent.name, []).append(page)
    order = sorted(sections, key=lambda name: _SECTIONS.index(name) if name in _SECTIONS else len(_SECTIONS))
    return "".join(f"<b>{name}</b><ul>{''.join(_entry(here, page) for page in sections[name])}</ul>" for name in order)


def _entry(here: Page, page: Page) -> str:
    if page is here:
        return f"<li>{html.escape(page.title)}</li>"
    return f'<li><a href="{os.path.relpath(page.path.with_suffix(".html"), here.path.parent)}">{html.escape(page.title)}</a></li>'


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
