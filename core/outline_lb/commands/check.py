"""``outline-lb check``: is this configuration right? Nothing is started, nothing connects."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import ConfigError, PluginError
from .common import add_settings, find_config, overrides

if TYPE_CHECKING:
    from .common import Commands


def add(commands: Commands) -> None:
    """Describe the command."""
    description = "Check configurations, and say everything that is wrong with them. Exit code 2 if anything is. Nothing is started."
    parser = commands.add_parser("check", help="check a configuration", description=description)
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="configurations; default: the one that run would take")
    add_settings(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Check each file."""
    from ..config.load import load

    code = 0
    values = overrides(options)
    for file in options.files or [find_config()]:
        try:
            settings, _ = load(file, options.plugins, values)
        except (ConfigError, PluginError) as error:
            code = 2
            _tell(str(error))
            continue
        for warning in settings.warnings:
            _tell(f"warning: {warning}")
        print(f"{file}: ok", flush=True)
    return code


def _tell(lines: str) -> None:
    for line in lines.splitlines():
        print(f"outline-lb: {line}", file=sys.stderr, flush=True)
