"""Writes docs/reference from the code: from schemas, argparse, hookspecs and docstrings. Run it as ``python -m contrib.docs.generate``.

With ``--check`` it writes nothing, and fails where a page is not what it would write.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from outline_lb import cli
from outline_lb.base import errors
from outline_lb.plugin import hookspecs
from outline_lb.plugin.discovery import GROUPS, InstalledPlugin, installed
from outline_lb.plugin.loader import PluginLoader
from outline_lb.plugin.registration import Registration

from .schemas import Tables, markdown_table, plural, read, sentence

ROOT: Final = Path(__file__).resolve().parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
COMMAND: Final = ".venv/bin/python -m contrib.docs.generate"
_NOTE: Final = f"<!-- Made by `{COMMAND}`: change the code instead. -->"


def main() -> int:
    """Write the pages, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of step")
    check = parser.parse_args().check
    os.environ.update(COLUMNS="100", HOME="~", XDG_CONFIG_HOME="~/.config", NO_COLOR="1")  # the pages say nothing about this machine
    stale = []
    for name, page in PAGES.items():
        text = "\n".join([_NOTE, "", *page()]).rstrip() + "\n"
        path = REFERENCE / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(path)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, "utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of step with the code: run {COMMAND}" if check else f"wrote {path.relative_to(ROOT)}")
    return int(check and bool(stale))


def configuration() -> Iterator[str]:
    """What belongs to the core."""
    schema = read("config")
    tables = Tables(schema)
    yield from ("# The configuration", "")
    yield from ("One YAML file. Keys with NAME in them are repeated for each name that you give; `[]` stands for each item of a list.", "")
    yield "What a plugin's type adds to its node is in [plugins](plugins.md); where the file is looked for and how it is read, in"
    yield from ("[the explanation](../explanation/configuration.md).", "")
    for key, part in schema["properties"].items():
        yield from (f"## {key}", "", sentence(tables.resolve(part).get("description", "")), "")
        required = key in schema["required"]
        lines = list(tables.table({"properties": {key: part}, "required": [key] if required else []}))
        yield from ([*lines, ""] if len(lines) > 3 or key in {"version", "plugins"} else lines)
    yield from ("## x-", "", "Keys of the whole document that begin with `x-` are ignored: a place for YAML anchors.", "")
    yield from ("## Values", "", *_values(), "")
    yield from ("## Secrets", "", "A secret is written as text, or better, as the place where it is:", "")
    yield from tables.table({"properties": {"secret": read("defs")["$defs"]["secret-source"]}})


def _values() -> Iterator[str]:
    rows = []
    for name, part in read("defs")["$defs"].items():
        if not name.startswith("secret"):
            rows.append((name, sentence(part["title"]) + " " + sentence(part.get("description", "")), ", ".join(map(_code, part.get("examples", ())))))
    yield from markdown_table(("value", "meaning", "examples"), rows)


def command_line() -> Iterator[str]:
    """What argparse knows."""
    yield from ("# The command line", "")
    parser = cli._parser()
    yield from _command(parser, "##")
    yield from ("## Exit codes", "", *_exit_codes())


def _command(parser: argparse.ArgumentParser, level: str) -> Iterator[str]:
    yield from (f"{level} {parser.prog}", "", parser.description or "", "", "```text", parser.format_usage().rstrip(), "```", "")
    inner: list[argparse.ArgumentParser] = []
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner += action.choices.values()
        elif not isinstance(action, argparse._HelpAction):
            names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            value = action.metavar if action.option_strings else ""
            choices = ", ".join(map(_code, action.choices or ()))
            text = (action.help or "") % {"default": action.default, "prog": parser.prog} if action.help else ""
            rows.append((_code(f"{names} {value or ''}".strip()), sentence(text) + (f" One of {choices}." if choices else "")))
    if rows:
        yield from (*markdown_table(("argument", "meaning"), rows), "")
    if parser.epilog:
        yield from (" ".join(parser.epilog.split()), "")
    for subparser in inner:
        yield from _command(subparser, level + "#" if level == "##" else level)


def plugins() -> Iterator[str]:
    """What the distributions of this house register."""
    yield from ("# The plugins of this house", "")
    yield from ("`{type: NAME, ...}` with the options below; a type without options is short for `NAME` alone. Each has a README with the reasons.", "")
    loader = PluginLoader()
    for kind in (kind for kind in GROUPS if kind != "observer"):
        found = [plugin for plugin in installed() if plugin.kind == kind and plugin.distribution in _ours()]
        if found:
            yield from (f"## {plural(kind)}", "")
            for group in _same(found, loader):
                yield from _type(group, loader.registration(kind, group[0].type))


def _same(found: list[InstalledPlugin], loader: PluginLoader) -> Iterator[list[InstalledPlugin]]:
    """Yield plugins together whose options are the same."""
    groups: dict[int, list[InstalledPlugin]] = {}
    for plugin in found:
        groups.setdefault(id(loader.registration(plugin.kind, plugin.type).schema), []).append(plugin)
    yield from groups.values()


def _type(group: list[InstalledPlugin], registration: Registration[Any, Any, Any]) -> Iterator[str]:
    folder = group[0].distribution.removeprefix("outline-lb-")
    yield from (f"### {', '.join(plugin.type for plugin in group)}", "")
    yield f"From [{group[0].distribution}](../../plugins/{folder}/README.md)."
    if registration.schemes:
        yield f"URLs: {', '.join(f'`{scheme}://`' for scheme in registration.schemes)}."
    yield ""
    lines = list(Tables(registration.schema).table(registration.schema))
    yield from (*lines, "") if lines else ("No options.", "")


def _ours() -> set[str]:
    files = ROOT.glob("plugins/*/pyproject.toml")
    return {tomllib.loads(file.read_text("utf-8"))["project"]["name"] for file in files}


def hooks() -> Iterator[str]:
    """What hookspecs says."""
    yield from ("# The hooks", "", *_prose(hookspecs.__doc__), "")
    for name, hook in vars(hookspecs).items():
        if inspect.isfunction(hook) and name.startswith("outline_lb_"):
            signature = re.sub(r"'|outline_lb\.\w+\.\w+\.", "", str(inspect.signature(hook)))
            yield from (f"## {name}", "", "```text", f"{name}{signature}", "```", "", *_prose(hook.__doc__), "")


def error_pages() -> Iterator[str]:
    """What errors and the SOCKS5 frontend say."""
    from outline_lb_frontend_socks5.protocol import REPS, Rep

    yield from ("# Errors", "", "## Exit codes", "", *_exit_codes(), "")
    yield from ("## What a message looks like", "", "```text", "outline-lb: FILE:LINE:COLUMN: /pointer/of/the/node: what is wrong, and what would be right", "```")
    yield from ("", "All that is wrong with a configuration is told at once, a line each. No value of yours is in a message where it might be a secret.", "")
    yield from ("## The classes", "", *_prose(errors.__doc__), "")
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, errors.OutlineLBError) and value.__module__ == errors.__name__:
            yield from (f"### {name}", "", *_prose(value.__doc__), "")
    yield from ("## What a SOCKS5 client is told", "", "The field REP of the answer (RFC 1928 section 6):", "")
    reasons = {rep: reason for reason, rep in REPS.items()}
    yield from markdown_table(
        ("REP", "name", "when"),
        [(str(int(rep)), rep.name.lower().replace("_", " "), f"The target: {reasons[rep].value}." if rep in reasons else "") for rep in Rep],
    )
    yield from ("", "Behind a server's tunnel only the server knows why a target was not reached, and it does not tell: the stream then ends without a byte.")


def log_lines() -> Iterator[str]:
    """Every call of a logger in the sources."""
    yield from ("# Log lines", "", "What is written to standard error, by the room that writes it. Fields without a value are left out.", "")
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path in [*ROOT.glob("core/outline_lb/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        room = next((ast.literal_eval(node.args[0]) for node in ast.walk(tree) if _calls(node, "structlog", "get_logger") and node.args), None)
        if room:
            found.setdefault(room, set()).update(_log_calls(tree))
    for room, lines in sorted(found.items()):
        yield from (f"## {room}", "", *markdown_table(("line", "level", "fields"), sorted(lines)), "")


def _log_calls(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(tree):
        for level in ("debug", "info", "warning", "error", "exception"):
            if _calls(node, "log", level):
                fields = ", ".join(_code(word.arg) for word in node.keywords if word.arg and word.arg != "exc_info")
                for text in ast.walk(node.args[0]):
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        yield text.value, "error" if level == "exception" else level, fields


def _calls(node: ast.AST, owner: str, name: str) -> Any:
    """Tell whether a node is a call of ``owner.name``."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"{owner}.{name}"


def _exit_codes() -> Iterator[str]:
    (paragraph,) = [part for part in inspect.cleandoc(cli.__doc__ or "").split("\n\n") if part.startswith("Exit codes: ")]
    codes = paragraph.removeprefix("Exit codes: ").rstrip(".").replace("\n", " ").split("; ")
    yield from markdown_table(("exit code", "meaning"), [(code.split()[0], sentence(code.split(maxsplit=1)[1])) for code in codes])


def _prose(docstring: str | None) -> Iterator[str]:
    """Yield a docstring as Markdown: literals, literal blocks, and the fields as a list."""
    block = False
    for line in inspect.cleandoc(docstring or "").splitlines():
        if block and line and not line.startswith(" "):
            block = False
            yield from ("```", "")
        if not block and line.endswith("::"):
            block = True
            yield from ([line[:-1]] if line != "::" else [])
            yield from ("", "```text")
        elif block:
            yield line
        else:
            field = re.fullmatch(r":(\w+)(?: (\w+))?: ?(.*)", line)
            yield re.sub(r"``(.+?)``", r"`\1`", f"* {_code(field[2]) if field[2] else field[1]}: {field[3]}" if field else line)
    if block:
        yield "```"


def _code(text: object) -> str:
    return f"`{text}`"


PAGES: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "configuration": configuration,
    "command-line": command_line,
    "plugins": plugins,
    "hooks": hooks,
    "errors": error_pages,
    "log-lines": log_lines,
}


if __name__ == "__main__":
    sys.exit(main())
