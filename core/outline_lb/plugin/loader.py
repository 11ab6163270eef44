"""Brings plugins in when they are asked for: by people, who write names, and by a configuration, which says types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .catalog import Catalog
from .discovery import InstalledPlugin, find, installed, resolve
from .manager import assemble
from .notifier import Notifier
from .registration import Registration


class PluginLoader:
    """What is installed, and what of it is active. Nothing is imported before it is asked for; what is active stays.

    `catalog` and `notifier` are immutable values of now: take them after the last plugin was asked for.
    """

    def __init__(self) -> None:
        self._available = installed()
        self.catalog = Catalog(available=self._available)
        self._everybody = Notifier()
        self._asked: set[str] = set()

    @property
    def notifier(self) -> Notifier:
        """Who tells the plugins that were asked for since `start_over`."""
        return self._everybody.only(frozenset(self._asked))

    def start_over(self) -> None:
        """Begin another configuration. What is active stays, but is told what happens only if it is asked for again."""
        self._asked.clear()

    def select(self, name: str) -> list[tuple[str, str]]:
        """Activate what a name means: a type, or a kind and a type.

        :return: kinds and types of that name
        :raises PluginError: if nothing or too much has this name, or what has it cannot be loaded
        """
        plugins = resolve(name, self._available)
        self._asked.update(plugin.module for plugin in plugins)
        if not self.catalog.entries.keys() >= set(plugins):
            self._activate(plugins)
        return [(plugin.kind, plugin.type) for plugin in plugins]

    def registration(self, kind: str, name: str) -> Registration[Any, Any, Any]:
        """Return a type; its plugin becomes active.

        :param kind: the kind
        :param name: the type
        :raises PluginError: if it is not installed, or cannot be loaded
        """
        plugin = find(kind, name, self._available)  # also of what is active: two may offer it
        self._asked.add(plugin.module)
        if name not in self.catalog[kind]:
            self._activate([plugin])
        return self.catalog[kind][name]

    def _activate(self, plugins: Sequence[InstalledPlugin]) -> None:
        self.catalog, self._everybody = assemble(plugins, self.catalog, self._available)
