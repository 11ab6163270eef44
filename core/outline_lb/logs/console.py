"""Log lines for people, in columns: time, level, room, event, fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_COLUMNS: Final = {"level": 7, "logger": 14, "event": 24}
"""Characters of what stands in front of the fields."""
_OWN: Final = {*_COLUMNS, "timestamp", "exception", "details"}
_QUOTED: Final = frozenset(" \"'=")


class Console:
    """Makes lines of events.

    :param colours: whether the output understands SGR codes
    """

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, event: Mapping[str, Any]) -> str:
        """Return a line, and more under it if there is a traceback; nothing in it controls a terminal but our own colours."""
        level, room, what = (escaped(str(event[name])).ljust(width) for name, width in _COLUMNS.items())
        fields = [f"{self._paint(escaped(key) + '=', '2')}{shown(value)}" for key, value in event.items() if key not in _OWN]
        time = self._paint(str(event["timestamp"]), "2")
        head = [time, self._paint(level, _COLOURS.get(level.strip(), "")), self._paint(room, "36"), self._paint(what, "1")]
        line = " ".join([*head, *fields]).rstrip()
        below = [str(event[key]) for key in ("details", "exception") if key in event]
        return "\n".join([line, *(f"    {escaped(text)}" for block in below for text in block.splitlines())])

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours and code else text


def shown(value: object) -> str:
    """Return a field's value, in quotes where its end could not be told otherwise."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    text = str(value)
    plain = escaped(text)
    if text and plain == text and _QUOTED.isdisjoint(text):
        return text
    return '"' + plain.replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    """Return a text in which everything that cannot be printed, such as line ends, escape sequences and changes of direction, is spelled out."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode() for char in text)
