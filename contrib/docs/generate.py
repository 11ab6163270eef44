"""Writes docs/reference from the code: from schemas, argparse, hookspecs and docstrings. Run it as ``python -m contrib.docs.generate``.

With ``--check`` it writes nothing, and fails where a page is not what it would write.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from outline_lb import cli
from outline_lb.base import errors
from outline_lb.config.options import Option, describe_options
from outline_lb.config.schema import Schema, envelope
from outline_lb.plugin import hookspecs
from outline_lb.plugin.discovery import GROUPS, InstalledPlugin, installed
from outline_lb.plugin.loader import PluginLoader
from outline_lb.plugin.registration import Registration

from .markdown import code, prose, sentence, table

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
        text = re.sub(r"\n{3,}", "\n\n", "\n".join([_NOTE, "", *page()])).rstrip() + "\n"
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
    contents = _schema_file("config")
    sections: dict[str, list[Option]] = {}
    for option in describe_options(contents, envelope().lookup):
        sections.setdefault(option.name.partition(".")[0], []).append(option)
    yield from ("# The configuration", "")
    yield "One YAML file. NAME stands for any name that you give, `[]` for each item of a list. Durations are written as in `20ms`,"
    yield from ("`5s`, `1m30s`.", "")
    yield "What a plugin's type adds to its node is in [plugins](plugins.md); where the file is looked for and how it is read, in"
    yield from ("[the explanation](../explanation/configuration.md).", "")
    for name, options in sections.items():
        yield from (f"## {name}", "", *_options(options), "")
    yield from ("## x-", "", "Keys of the whole document that begin with `x-` are ignored: a place for YAML anchors.", "")
    yield from ("## Secrets", "", "A secret is written as text, or better, as a mapping that says where it is:", "")
    yield from _options(describe_options(_schema_file("defs")["$defs"]["secret-source"], envelope().lookup))


def _options(options: Iterable[Option]) -> Iterator[str]:
    rows = [(code(option.name), option.value, _default(option), sentence(option.description)) for option in options]
    yield from table(("key", "value", "default", "meaning"), rows) if rows else ["No options."]


def _default(option: Option) -> str:
    if option.required:
        return "required"
    return "" if option.default in {None, "{}"} or option.default.startswith("{") else code(option.default.strip('"') or '""')


def _schema_file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("outline_lb_schemas") / f"{name}.schema.json").read_text("utf-8"))
    return found


def command_line() -> Iterator[str]:
    """What argparse knows."""
    yield from ("# The command line", "")
    parser = cli._parser()  # noqa: SLF001 - the program's own
    yield from _command(parser, "##")
    yield from ("## Exit codes", "", *_exit_codes())


def _usage(parser: argparse.ArgumentParser) -> str:
    words = [parser.prog, "[OPTION ...]"]
    for action in vars(parser)["_actions"]:
        if not action.option_strings:
            name = str(action.metavar)
            words.append(f"[{name} ...]" if action.nargs == "*" else f"{name} ..." if action.choices else name)
    return " ".join(words)


def _command(parser: argparse.ArgumentParser, level: str) -> Iterator[str]:
    yield from (f"{level} {parser.prog}", "", parser.description or "", "", "```text", _usage(parser), "```", "")
    inner: list[argparse.ArgumentParser] = []
    rows = []
    for action in vars(parser)["_actions"]:
        if isinstance(action.choices, dict):
            inner += action.choices.values()
        elif action.dest != "help":
            names = ", ".join(action.option_strings) or str(action.metavar)
            value = action.metavar if action.option_strings and action.metavar else ""
            choices = f" One of {', '.join(map(code, action.choices))}." if action.choices else ""
            text = (action.help or "").replace("%(prog)s", parser.prog).replace("%%", "%")
            rows.append((code(f"{names} {value}".strip()), sentence(text) + choices))
    if rows:
        yield from (*table(("argument", "meaning"), rows), "")
    if parser.epilog:
        yield from (" ".join(parser.epilog.split()), "")
    for subparser in inner:
        yield from _command(subparser, level + "#" if level == "##" else level)


def plugins() -> Iterator[str]:
    """What the distributions of this house register."""
    yield from ("# The plugins of this house", "")
    yield from (
        "`{type: NAME, ...}` with the options below; a type without options is short for `NAME` alone. Each has a README with the reasons.",
        "",
    )
    loader = PluginLoader()
    for kind in (kind for kind in GROUPS if kind != "observer"):
        found = [plugin for plugin in installed() if plugin.kind == kind and plugin.distribution in _ours()]
        if found:
            yield from (f"## {GROUPS[kind].rpartition('.')[2]}", "")
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
    names = [plugin.type for plugin in group if "_" not in plugin.type]
    others = [code(plugin.type) for plugin in group if plugin.type not in names]
    yield from (f"### {', '.join(names)}", "")
    yield f"From [{group[0].distribution}](../../plugins/{folder}/README.md)."
    if registration.schemes:
        yield f"URLs: {', '.join(f'`{scheme}://`' for scheme in registration.schemes)}."
    if others:
        yield f"Also written {', '.join(others)}."
    yield ""
    schema = Schema(registration.schema, group[0].name)
    yield from (*_options(describe_options(registration.schema, schema.lookup)), "")


def _ours() -> set[str]:
    files = ROOT.glob("plugins/*/pyproject.toml")
    return {tomllib.loads(file.read_text("utf-8"))["project"]["name"] for file in files}


def hooks() -> Iterator[str]:
    """What hookspecs says."""
    yield from ("# The hooks", "", *prose(hookspecs.__doc__), "")
    for name, hook in vars(hookspecs).items():
        if inspect.isfunction(hook) and name.startswith("outline_lb_"):
            signature = re.sub(r"'|outline_lb\.\w+\.\w+\.", "", str(inspect.signature(hook)))
            yield from (f"## {name}", "", "```text", f"{name}{signature}", "```", "", *prose(hook.__doc__), "")


def error_pages() -> Iterator[str]:
    """What errors and the SOCKS5 frontend say."""
    from outline_lb_frontend_socks5.protocol import REPS, Rep

    yield from ("# Errors", "", "## Exit codes", "", *_exit_codes(), "")
    yield from (
        "## What a message looks like",
        "",
        "```text",
        "outline-lb: FILE:LINE:COLUMN: /pointer/of/the/node: what is wrong, and what would be right",
        "```",
    )
    yield from (
        "",
        "All that is wrong with a configuration is told at once, a line each. No value of yours is in a message where it might be a secret.",
        "",
    )
    yield from ("## The classes", "", *prose(errors.__doc__), "")
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, errors.OutlineLBError) and value.__module__ == errors.__name__:
            yield from (f"### {name}", "", *prose(value.__doc__), "")
    yield from ("## What a SOCKS5 client is told", "", "The field REP of the answer (RFC 1928 section 6):", "")
    when = {rep: f"The target: {reason.value}." for reason, rep in REPS.items()} | {
        Rep.SUCCEEDED: "The way is open.",
        Rep.GENERAL_FAILURE: "Nobody knows more, as when no upstream could be reached.",
        Rep.COMMAND_NOT_SUPPORTED: "Any command but CONNECT.",
        Rep.ADDRESS_TYPE_NOT_SUPPORTED: "An address that is none of IPv4, IPv6 and name.",
    }
    yield from table(("REP", "name", "when"), [(str(int(rep)), rep.name.lower().replace("_", " "), when[rep]) for rep in Rep])
    yield from (
        "",
        "Behind a server's tunnel only the server knows why a target was not reached, and it does not tell: the stream then ends without a byte.",
    )


def log_lines() -> Iterator[str]:
    """Every call of a logger in the sources."""
    yield from ("# Log lines", "", "What is written to standard error, by the room that writes it. Fields without a value are left out.", "")
    yield "On a terminal lines are columns, elsewhere JSON. `--log-level info,balancer=debug` shows more of one room; in the"
    yield from ("configuration that is", "")
    yield from ("```yaml", "log: {level: info, rooms: {balancer: debug}}", "```", "")
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path in [*ROOT.glob("core/outline_lb/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        for call in _calls(tree, "structlog.get_logger"):
            if isinstance(call.args[0], ast.Constant):
                found.setdefault(str(call.args[0].value), set()).update(_log_calls(tree))
    for room, lines in sorted(found.items()):
        yield from (f"## {room}", "", *table(("line", "level", "fields"), sorted(lines)), "")


def _log_calls(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for level in ("debug", "info", "warning", "error", "exception"):
        for call in _calls(tree, f"log.{level}"):
            fields = ", ".join(code(word.arg) for word in call.keywords if word.arg and word.arg != "exc_info")
            for text in ast.walk(call.args[0]):
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield text.value, "error" if level == "exception" else level, fields


def _calls(tree: ast.Module, function: str) -> Iterator[ast.Call]:
    """Yield the calls of a function, such as ``log.info``, that have arguments."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) == function)


def _exit_codes() -> Iterator[str]:
    (paragraph,) = [part for part in inspect.cleandoc(cli.__doc__ or "").split("\n\n") if part.startswith("Exit codes: ")]
    codes = paragraph.removeprefix("Exit codes: ").rstrip(".").replace("\n", " ").split("; ")
    yield from table(("exit code", "meaning"), [(code.split()[0], sentence(code.split(maxsplit=1)[1])) for code in codes])


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
