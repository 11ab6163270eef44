"""Where log lines go and how they look: coloured columns on a terminal, JSON otherwise."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor

LEVELS: Final = ("debug", "info", "warning", "error")
FORMS: Final = ("auto", "console", "json")


def configure(level: str, form: str, output: TextIO | None = None) -> None:
    """Set up logging for the whole process.

    :param level: one of `LEVELS`
    :param form: ``console``, ``json``, or ``auto``: console if the output is a terminal
    :param output: where to; None: standard error
    """
    stream = output or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: Processor = structlog.processors.JSONRenderer()
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=24)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_room,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            _drop_empty,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda room="", *_: _Output(room, stream),
    )


class _Output:
    """Writes lines; a full disk or a closed pipe loses the line, never the traffic."""

    def __init__(self, room: str, stream: TextIO) -> None:
        self.room = room
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def _add_room(output: _Output, _method: str, event: EventDict) -> EventDict:
    event["logger"] = output.room
    return event


def _drop_empty(_output: _Output, _method: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if value is not None}
