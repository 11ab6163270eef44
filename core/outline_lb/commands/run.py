"""``outline-lb run``: the proxy itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .. import logs
from .common import add_config, find_config, names, run_async

if TYPE_CHECKING:
    from .common import Commands


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("run", help="run the proxy (the default command)", description="Run the proxy until SIGINT or SIGTERM.")
    add_config(parser)
    parser.add_argument("--plugins", metavar="NAMES", type=names, default=[], help="plugins to use besides those that the configuration selects")
    parser.add_argument("--log-level", choices=logs.LEVELS, help="least important lines to show; default: info")
    parser.add_argument("--log-format", choices=logs.FORMS, help="auto: coloured columns on a terminal, else JSON")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run until a signal ends it."""
    from ..app import App
    from ..config.load import load

    settings, notifier = load(options.config or find_config(), options.plugins)
    logs.configure(options.log_level or settings.log.level, options.log_format or settings.log.format)
    run_async(App(settings, notifier).run)
    return 0
