"""Nodes that belong to plugins: a type and its options become a `ComponentSpec`, what is nested inside first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from ..base.errors import PluginError, describe
from ..base.secret import Secret
from ..plugin.registration import ComponentSpec, Registration
from .problems import Problems
from .schema import Schema
from .source import is_exposed, join

MAX_SECRET: Final = 64 * 1024
"""Bytes of a file that holds a secret."""

Node = str | Mapping[str, Any]
"""A component in a document: its type, or a mapping with ``type`` and options."""


class Plugins(Protocol):
    """Where types come from: what `plugin.loader.PluginLoader` does."""

    def select(self, name: str) -> Sequence[tuple[str, str]]:
        """Return the kinds and types that a name means.

        :raises PluginError: if it means nothing, or too much
        """

    def registration(self, kind: str, name: str) -> Registration[Any, Any, Any]:
        """Return a type of a kind.

        :raises PluginError: if there is none
        """


class Components:
    """Reads components.

    :param plugins: where types come from
    :param problems: hears what is wrong
    """

    def __init__(self, plugins: Plugins, problems: Problems) -> None:
        self._plugins = plugins
        self._problems = problems
        self._schemas: dict[int, Schema] = {}

    def read(self, kind: str, node: Node, pointer: str) -> ComponentSpec[Any, Any] | None:
        """Read a component that has the shape of one.

        :param kind: what kind it is
        :param node: the node
        :param pointer: where it stands
        :return: what is to be built; None if there was a problem
        :raises PluginError: if the plugin is broken
        """
        registration = self.registration(kind, node, pointer)
        if registration is None:
            return None
        before = self._problems.count
        options = {} if isinstance(node, str) else {key: value for key, value in node.items() if key != "type"}
        schema = self.schema(kind, registration)
        raw = schema.complete(schema.check(options, pointer, self._problems), pointer, self._nested)
        if self._problems.count > before:
            return None
        try:
            return ComponentSpec(kind, registration, registration.parse(raw))
        except ValueError as error:
            self._problems.add(pointer, describe(error))
            return None
        except Exception as error:
            raise PluginError(f"{kind} {registration.type}: it cannot parse its options: {type(error).__name__}: {describe(error)}") from error

    def registration(self, kind: str, node: Node, pointer: str) -> Registration[Any, Any, Any] | None:
        """Return the type of a component; None if there was a problem."""
        name = node if isinstance(node, str) else str(node["type"])
        try:
            if kind == "cipher" and name != name.lower():  # Outline keys and other programs' configurations write AES-256-GCM
                return self._cipher(name)
            return self._plugins.registration(kind, name)
        except PluginError as error:
            self._problems.add(pointer if isinstance(node, str) else join(pointer, "type"), str(error))
            return None

    def _cipher(self, name: str) -> Registration[Any, Any, Any]:
        try:
            return self._plugins.registration("cipher", name.lower())
        except PluginError as error:
            try:
                return self._plugins.registration("cipher", name)
            except PluginError:
                raise error from None

    def schema(self, kind: str, registration: Registration[Any, Any, Any]) -> Schema:
        """Return the schema of a type.

        :raises PluginError: if it is none
        """
        if id(registration) not in self._schemas:
            self._schemas[id(registration)] = Schema(registration.schema, f"{kind} {registration.type}")
        return self._schemas[id(registration)]

    def secret(self, node: Any, pointer: str) -> Secret | None:
        """Read a secret that has the shape of one: text, ``{env: NAME}``, ``{file: PATH}``.

        :return: the secret; None if there was a problem
        """
        if isinstance(node, str):
            self._problems.warn_of_secret(pointer)
            return Secret(node)
        ((source, name),) = node.items()
        try:
            if source == "env":
                return Secret(_from_environment(name))
            text, exposed = _from_file(name)
            if exposed:
                self._problems.warn(join(pointer, source), f"other users can read this secret: chmod 600 {name}")
            return Secret(text)
        except ValueError as error:
            self._problems.add(join(pointer, source), str(error))
            return None

    def _nested(self, schema: Mapping[str, Any], node: Any, pointer: str) -> object:
        return self.read(schema["x-kind"], node, pointer) if "x-kind" in schema else self.secret(node, pointer)


def _from_environment(name: str) -> str:
    if text := os.environ.get(name):
        return text
    raise ValueError("the environment variable of this name is not set, or empty")  # perhaps the secret itself stands there: no name


def _from_file(name: str) -> tuple[str, bool]:
    """Return the secret, and whether other users can read it."""
    try:
        with Path(name).expanduser().open("rb") as file:
            exposed = is_exposed(file.fileno())
            raw = file.read(MAX_SECRET + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such home directory
        raise ValueError(f"the file cannot be read: {describe(error)}") from None
    if len(raw) > MAX_SECRET:
        raise ValueError(f"the file is longer than {MAX_SECRET // 1024} KiB")
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    if not text:
        raise ValueError("the file is empty")
    return text, exposed
