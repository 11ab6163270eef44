"""What the commands share: where the configuration is, and how async code is run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio
import structlog

from ..base.errors import ConfigError, OutlineLBError, Problem

if TYPE_CHECKING:
    from ..config.overrides import Override
    from ..config.settings import Settings

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - typeshed gives it no other name

FILE_NAME: Final = "outline-lb.yaml"

T = TypeVar("T")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration."""
    places = ", ".join(map(str, config_places()))
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help=f"configuration; default: the first of {places}")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what goes over the configuration: names of plugins, and single values."""
    parser.add_argument("--plugins", metavar="NAMES", type=names, default=[], help="plugins to use besides those that the configuration selects")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        dest="values",
        action="append",
        default=[],
        help="a value that goes over that of the file, such as pools.main.health.interval=2s; "
        "OUTLINE_LB__POOLS__MAIN__HEALTH__INTERVAL=2s in the environment does the same, and is the place for secrets: others can read command lines",
    )


def overrides(options: argparse.Namespace) -> list[Override]:
    """Return the values that go over the configuration: those of the environment, then those of the command line.

    :param options: what `add_settings` described
    :raises ConfigError: if one is no PATH=VALUE
    """
    from ..config.overrides import from_environment, parse_option

    return [*from_environment(os.environ), *map(parse_option, options.values)]


def tell_warnings(settings: Settings) -> None:
    """Log what is not wrong with a configuration, but should be known."""
    for warning in settings.warnings:
        structlog.get_logger("config").warning("configuration warning", problem=str(warning))


def names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def config_places() -> list[Path]:
    """Return where a configuration is looked for when none is named, in order."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [Path(FILE_NAME), home / "outline-lb" / FILE_NAME, Path("/etc/outline-lb") / FILE_NAME]


def find_config() -> Path:
    """Return the configuration to use when none is named.

    :raises ConfigError: if there is none
    """
    places = config_places()
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(Problem(f"no configuration: name one with -c FILE, or write one of {', '.join(map(str, places))}"))


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end, on uvloop where that is installed.

    :raises OutlineLBError: which the function raised, perhaps from a task of its own
    """
    try:
        return anyio.run(function, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except BaseExceptionGroup as group:  # not `except*`, in which a raise may end in a group again
        ours = group.subgroup(OutlineLBError)
        if ours is None:
            raise
        raise _first(ours) from None


def _first(error: BaseExceptionGroup[OutlineLBError] | OutlineLBError) -> OutlineLBError:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
