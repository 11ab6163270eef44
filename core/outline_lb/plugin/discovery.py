"""What is installed, without importing it; and the import of what was chosen. The only place that knows stevedore."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any, Final, NoReturn, cast

from stevedore.named import NamedExtensionManager

from ..base.errors import PluginError, describe

GROUPS: Final = {
    "frontend": "outline_lb.frontends",
    "transport": "outline_lb.transports",
    "listener": "outline_lb.listeners",
    "cipher": "outline_lb.ciphers",
    "policy": "outline_lb.policies",
    "probe": "outline_lb.probes",
    "observer": "outline_lb.observers",
}
"""Kind to entry-point group."""

_HOMES: Final = {
    "listener": "outline-lb-transport-{name}",  # the other half of a transport
    "cipher": "outline-lb-cipher-aead",  # several ciphers are one plugin
}
"""Where to find what is not in the distribution of its own name."""


@dataclass(frozen=True, slots=True, order=True)
class InstalledPlugin:
    """An entry point: one type of one kind that an installed distribution offers.

    :param kind: one of `GROUPS`
    :param type: the name that a configuration says
    :param module: the module that registers it
    :param distribution: name of the distribution
    :param version: version of the distribution
    """

    kind: str
    type: str
    module: str
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """Kind and type, as people can write it where the type alone would be ambiguous."""
        return f"{self.kind}-{self.type}"

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"


def installed() -> list[InstalledPlugin]:
    """Return every plugin that is installed, sorted; nothing is imported.

    A distribution that is found twice counts once: the first on ``sys.path`` is the one that would be imported.
    """
    found: list[InstalledPlugin] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        entries = _entry_points(distribution)
        ours = [(kind, entry) for kind, group in GROUPS.items() for entry in entries.select(group=group)]
        if not ours:
            continue
        name = distribution.metadata["Name"] or "(a distribution without a name)"
        key = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
        if key not in seen:
            seen.add(key)
            found += (InstalledPlugin(kind, entry.name, entry.value, name, distribution.version or "") for kind, entry in ours)
    return sorted(set(found))


def find(kind: str, name: str, available: Sequence[InstalledPlugin] | None = None) -> InstalledPlugin:
    """Return the plugin that offers a type.

    :param kind: one of `GROUPS`
    :param name: the type, as the configuration says it
    :param available: what is installed; None: look
    :raises PluginError: if no distribution offers it, or more than one
    """
    available = installed() if available is None else available
    offers = [plugin for plugin in available if (plugin.kind, plugin.type) == (kind, name)]
    if not offers:
        known = [plugin.type for plugin in available if plugin.kind == kind]
        raise _missing(f"{kind} {name}", _home(kind, name), available, _similar(name, known))
    return _only(offers)


def resolve(name: str, available: Sequence[InstalledPlugin] | None = None) -> list[InstalledPlugin]:
    """Return what a name means that somebody wrote: a type (``ws-h2``), or a kind and a type (``policy-fastest``).

    :param name: the name
    :param available: what is installed; None: look
    :return: one plugin; several if one module offers the type in several kinds, as a transport with both halves does
    :raises PluginError: if nothing installed has this name, if it is ambiguous, or if two distributions offer it
    """
    available = installed() if available is None else available
    offers = [plugin for plugin in available if plugin.name == name] or [plugin for plugin in available if plugin.type == name]
    if not offers:
        kind, _, rest = name.partition("-")
        if kind in GROUPS and rest:
            similar = _similar(rest, [plugin.type for plugin in available if plugin.kind == kind])
            raise _missing(f"plugin {name}", _home(kind, rest), available, similar)
        similar = _similar(name, [text for plugin in available for text in (plugin.type, plugin.name)])
        raise _missing(f"plugin {name}", f"outline-lb-KIND-{name}", available, similar)
    chosen = [_only([plugin for plugin in offers if plugin.kind == kind]) for kind in dict.fromkeys(plugin.kind for plugin in offers)]
    if len({(plugin.distribution, plugin.module) for plugin in chosen}) > 1:
        ways = " or ".join(f"{plugin.name} (of {plugin.distribution})" for plugin in chosen)
        raise PluginError(f"plugin {name} is ambiguous: write {ways}")
    return chosen


def load(plugins: Iterable[InstalledPlugin]) -> dict[InstalledPlugin, ModuleType]:
    """Import exactly these plugins.

    :param plugins: each offered by one distribution only
    :return: plugin to module, in the given order
    :raises PluginError: if one cannot be imported, naming it, its distribution and the cause
    """
    return {plugin: _load(plugin) for plugin in plugins}


def _entry_points(distribution: metadata.Distribution) -> metadata.EntryPoints:
    try:
        return distribution.entry_points
    except Exception:  # a broken file of a distribution that may be no business of ours
        return metadata.EntryPoints()


def _only(offers: Sequence[InstalledPlugin]) -> InstalledPlugin:
    if len(offers) > 1:
        owners = " and ".join(plugin.origin for plugin in offers)
        raise PluginError(f"{offers[0].kind} {offers[0].type} is offered by {owners}: uninstall all but one")
    return offers[0]


def _home(kind: str, name: str) -> str:
    return _HOMES.get(kind, "outline-lb-{kind}-{name}").format(kind=kind, name=name)


def _missing(what: str, home: str, available: Iterable[InstalledPlugin], similar: str) -> PluginError:
    if any(plugin.distribution == home for plugin in available):
        return PluginError(f"{what} is not among what is installed{similar}")
    return PluginError(f"{what} is not installed: pip install {home}{similar}")


def _similar(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(set(known)), n=3)
    return f" (similar, and installed: {', '.join(close)})" if close else ""


class _Manager(NamedExtensionManager[Any]):
    """Loads from the entry points that were counted, not from stevedore's cache in the home directory, which may be older."""

    def __init__(self, plugin: InstalledPlugin) -> None:
        self._entry_points = [metadata.EntryPoint(plugin.type, plugin.module, GROUPS[plugin.kind])]
        super().__init__(GROUPS[plugin.kind], [plugin.type], name_order=True, on_load_failure_callback=_fail)

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        return self._entry_points


def _fail(_manager: object, _entry: metadata.EntryPoint, error: BaseException) -> NoReturn:
    raise error


def _load(plugin: InstalledPlugin) -> ModuleType:
    try:
        (extension,) = _Manager(plugin)
    except (Exception, SystemExit) as error:  # a plugin does not decide that the program ends
        cause = f"{type(error).__name__}: {' '.join(describe(error).split())}"
        remedy = f"reinstall {plugin.distribution}, or install another version of it"
        raise PluginError(f"{plugin} cannot be imported: {cause}; {remedy}") from error
    module = cast("object", extension.plugin)
    if not isinstance(module, ModuleType):
        what = "its entry point must name a module, not something in it"
        raise PluginError(f"{plugin}: {what}; mend it, or install another version of {plugin.distribution}")
    return module
