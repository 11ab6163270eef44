"""The loggers that modules hold: which rooms there are, and what is cheap in them.

structlog's loggers find out at each call how they were configured, which costs microseconds even for a line that is not shown. So a level that a
room does not show is covered, on the logger itself, by a function that does nothing.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import structlog

from .levels import LEVELS, PYTHON, Levels

_Logger: Final = type(structlog.get_logger())


def known_rooms() -> list[str]:
    """Return the rooms of the modules that were imported, in order."""
    return sorted({PYTHON, *filter(None, map(_room, _loggers()))})


def mute(levels: Levels) -> None:
    """Make the lines that are not shown cheap, and only those. Works for modules that were imported before."""
    for logger in _loggers():
        hidden = levels.hidden(_room(logger))
        vars(logger).update(dict.fromkeys(hidden, _nothing))
        for level in set(LEVELS).difference(hidden):
            vars(logger).pop(level, None)


def unmute() -> None:
    """Undo `mute`."""
    for logger in _loggers():
        for level in LEVELS:
            vars(logger).pop(level, None)


def _loggers() -> list[Any]:
    modules = [getattr(module, "__dict__", {}) for module in list(sys.modules.values())]
    return [value for names in modules for value in list(names.values()) if type(value) is _Logger]


def _room(logger: Any) -> str:
    return str(next(iter(logger._logger_factory_args), ""))  # noqa: SLF001 - structlog tells it nobody


def _nothing(*_values: object, **_fields: object) -> None: ...
