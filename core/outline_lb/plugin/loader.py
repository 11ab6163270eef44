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
        self.notifier = Notifier()

    def select(self, name: str) -> list[tuple[str, str]]:
        """Activate what a name means: a type, or a kind and a type.

        :return: kinds and types of that name
        :raises PluginError: if nothing or too much has this name, or what has it cannot be loaded
        """
        plugins = resolve(name, self._available)
        self._activate(plugins)
        return [(plugin.kind, plugin.type) for plugin in plugins]

    def registration(self, kind: str, name: str) -> Registration[Any, Any, Any]:
        """Return a type; its plugin becomes active.

        :param kind: the kind
        :param name: the type
        :raises PluginError: if it is not installed, or cannot be loaded
        """
        if name not in self.catalog[kind]:
            self._activate([find(kind, name, self._available)])
        return self.catalog[kind][name]

    def _activate(self, plugins: Sequence[InstalledPlugin]) -> None:
        self.catalog, self.notifier = assemble(plugins, self.catalog, self._available)
