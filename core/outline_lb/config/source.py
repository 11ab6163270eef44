"""Configuration files as plain data, with the place of every node. What the data means is nobody's business here."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..base.errors import ConfigError, Problem, describe
from .reader import Node, Place, TextError, read_node, read_value

MAX_SIZE: Final = 512 * 1024
"""Bytes of a file."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as plain data: mappings with text as keys, lists, text, numbers, booleans, None.

    :param data: the data
    :param places: JSON pointer to where it stands; a member of a mapping stands where its key does
    :param file: where it was read from; "" if from no file
    :param exposed: whether other users can read that file
    :param origins: JSON pointer to who gave the node, where it was not the file (see `overrides`)
    """

    data: Mapping[str, Any]
    places: Mapping[str, Place]
    file: str = ""
    exposed: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, pointer: str) -> str:
        """Return who gave a node, or would; "" if that is the file."""
        return self.origins.get(self._nearest(pointer), "")

    def place(self, pointer: str) -> Place:
        """Return where a node stands, or would: the place of the nearest node around it that was written."""
        return self.places.get(self._nearest(pointer), (0, 0))

    def problem(self, pointer: str, message: str) -> Problem:
        """Return a problem with its place."""
        return Problem(message, pointer, self.origin(pointer) or self.file, *self.place(pointer))

    def _nearest(self, pointer: str) -> str:
        while pointer and pointer not in self.places and pointer not in self.origins:
            pointer = pointer.rpartition("/")[0]
        return pointer


def join(pointer: str, *keys: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of something inside a node."""
    return pointer + "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def read_document(file: Path) -> Document:
    """Read a configuration file.

    :raises ConfigError: if it cannot be read, or is not what `parse_document` takes
    """
    try:
        with file.open("rb") as source:
            exposed = is_exposed(source.fileno())
            raw = source.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {describe(error)}", file=str(file))) from None
    return parse_document(raw, str(file), exposed)


def is_exposed(descriptor: int) -> bool:
    """Return whether an open file is one that other users of this machine can read."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISREG(mode) and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def parse_document(raw: bytes, file: str = "", exposed: bool = False) -> Document:
    """Read YAML.

    :param raw: the text in UTF-8
    :param file: where it is from, for messages
    :param exposed: whether other users can read that file
    :raises ConfigError: if it is not YAML, not one mapping, or too big
    """
    if len(raw) > MAX_SIZE:
        raise ConfigError(Problem(f"more than {MAX_SIZE // 1024} KiB: this is no configuration", file=file))
    try:
        root = read_node(_decode(raw))
    except TextError as error:
        raise ConfigError(Problem(str(error), file=file, line=error.place[0], column=error.place[1])) from None
    places: dict[str, Place] = {}
    return Document(_expand(root, "", root.place, places), places, file, exposed)


def parse_value(text: str) -> Any:
    """Read a single value (see `reader.read_value`) to plain data.

    :raises ValueError: if it is none
    """
    try:
        return _expand(read_value(_checked(text)), "", (0, 0), {})
    except TextError as error:
        raise ValueError(str(error)) from None


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError("this is not UTF-8 text", _place(raw[: error.start].decode("utf-8", "replace"))) from None
    return _checked(text)


def _checked(text: str) -> str:
    if found := _FORBIDDEN.search(text):
        what = "a NUL byte" if found[0] == "\0" else f"the control character U+{ord(found[0]):04X}"
        raise TextError(f"{what} does not belong into a text file", _place(text[: found.start()]))
    return text


def _place(before: str) -> Place:
    lines = _LINE_BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


def _expand(node: Node, pointer: str, place: Place, places: dict[str, Place]) -> Any:
    """Return plain data in which nothing is shared, and enter the places."""
    places[pointer] = place
    if isinstance(node.value, dict):
        return {key: _expand(member, join(pointer, key), where, places) for key, (where, member) in node.value.items()}
    if isinstance(node.value, list):
        return [_expand(item, join(pointer, index), item.place, places) for index, item in enumerate(node.value)]
    return node.value
