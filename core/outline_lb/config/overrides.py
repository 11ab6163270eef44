"""Values of the command line and the environment, laid over a document before anything else looks at it: flags > environment > file > defaults."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ..base.errors import ConfigError, Problem
from .reader import MAX_DEPTH, MAX_KEY
from .source import Document, join, parse_value

PREFIX: Final = "OUTLINE_LB__"
OPTION: Final = "--set"

_PART = r'(?:"[^"]*"|[\w-]+)'
_DOTTED = re.compile(rf"({_PART}(?:\.{_PART})*)=(.*)", re.DOTALL)
_POINTER = re.compile(r"(/[^=]+)=(.*)", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_MEMBER = re.compile(r"/pools/[^/]+/upstreams/[0-9]+")
_SECRET_SOURCES: Final = {"env", "file"}


@dataclass(frozen=True, slots=True)
class Override:
    """A value that goes over what the file says.

    :param origin: who gave it, for people: ``--set pools.main.health.interval``, ``OUTLINE_LB__POOLS__MAIN__HEALTH__INTERVAL``
    :param path: keys, the outermost first; the index of a list is a number
    :param text: the value, as `source.parse_value` reads it; may be a secret
    :param loose: whether keys are spelt as names of environment variables can be: in any case, and with _ for - and .
    """

    origin: str
    path: tuple[str, ...]
    text: str = field(repr=False)
    loose: bool = False


def parse_option(text: str) -> Override:
    """Read ``PATH=VALUE``; the path is ``pools.main.health.interval``, ``users."j.doe"`` or a JSON pointer.

    :raises ConfigError: if it is something else; the message holds nothing of it
    """
    found = (_POINTER if text.startswith("/") else _DOTTED).fullmatch(text)
    if found is None:
        raise ConfigError(Problem("expected PATH=VALUE, with a path such as pools.main.health.interval or /pools/main/health/interval", file=OPTION))
    path, value = found.groups()
    if path.startswith("/"):
        keys = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    else:
        keys = [part.strip('"') for part in re.findall(_PART, path)]
    return Override(f"{OPTION} {path if path.isprintable() else ascii(path)}", tuple(keys), value)


def from_environment(environment: Mapping[str, str]) -> list[Override]:
    """Return what the variables ``OUTLINE_LB__KEY__KEY`` say, the outermost keys first."""
    names = sorted((name for name in environment if name.startswith(PREFIX)), key=lambda name: (name.count("__"), name))
    return [Override(name, tuple(name.removeprefix(PREFIX).split("__")), environment[name], loose=True) for name in names]


def overlay(document: Document, overrides: Iterable[Override]) -> Document:
    """Lay values over a document; what is around them is made where it is missing.

    :param overrides: the values, the last word last
    :return: another document, which knows who gave what
    :raises ConfigError: with each value that is none, and each path that leads nowhere
    """
    result = _Overlay(document)
    problems = []
    for override in overrides:
        try:
            result.put(override)
        except ValueError as error:
            problems.append(Problem(str(error), file=override.origin))
    if problems:
        raise ConfigError(*problems)
    return Document(result.data, result.places, document.file, document.exposed, result.origins)


class _Overlay:
    """A document while values are laid over it."""

    def __init__(self, document: Document) -> None:
        self.data: dict[str, Any] = copy.deepcopy(dict(document.data))
        self.places = dict(document.places)
        self.origins = dict(document.origins)

    def put(self, override: Override) -> None:
        """Put a value in its place.

        :raises ValueError: with the reason why it cannot be
        """
        if len(override.path) > MAX_DEPTH or not all(part.isprintable() and 0 < len(part) <= MAX_KEY for part in override.path):
            raise ValueError(f"a path has 1 to {MAX_DEPTH} keys, each printable and of 1 to {MAX_KEY} characters")
        value = parse_value(override.text)
        container: Any = self.data
        pointer = ""
        for part, following in zip(override.path, override.path[1:], strict=False):
            key = _key(container, part, override.loose, pointer)
            pointer = join(pointer, key)
            if isinstance(container, dict) and key not in container:
                container[key] = {}
                self._claim(pointer, override.origin)
            container[key] = _opened(container[key], following, pointer)
            container = container[key]
        key = _key(container, override.path[-1], override.loose, pointer)
        if key in _SECRET_SOURCES and isinstance(container, dict) and container.keys() <= _SECRET_SOURCES:
            container.clear()  # a secret has one source
        container[key] = value
        self._claim(join(pointer, key), override.origin)

    def _claim(self, pointer: str, origin: str) -> None:
        """Forget where a node and all inside it came from before."""
        self.places = _outside(self.places, pointer)
        self.origins = {**_outside(self.origins, pointer), pointer: origin}


_T = TypeVar("_T")


def _outside(known: Mapping[str, _T], pointer: str) -> dict[str, _T]:
    return {inner: place for inner, place in known.items() if inner != pointer and not inner.startswith(pointer + "/")}


def _key(container: Any, part: str, loose: bool, pointer: str) -> str | int:
    if isinstance(container, list):
        if not _INDEX.fullmatch(part) or int(part) >= len(container):
            raise ValueError(f"{pointer} is a list: expected a number below {len(container)} instead of {part}")
        return int(part)
    if not loose or part in container:
        return part
    alike = [key for key in container if _folded(key) == _folded(part)]
    if len(alike) > 1:
        raise ValueError(f"{pointer or 'the configuration'} has {' and '.join(alike)}: say which with {OPTION}")
    return alike[0] if alike else part.lower()


def _folded(key: str) -> str:
    return re.sub("[-.]", "_", key).lower()


def _opened(node: Any, following: str, pointer: str) -> Any:
    """Return a node as something that keys can be put into: a text there is short for a mapping."""
    if node is None:
        return {}
    if isinstance(node, str):
        if following.lower() in _SECRET_SOURCES:
            return {}
        return {"name" if _MEMBER.fullmatch(pointer) else "type": node}
    if not isinstance(node, dict | list):
        raise ValueError(f"{pointer} is a single value: nothing can be set inside it")
    return node
