"""Puts the parts together, for the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from ..base.errors import describe
from .console import Console
from .levels import Levels
from .python import Forwarder
from .repeats import Repeats
from .rooms import known_rooms, mute, unmute
from .writer import Writer

FORMS: Final = ("auto", "console", "json")
CLOSE_TIME: Final = 1.0
"""Seconds that the last lines have to get written."""


class Journal:
    """The log of the whole process: a context manager, to be told by `configure` what is wanted, once or again.

    :param output: where to; None: nowhere (as `sys.stderr` is if it was closed before the start)
    """

    def __init__(self, output: TextIO | None) -> None:
        _fill_standard_descriptors()
        self._terminal = output is not None and output.isatty()
        self._encode = partial(_encode, _json, _time)
        self._writer = Writer(_writing_to(output), self._lost)
        self._repeats = Repeats(self._put, _later)
        self._forwarder = Forwarder()

    def __enter__(self) -> Self:
        self._forwarder.attach()
        return self

    def configure(self, levels: Levels, form: str) -> None:
        """Say what is shown, and how.

        :param levels: what is shown
        :param form: ``console``, ``json``, or ``auto``: console if the output is a terminal
        """
        if form == "console" or (form == "auto" and self._terminal):
            self._encode = partial(_encode, Console(colours=self._terminal and _colours_wanted()), _time_for_people)
        else:
            self._encode = partial(_encode, _json, _time)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                _add_room,
                _simplify,
                self._repeats,
                structlog.processors.format_exc_info,
                self._last,
            ],
            wrapper_class=cast("type[structlog.typing.BindableLogger]", partial(_bind, levels)),  # a class for each room
            logger_factory=partial(_Room, self._writer),
        )
        mute(levels)
        self._forwarder.configure(levels)
        known = known_rooms()
        for room in sorted(levels.rooms.keys() - known):
            structlog.get_logger("app").warning("log level of an unknown room", room=room, known=known)

    def __exit__(self, *_: object) -> None:
        self._forwarder.detach()
        self._repeats.end_all()
        unmute()
        structlog.reset_defaults()
        self._writer.close(CLOSE_TIME)

    def _last(self, _room: object, _method: str, event: EventDict) -> bytes:
        return self._encode(event)

    def _put(self, event: EventDict) -> None:
        self._writer.put(self._encode(event))

    def _lost(self, lines: int) -> bytes:
        return self._encode({"level": "warning", "logger": "app", "event": "log lines lost", "lines": lines})


class _Room:
    """Where structlog's loggers of one room put their lines."""

    def __init__(self, writer: Writer, name: str = "", *_: object) -> None:
        self.name = name
        self.msg = writer.put

    def __getattr__(self, _level: str) -> Callable[[bytes], None]:
        return self.msg


def _fill_standard_descriptors() -> None:
    """Let no socket become standard error where that was closed: libuv aborts, and a peer would get what the interpreter writes there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _bind(levels: Levels, room: _Room, processors: list[Processor], context: dict[str, Any]) -> object:
    level = logging.getLevelNamesMapping()[levels.of(room.name).upper()]
    bound: Callable[..., object] = structlog.make_filtering_bound_logger(level)
    return bound(room, processors, context)


def _later(seconds: float, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # no loop runs here
        asyncio.get_running_loop().call_later(seconds, call)


def _writing_to(stream: TextIO | None) -> Callable[[memoryview], int]:
    """Return what writes to a stream, past all its buffers: a thread that hangs must not hold one of their locks when the program ends."""
    if stream is None:
        return len
    with contextlib.suppress(io.UnsupportedOperation):
        return partial(os.write, stream.fileno())

    def write(data: memoryview) -> int:
        stream.write(str(data, "utf-8"))
        return len(data)

    return write


def _add_room(room: _Room, _method: str, event: EventDict) -> EventDict:
    event["logger"] = room.name
    return event


def _simplify(_room: object, _method: str, event: EventDict) -> EventDict:
    """Leave out what is None, and write out what is no number: callers hand over addresses and URLs as they are, which costs nothing if hidden."""
    return {key: value if key == "exc_info" else _simple(value) for key, value in event.items() if value is not None}


def _simple(value: object) -> object:
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(item) for item in value]
    return describe(value) if isinstance(value, BaseException) else str(value)


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_for_people() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")[11:23]


def _colours_wanted() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, default=str)


def _encode(render: Callable[[Mapping[str, Any]], str], time: Callable[[], str], event: EventDict) -> bytes:
    """Return the line of an event."""
    head = {"timestamp": time(), "level": event["level"], "logger": event["logger"], "event": event["event"]}
    return f"{render({**head, **event})}\n".encode(errors="backslashreplace")
