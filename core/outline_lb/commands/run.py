"""``outline-lb run``: the proxy itself."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from .. import logs
from .common import add_config, add_settings, find_config, overrides, run_async, tell_warnings

if TYPE_CHECKING:
    from ..app import App
    from ..config.settings import Settings
    from .common import Commands

ENDS: Final = (signal.SIGINT, signal.SIGTERM)


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = commands.add_parser("run", help="run the proxy (the default command)", description="Run the proxy until SIGINT or SIGTERM.")
    add_config(parser)
    add_settings(parser)
    parser.add_argument(
        "--log-level",
        metavar="LEVELS",
        type=logs.parse_levels,
        help=f"least important lines to show: {', '.join(logs.LEVELS)}; with other ones for single rooms: info,net=debug; default: info",
    )
    parser.add_argument("--log-format", choices=logs.FORMS, help="auto: coloured columns on a terminal, else JSON")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run until a signal ends it."""
    from ..app import App, Origin
    from ..config.load import load
    from ..plugin.loader import PluginLoader
    from ..running.watch import ConfigFile

    file = ConfigFile(options.config or find_config())
    plugins, values = PluginLoader(), overrides(options)

    def applied(settings: Settings) -> None:
        levels = options.log_level or logs.Levels(settings.log.level, settings.log.rooms)
        journal.configure(levels, options.log_format or settings.log.format)
        tell_warnings(settings)

    with logs.Journal(sys.stderr) as journal:
        origin = Origin(lambda: load(file.path, options.plugins, values, plugins), file, applied)
        settings, notifier = origin.load()
        applied(settings)
        run_async(partial(_run, App(settings, notifier, origin)))
    return 0


async def _run(app: App) -> None:
    """Run with the signals of a daemon: SIGHUP reloads; SIGTERM and SIGINT let flows end, the second of them ends now."""
    loop = asyncio.get_running_loop()
    for number in ENDS:
        loop.add_signal_handler(number, app.stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, app.reload, signal.SIGHUP.name)
    try:
        await app.run()
    finally:
        for number in (*ENDS, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # the process ends: what comes now must not change how
