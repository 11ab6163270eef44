"""``outline-lb plugins``: what is installed, and what one of them can be told."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config.options import Option
    from ..plugin.discovery import InstalledPlugin
    from ..plugin.registration import Registration
    from .common import Commands

COLUMNS = ("kind", "type", "distribution", "version")
MAX_WIDTH = 120


def add(commands: Commands) -> None:
    """Describe the command."""
    description = "Say which plugins are installed, and what they can be told."
    parser = commands.add_parser("plugins", help="say which plugins are installed", description=description)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    everything = actions.add_parser("list", help="all that are installed", description="List every plugin that is installed. None is imported.")
    everything.add_argument("--json", action="store_true", help="as JSON, for programs")
    everything.set_defaults(execute=execute_list)
    one = actions.add_parser("show", help="one of them: its options, and an example", description="Show one plugin. It alone is imported.")
    one.add_argument("name", metavar="NAME", help="a type (ws-h1), or a kind and a type (policy-fastest)")
    one.set_defaults(execute=execute_show)


def execute_list(options: argparse.Namespace) -> int:
    """List what is installed."""
    from ..plugin.discovery import installed

    rows = [(plugin.kind, plugin.type, plugin.distribution, plugin.version) for plugin in installed()]
    if options.json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=2))
        return 0
    if not rows:
        print("outline-lb: no plugin is installed: pip install 'outline-lb[client]'", file=sys.stderr)
        return 0
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for index, row in enumerate((COLUMNS, *rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(line if index else _bold(line))
    return 0


def execute_show(options: argparse.Namespace) -> int:
    """Show one."""
    from ..plugin.loader import PluginLoader

    loader = PluginLoader()
    pairs = loader.select(options.name)
    known = {(plugin.kind, plugin.type): (plugin, registration) for plugin, registration in loader.catalog.entries.items()}
    others = [f"{kind} {name}" for kind, name in known if (kind, name) not in pairs]
    for index, pair in enumerate(pairs):
        if index:
            print()
        for line in _about(*known[pair], others):
            print(line)
    return 0


def _about(plugin: InstalledPlugin, registration: Registration[Any, Any, Any] | None, others: Sequence[str]) -> Iterator[str]:
    """Yield the lines about one type."""
    yield _bold(f"{plugin.kind} {plugin.type}")
    yield f"  distribution  {plugin.origin}"
    yield f"  module        {plugin.module}"
    if others:
        yield from _wrapped(", ".join(others), "  also offers   ", " " * 16)
    if registration is None:
        yield ""
        yield "It is told what happens, and has no options. To use it:"
        yield from ("", "  plugins:", f"  - {plugin.name}")
        return
    if registration.schemes:
        yield f"  URLs          {', '.join(f'{scheme}://' for scheme in registration.schemes)}"
    yield ""
    yield from _options(plugin.kind, registration)


def _options(kind: str, registration: Registration[Any, Any, Any]) -> Iterator[str]:
    from ..config.example import example
    from ..config.options import describe_options
    from ..config.schema import Schema

    schema = Schema(registration.schema, f"{kind} {registration.type}")
    options = list(describe_options(registration.schema, schema.lookup))
    yield _bold("Options") if options else "It has no options."
    for option in options:
        yield from _option(option)
    text = example(kind, registration)
    if text is not None:
        yield ""
        yield _bold("Example")
        yield from textwrap.indent(text, "  ").splitlines()


def _option(option: Option) -> Iterator[str]:
    default = "required" if option.required else f"default: {option.default}" if option.default is not None else "optional"
    first, *rest = _wrapped(f"{option.value}; {default}", f"  {option.name}  ", " " * 6)
    yield first.replace(option.name, _bold(option.name), 1)  # what makes it bold takes no room
    yield from rest
    yield from _wrapped(option.description, " " * 6, " " * 6)


def _wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    """Yield a text in lines that fit the terminal."""
    width = min(shutil.get_terminal_size((100, 24)).columns, MAX_WIDTH)
    yield from textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)


def _bold(text: str) -> str:
    """Return the text, bold on a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
