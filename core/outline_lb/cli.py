"""The command line: arguments in, exit code out.

Exit codes: 0 all went well; 1 something from the system is not to be had (a port, a file); 2 the configuration, the command line or a plugin
is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeVar

import anyio

from . import __version__, logs
from .base.errors import ConfigError, OutlineLBError, PluginError, Problem, StartError

FAILED: Final = 1
WRONG: Final = 2
FILE_NAME: Final = "outline-lb.yaml"

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    :param arguments: the command line without the program's name; None: this process's
    :return: the exit code
    """
    options = _parser().parse_args(_with_command(sys.argv[1:] if arguments is None else list(arguments)))
    try:
        return int(options.function(options))
    except (ConfigError, PluginError) as error:
        return _fail(error, WRONG)
    except OutlineLBError as error:
        return _fail(error, FAILED)
    except KeyboardInterrupt:
        return FAILED


def _fail(error: OutlineLBError, code: int) -> int:
    for line in str(error).splitlines():
        print(f"outline-lb: {line}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outline-lb",
        description="One local proxy over several Outline servers: always the fastest, the next one when it fails.",
        epilog="Without a command: run. Start with `outline-lb demo`, or read the tutorial in docs/tutorial.",
    )
    parser.add_argument("--version", action="version", version=f"outline-lb {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run the proxy (the default command)", description="Run the proxy until SIGINT or SIGTERM.")
    run.add_argument("-c", "--config", metavar="FILE", type=Path, help=f"configuration; default: the first of {_places()}")
    run.add_argument("--plugins", metavar="NAMES", type=_names, default=[], help="plugins to use besides those that the configuration selects")
    run.add_argument("--log-level", choices=logs.LEVELS, help="least important lines to show; default: info")
    run.add_argument("--log-format", choices=logs.FORMS, help="auto: coloured columns on a terminal, else JSON")
    run.set_defaults(function=_run)

    demo = commands.add_parser("demo", help="show what it does, on this machine alone", description="Three servers, one client, one accident.")
    demo.add_argument("--once", action="store_true", help="end after the story instead of waiting for you to try it")
    demo.set_defaults(function=_demo)
    return parser


def _with_command(arguments: list[str]) -> list[str]:
    """Put ``run`` in front, unless there is a command or the program itself is asked."""
    known = {"run", "demo", "-h", "--help", "--version"}
    return arguments if arguments and arguments[0] in known else ["run", *arguments]


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _places() -> str:
    return ", ".join(str(place) for place in config_places())


def config_places() -> list[Path]:
    """Return where a configuration is looked for when none is named, in order."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [Path(FILE_NAME), home / "outline-lb" / FILE_NAME, Path("/etc/outline-lb") / FILE_NAME]


def _find_config() -> Path:
    for place in config_places():
        if place.is_file():
            return place
    raise ConfigError(Problem(f"no configuration: name one with -c FILE, or write one of {_places()}"))


def _run(options: argparse.Namespace) -> int:
    from .app import App
    from .config.load import load

    settings, notifier = load(options.config or _find_config(), options.plugins)
    logs.configure(options.log_level or settings.log.level, options.log_format or settings.log.format)
    run_async(App(settings, notifier).run)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo.story import tell

    return run_async(partial(tell, options.once))


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end, on uvloop where that is installed.

    :raises StartError: which the function raised, perhaps from a task of its own
    """
    try:
        return anyio.run(function, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except* StartError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[StartError]) -> StartError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
