"""``outline-lb schema``: what a configuration may say, for editors."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from .common import names

if TYPE_CHECKING:
    from .common import Commands

ALL = "all"


def add(commands: Commands) -> None:
    """Describe the command."""
    description = "Print the JSON Schema (2020-12) of configurations. Editors take it: # yaml-language-server: $schema=FILE"
    parser = commands.add_parser("schema", help="print the JSON Schema of configurations, for editors", description=description)
    parser.add_argument(
        "--plugins", metavar="NAMES", type=names, default=[ALL], help=f"plugins whose types it knows; {ALL}: those that are installed; default: {ALL}"
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Print it."""
    from ..config.bundle import bundle
    from ..plugin.loader import PluginLoader

    loader = PluginLoader()
    chosen = [plugin.name for plugin in loader.catalog.available] if options.plugins == [ALL] else options.plugins
    pairs = sorted({pair for name in chosen for pair in loader.select(name)})
    schema = bundle((kind, loader.registration(kind, name)) for kind, name in pairs if kind != "observer")
    json.dump(schema, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0
