"""The command line: arguments in, exit code out.

Exit codes: 0 all went well; 1 something from the system is not to be had (a port, a file); 2 the configuration, the command line or a plugin
is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from . import __version__
from .base.errors import ConfigError, OutlineLBError, PluginError
from .commands import check, demo, keys, plugins, run, schema

FAILED: Final = 1
WRONG: Final = 2
COMMANDS: Final = (run, check, keys, plugins, schema, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    :param arguments: the command line without the program's name; None: this process's
    :return: the exit code
    """
    options = _parser().parse_args(_with_command(sys.argv[1:] if arguments is None else list(arguments)))
    try:
        return int(options.execute(options))
    except (ConfigError, PluginError) as error:
        return _fail(error, WRONG)
    except OutlineLBError as error:
        return _fail(error, FAILED)
    except BrokenPipeError:  # whoever read our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return FAILED
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
    for command in COMMANDS:
        command.add(commands)
    return parser


def _with_command(arguments: list[str]) -> list[str]:
    """Put ``run`` in front, unless there is a command or the program itself is asked."""
    known = {command.__name__.rpartition(".")[2] for command in COMMANDS} | {"-h", "--help", "--version"}
    return arguments if arguments and arguments[0] in known else ["run", *arguments]
