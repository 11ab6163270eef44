"""From a file to settings, with the plugins that it takes: the one door for the program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..plugin.loader import PluginLoader
from ..plugin.notifier import Notifier
from .build import build_settings
from .settings import Settings
from .source import read_document


def load(file: Path, names: Iterable[str] = ()) -> tuple[Settings, Notifier]:
    """Read a configuration file, and load the plugins that it needs.

    :param file: the file
    :param names: plugins that the command line wants besides
    :return: the settings, and who tells the plugins what happens
    :raises ConfigError: with everything that is wrong with the file
    :raises PluginError: if a plugin of `names` is not to be had, or any plugin is broken
    """
    plugins = PluginLoader()
    settings = build_settings(read_document(file), plugins, names)
    return settings, plugins.notifier
