"""From a file to settings, with the plugins that it takes: the one door for the program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..plugin.loader import PluginLoader
from ..plugin.notifier import Notifier
from .build import build_settings
from .overrides import Override, overlay
from .settings import Settings
from .source import read_document


def load(file: Path, names: Iterable[str] = (), overrides: Iterable[Override] = (), plugins: PluginLoader | None = None) -> tuple[Settings, Notifier]:
    """Read a configuration file, and load the plugins that it needs.

    :param file: the file
    :param names: plugins that the command line wants besides
    :param overrides: values that go over those of the file, the last word last
    :param plugins: brings them in; None: a new one. The same one again makes what is equal in two configurations equal in their settings too
    :return: the settings, and who tells the plugins what happens
    :raises ConfigError: with everything that is wrong with the file and with what goes over it
    :raises PluginError: if a plugin of `names` is not to be had, or any plugin is broken
    """
    plugins = plugins or PluginLoader()
    plugins.start_over()
    settings = build_settings(overlay(read_document(file), overrides), plugins, names)
    return settings, plugins.notifier
