"""From chosen plugins to a catalog and a notifier. The only place that owns a pluggy manager, which does not outlive the call."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, cast

import pluggy

from ..base.errors import PluginError, describe
from . import hookspecs
from .catalog import Catalog
from .discovery import GROUPS, InstalledPlugin, installed, load
from .markers import PROJECT
from .notifier import Implementation, Notifier
from .registration import Registration

API_VERSION: Final = 1
"""What ``OUTLINE_LB_API`` in a plugin's module must say. It grows when a plugin that worked would not work any more."""

HOOKS: Final[Mapping[str, Sequence[str]]] = {
    name: list(inspect.signature(function).parameters) for name, function in vars(hookspecs).items() if name.startswith(f"{PROJECT}_")
}
"""Hook to its arguments."""
_REGISTRATION_HOOKS: Final = {group.replace(".", "_"): kind for kind, group in GROUPS.items() if kind != "observer"}
_NOTIFICATION_HOOKS: Final = [name for name in HOOKS if name not in _REGISTRATION_HOOKS]

_Offers = dict[tuple[str, str], Registration[Any, Any, Any]]


def assemble(
    selected: Iterable[InstalledPlugin], catalog: Catalog | None = None, available: Sequence[InstalledPlugin] | None = None
) -> tuple[Catalog, Notifier]:
    """Load plugins, and gather what they offer.

    A module is one plugin, however many entry points name it: with one of them come all.

    :param selected: what to load
    :param catalog: what is active already, and stays as it is: its plugins are not asked again
    :param available: what is installed; None: look
    :return: everything that is active now, and the notifier that tells all of it
    :raises PluginError: if one cannot be loaded, is made for another core, has an unknown hook or argument, does not offer what its entry
        points say, or offers what another one does
    """
    active = catalog or Catalog()
    available = installed() if available is None else available
    owners: dict[str, InstalledPlugin] = {}
    for plugin in (*active.entries, *selected):
        owners.setdefault(plugin.module, plugin)
    manager = _register(load(owners.values()))
    entries = dict(active.entries)
    asked = {plugin.module for plugin in active.entries}
    for plugin in owners.values():
        if plugin.module not in asked:
            _add(entries, plugin, _ask(manager, plugin), available)
    return Catalog(entries, available), Notifier(_implementations(manager, owners))


def _register(modules: Mapping[InstalledPlugin, ModuleType]) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        for plugin, module in modules.items():
            _check_version(plugin, module)
            _check_hooks(plugin, module, manager)
            manager.register(module, name=plugin.module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        owner = next(plugin for plugin, module in modules.items() if module is error.plugin)
        raise _broken(owner, " ".join(str(error).split())) from error
    return manager


def _check_version(plugin: InstalledPlugin, module: ModuleType) -> None:
    wanted = getattr(module, "OUTLINE_LB_API", None)
    if type(wanted) is not int:
        raise _broken(plugin, f"{plugin.module} does not say which plugin API it is made for, as in OUTLINE_LB_API = {API_VERSION}")
    if wanted != API_VERSION:
        older = "outline-lb" if wanted > API_VERSION else plugin.distribution
        raise PluginError(f"{plugin}: it is made for plugin API {wanted}, this core has {API_VERSION}; upgrade {older}")


def _check_hooks(plugin: InstalledPlugin, module: ModuleType, manager: pluggy.PluginManager) -> None:
    """Look at what a plugin implements before pluggy does, whose messages are for those who know pluggy."""
    marked = {name: options for name in vars(module) if (options := manager.parse_hookimpl_opts(module, name))}
    if not marked:
        raise _broken(plugin, f"{plugin.module} implements no hook: is @hookimpl missing?")
    for name, options in marked.items():
        hook, function = options["specname"] or name, getattr(module, name)
        if options["wrapper"] or options["hookwrapper"]:
            raise _broken(plugin, f"it wraps {hook}: hooks are implemented, not wrapped")
        if hook not in HOOKS:
            if options["optionalhook"]:
                continue
            close = difflib.get_close_matches(hook, HOOKS, n=1)
            raise _broken(plugin, f"{hook} is no hook" + (f": did you mean {close[0]}?" if close else ""))
        if unknown := [argument for argument in inspect.signature(function).parameters if argument not in HOOKS[hook]]:
            raise _broken(plugin, f"{hook} has no argument {unknown[0]} (it has: {', '.join(HOOKS[hook]) or 'none'})")
        if inspect.iscoroutinefunction(function):
            raise _broken(plugin, f"{hook} is async: hooks are plain functions that return at once")


def _hooks(manager: pluggy.PluginManager, names: Iterable[str]) -> list[tuple[str, pluggy.HookImpl]]:
    return [(name, implementation) for name in names for implementation in getattr(manager.hook, name).get_hookimpls()]


def _ask(manager: pluggy.PluginManager, plugin: InstalledPlugin) -> _Offers:
    """Call the registration hooks of one plugin."""
    offers: _Offers = {}
    for hook, implementation in _hooks(manager, _REGISTRATION_HOOKS):
        if implementation.plugin_name != plugin.module:
            continue
        try:
            registrations = list(cast("Iterable[object]", implementation.function()))
        except (Exception, SystemExit) as error:  # a plugin does not decide that the program ends
            raise _broken(plugin, f"{hook} failed: {type(error).__name__}: {' '.join(describe(error).split())}") from error
        for registration in registrations:
            if not isinstance(registration, Registration):
                raise _broken(plugin, f"{hook} returned something that is no Registration")
            key = (_REGISTRATION_HOOKS[hook], registration.type)
            if key in offers:
                raise _broken(plugin, f"it registers the {key[0]} {key[1]} twice")
            offers[key] = registration
    return offers


def _add(
    entries: dict[InstalledPlugin, Registration[Any, Any, Any] | None], plugin: InstalledPlugin, offers: _Offers, available: Iterable[InstalledPlugin]
) -> None:
    """Enter what a plugin registered, if it is what its entry points say, and nobody else's."""
    declared = {(entry.kind, entry.type): entry for entry in available if (entry.distribution, entry.module) == (plugin.distribution, plugin.module)}
    for kind, name in sorted(offers.keys() - declared.keys()):
        raise _broken(plugin, f"it registers the {kind} {name}, for which it has no entry point in {GROUPS[kind]}")
    for key, entry in declared.items():
        what = f"the {entry.kind} {entry.type}"
        if entry.kind != "observer" and key not in offers:
            raise _broken(plugin, f"its entry point names {what}, which it does not register")
        for other in entries:
            if (other.kind, other.type) == key:
                raise PluginError(f"{what} is offered by {other.origin} and {plugin.origin}: uninstall one")
        entries[entry] = offers.get(key)


def _implementations(manager: pluggy.PluginManager, owners: Mapping[str, InstalledPlugin]) -> list[Implementation]:
    found = []
    for hook, implementation in _hooks(manager, _NOTIFICATION_HOOKS):
        wanted = [HOOKS[hook].index(name) for name in implementation.argnames]
        found.append(Implementation(owners[implementation.plugin_name], hook, implementation.function, wanted))
    return found


def _broken(plugin: InstalledPlugin, what: str) -> PluginError:
    return PluginError(f"{plugin}: {what}; mend it, or install another version of {plugin.distribution}")
