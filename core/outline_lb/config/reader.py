"""YAML text to nodes, each with its place.

The text may be anything: every limit is checked before the work that it limits. Scalars are those of YAML 1.2's core schema, except that a number
with a leading zero, or too big for any machine word, stays text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent
from ruamel.yaml.scanner import Scanner, ScannerError

MAX_NODES: Final = 20_000
"""Keys and values, those behind an alias counted as often as it stands there."""
MAX_DEPTH: Final = 64
MAX_KEY: Final = 128

Place = tuple[int, int]
"""Line and column, from 1."""

_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})|0x[0-9a-fA-F]{1,15}|0o[0-7]{1,20}")
_OPENING: Final = ("[", "{", '"', "'")
_BRACKETS = re.compile(r"\[[0-9a-fA-F:.]+\]:[0-9]+")
"""An IPv6 address with a port, which is no YAML."""
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class TextError(Exception):
    """The text is no configuration.

    :param message: why
    :param place: where
    """

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True)
class Node:
    """What stands in the text, aliases shared.

    :param value: a scalar; or a list of nodes; or key to its place and node
    :param place: where it begins
    :param size: nodes in it and itself, aliases expanded
    :param height: levels in it and itself
    """

    value: Any
    place: Place
    size: int = 1
    height: int = 1


class _PlainScanner(Scanner):
    """Refuses what a configuration does not need: tags make objects, and directives change the language."""

    def scan_tag(self) -> NoReturn:
        self._refuse("tags (!...) are not allowed; to write a text that begins with !, put it in quotes")

    def scan_directive(self) -> NoReturn:
        self._refuse("directives (%...) are not allowed; to write a text that begins with %, put it in quotes")

    def _refuse(self, message: str) -> NoReturn:
        raise _RefusedError(None, None, message, self.reader.get_mark())


class _RefusedError(ScannerError):
    """The message is ours already."""


def read_node(text: str) -> Node:
    """Read the one mapping that a text holds.

    :raises TextError: if it is not YAML, not one mapping, or too big
    """
    root = _Reader(text).read()
    if not isinstance(root.value, dict):
        raise TextError(f"expected a mapping of keys to values, found {_name(root.value)}", root.place)
    return root


def read_value(text: str) -> Node:
    """Read what stands behind an equals sign: a list, a mapping or a text in quotes as YAML writes them on one line; anything else as it is.

    So what a shell hands over needs no second kind of quotes: ``5s``, ``a: #b`` and ``[::1]:1080`` are texts, ``5`` and ``true`` are not.

    :raises TextError: if it begins like YAML and is none, or is too big
    """
    if text[:1] in _OPENING and not _BRACKETS.fullmatch(text):
        return _Reader(text).read()
    return Node(_plain(text), (1, 1))


class _Reader:
    """Makes nodes of parser events, which come one by one as they are asked for."""

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _PlainScanner
        self._events = yaml.parse(text)
        self._anchors: dict[str, Node] = {}
        self._size = 0

    def read(self) -> Node:
        """Read the one node that the text holds."""
        try:
            return self._read()
        except MarkedYAMLError as error:
            message = str(error.problem) if isinstance(error, _RefusedError) else _in_our_words(error)
            mark = error.problem_mark or error.context_mark
            raise TextError(message, (mark.line + 1, mark.column + 1)) from None
        except (YAMLError, ValueError, OverflowError):  # such as an escape beyond Unicode
            raise TextError("this is not valid YAML", (0, 0)) from None

    def _read(self) -> Node:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if not isinstance(event, DocumentStartEvent):
            raise TextError("the file is empty: write at least version, frontends and upstreams", (1, 1))
        event = next(self._events)
        root = self._node(event, 1)
        next(self._events)  # the end of the document
        event = next(self._events)
        if isinstance(event, DocumentStartEvent):
            raise self._error(event, "a second document begins here: one file holds one configuration")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        self._count(event, 1, depth)
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event), _place_of(event))
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._error(event, "this alias (*) stands for nothing: no node above it has an anchor (&) of its name")
        self._count(event, node.size, depth + node.height - 1)
        return node

    def _count(self, event: Any, size: int, depth: int) -> None:
        self._size += size
        if self._size > MAX_NODES:
            raise self._error(event, f"more than {MAX_NODES} nodes, aliases expanded: this is no configuration")
        if depth > MAX_DEPTH:
            raise self._error(event, f"more than {MAX_DEPTH} levels: this is no configuration")

    def _scalar(self, event: Any) -> object:
        text = str(event.value)
        if event.implicit[0]:  # plain, without quotes
            return _plain(text)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")  # JSON writes what is beyond U+FFFF as two escapes
        except UnicodeDecodeError:
            raise self._error(event, "half of a surrogate pair is no character") from None

    def _sequence(self, start: Any, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(items, _place_of(start), 1 + sum(item.size for item in items), 1 + max((item.height for item in items), default=0))

    def _mapping(self, start: Any, depth: int) -> Node:
        members: dict[str, tuple[Place, Node]] = {}
        merged: list[Node] = []
        places: dict[str, Place] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            if key in places:
                raise self._error(event, f"{key} stands here for the second time; the first is in line {places[key][0]}")
            places[key] = _place_of(event)
            value_event = next(self._events)
            value = self._node(value_event, depth + 1)
            if key == "<<" and event.implicit[0]:
                merged = self._merged(value_event, value)
            else:
                members[key] = places[key], value
        for node in merged:  # what is written wins, then what was merged first
            members = {**node.value, **members}
        nodes = [node for _, node in members.values()]
        return Node(members, _place_of(start), 1 + sum(1 + node.size for node in nodes), 1 + max((node.height for node in nodes), default=0))

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._error(event, "a key must be a plain text")
        self._count(event, 1, 1)
        key = str(event.value)
        if len(key) > MAX_KEY or not key.isprintable():
            raise self._error(event, f"a key must be printable, and not longer than {MAX_KEY} characters")
        return key

    def _merged(self, event: Any, node: Node) -> list[Node]:
        nodes = node.value if isinstance(node.value, list) else [node]
        if not all(isinstance(part.value, dict) for part in nodes):
            raise self._error(event, "<< merges mappings: write *NAME or [*NAME, *OTHER]")
        return nodes

    def _error(self, event: Any, message: str) -> TextError:
        return TextError(message, _place_of(event))


def _place_of(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _plain(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _name(value: object) -> str:
    if value is None:
        return "nothing"
    return "a list" if isinstance(value, list) else "a single value"


_WORDS: Final = (
    (r"found character '\\t'", "a tab: YAML is indented with spaces"),
    ("mapping values are not allowed", "a colon that does not belong here: put a text that holds ': ' in quotes, and check the indentation"),
    ("could not find expected ':'", "a key without a colon after it"),
    ("found unexpected end of stream|found unexpected document separator", "the quotes are not closed"),
    ("chomping or indentation|indentation indicator", "| and > begin a text of several lines: put another text in quotes"),
    ("expected alphabetic or numeric", "& and * begin an anchor and an alias: put another text in quotes"),
    ("expected <block end>|expected '<document start>'", "this does not fit what stands above it: check the indentation"),
    ("expected ',' or '[]}]'", "a comma or the closing bracket is missing"),
    (
        "unknown escape character|hexdecimal numbers",
        "an unknown escape: in double quotes, write \\\\ for a backslash; single quotes take it as it is",
    ),
    ("sequence entries are not allowed", "a list item that does not belong here: check the indentation"),
    ("expected the node content", "a value is expected here"),
    ("found character", "this character cannot begin a value: put the text in quotes"),
)


def _in_our_words(error: MarkedYAMLError) -> str:
    problem = str(error.problem)
    message = next((words for pattern, words in _WORDS if re.search(pattern, problem)), "this is not valid YAML")
    begun = error.context_mark
    if begun is not None and error.problem_mark is not None and begun.line != error.problem_mark.line:
        message += f" (it began in line {begun.line + 1})"
    return message
