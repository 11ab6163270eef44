"""How important a line must be to be shown, room by room. A room is the name that a logger was made with."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")
PYTHON: Final = "python"
"""The room of what libraries and Python itself have to say."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The least important lines that are shown.

    :param default: in rooms that are not mentioned, one of `LEVELS`; in `PYTHON`, ``warning`` at least
    :param rooms: level by name of the room
    """

    default: str = "info"
    rooms: Mapping[str, str] = field(default_factory=dict)

    def of(self, room: str) -> str:
        """Return the level of a room."""
        usual = max(self.default, "warning", key=LEVELS.index) if room == PYTHON else self.default
        return self.rooms.get(room, usual)

    def hidden(self, room: str) -> tuple[str, ...]:
        """Return the levels that a room does not show."""
        return LEVELS[: LEVELS.index(self.of(room))]


def parse_levels(text: str) -> Levels:
    """Read levels as the command line has them: ``warning``, ``info,net=debug``, ``net=debug,policy=warning``.

    :raises ArgumentTypeError: if a level is none
    """
    default, rooms = Levels().default, {}
    for part in text.split(","):
        room, is_room, level = (word.strip() for word in part.rpartition("="))
        if level not in LEVELS or (is_room and not room):
            raise ArgumentTypeError(f"{part.strip()!r} is no level: write {', '.join(LEVELS)}, or info,net=debug for other ones in single rooms")
        if is_room:
            rooms[room] = level
        else:
            default = level
    return Levels(default, rooms)
