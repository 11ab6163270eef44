"""The whole document to `Settings`: its components, what it leaves open, and what a schema cannot say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from ..base.duration import parse_duration
from ..plugin.registration import ComponentSpec
from ..selection.health import HealthOptions
from .choices import Choices
from .components import Components, Plugins
from .explain import did_you_mean
from .problems import Problems
from .schema import envelope, keep
from .settings import FrontendSettings, LogSettings, MemberSettings, PoolSettings, Settings, UpstreamSettings
from .source import Document, join
from .upstream import UpstreamReader

MAIN: Final = "main"
"""The pool of all upstreams, where there are no pools; and the one that frontends use unless they say otherwise."""


def build_settings(document: Document, plugins: Plugins, names: Iterable[str] = ()) -> Settings:
    """Read a document.

    :param document: the configuration
    :param plugins: where types come from; what the document needs is asked for
    :param names: plugins that the command line wants besides; they fill what the document leaves open
    :raises ConfigError: with everything that is wrong with the document
    :raises PluginError: if a plugin of `names` is not to be had, or any plugin is broken
    """
    problems = Problems(document)
    schema = envelope()
    data = schema.check(document.data, "", problems)
    intact = {name for name, node in data.get("upstreams", {}).items() if node == document.data["upstreams"][name]}
    data["pools"] = data.get("pools") or {MAIN: {}}
    data = schema.complete(data, "", keep)
    components = Components(plugins, problems)
    choices = Choices(plugins, names, data["plugins"], problems)
    settings = _Builder(document, data, intact, components, choices, problems).build()
    problems.raise_if_any()
    return dataclasses.replace(settings, warnings=problems.warnings)


class _Builder:
    """Builds settings section by section. What has a problem is left out: nobody will see the settings then.

    :param document: as it was written
    :param data: without what the envelope's schema found wrong, and complete
    :param intact: upstreams of which nothing had to be taken out
    :param components: reads components
    :param choices: fills what is left open
    :param problems: hears what is wrong
    """

    def __init__(
        self,
        document: Document,
        data: Mapping[str, Any],
        intact: set[str],
        components: Components,
        choices: Choices,
        problems: Problems,
    ) -> None:
        self._data = data
        self._intact = intact
        self._choices = choices
        self._components = components
        self._problems = problems
        self._reader = UpstreamReader(components, choices, problems)
        self._pools = _names(document, "pools") or [MAIN]
        self._upstreams = _names(document, "upstreams")

    def build(self) -> Settings:
        """Return the settings."""
        for name in self._upstreams:
            if name in self._pools:
                self._problems.add(join("/upstreams", name), f"a pool is called {name} too: give one of them another name")
        data = self._data
        return Settings(
            frontends=_named(self._frontend(name, node) for name, node in data.get("frontends", {}).items()),
            pools=_named(self._pool(name, node) for name, node in data["pools"].items()),
            upstreams=_named(self._upstream(name, node) for name, node in data.get("upstreams", {}).items()),
            log=LogSettings(**data["log"]),
            plugins=tuple(data["plugins"]),
            drain_timeout=self._duration(data, "drain_timeout", "", zero=True),
        )

    def _frontend(self, name: str, node: Mapping[str, Any]) -> FrontendSettings | None:
        at = join("/frontends", name)
        component = self._components.read("frontend", {key: value for key, value in node.items() if key != "to"}, at)
        to = self._target(node.get("to"), at)
        return FrontendSettings(name, component, to) if component and to else None

    def _target(self, to: str | None, at: str) -> str | None:
        if to is None:
            if len(self._pools) == 1:
                return self._pools[0]
            if MAIN in self._pools:
                return MAIN
            self._problems.add(at, f"to is missing: there are the pools {', '.join(self._pools)}, and none is called {MAIN}")
            return None
        known = [*self._pools, *self._upstreams]
        if to not in known:
            self._problems.add(join(at, "to"), f"there is no pool or upstream {to}{did_you_mean(to, known)}")
            return None
        return to

    def _pool(self, name: str, node: Mapping[str, Any]) -> PoolSettings | None:
        at = join("/pools", name)
        policy = self._policy(node, at)
        probes = self._probes(node, at)
        health = self._health(node["health"], join(at, "health"))
        timeout = self._duration(node, "connect_timeout", at)
        members = self._members(node, at)
        if policy is None or probes is None:
            return None
        return PoolSettings(name, policy, health, probes, timeout, members, node["standby"])

    def _policy(self, node: Mapping[str, Any], at: str) -> ComponentSpec[Any, Any] | None:
        pointer = join(at, "policy")
        policy = node.get("policy") or self._choices.policy(pointer)
        return None if policy is None else self._components.read("policy", policy, pointer)

    def _probes(self, node: Mapping[str, Any], at: str) -> tuple[ComponentSpec[Any, Any], ...] | None:
        pointer = join(at, "probes")
        nodes = node.get("probes", self._choices.probes())
        probes = [self._components.read("probe", probe, join(pointer, index)) for index, probe in enumerate(nodes)]
        return None if None in probes else tuple(probe for probe in probes if probe)

    def _health(self, node: Mapping[str, Any], at: str) -> HealthOptions:
        return HealthOptions(
            interval=self._duration(node, "interval", at),
            timeout=self._duration(node, "timeout", at),
            fail_threshold=node["fail_threshold"],
            success_threshold=node["success_threshold"],
            cooldown=self._duration(node, "cooldown", at, zero=True),
        )

    def _duration(self, node: Mapping[str, Any], key: str, at: str, zero: bool = False) -> float:
        try:
            seconds = parse_duration(node[key])
        except ValueError as error:  # such as digits of other scripts
            self._problems.add(join(at, key), str(error))
            return 0.0
        if not seconds and not zero:
            self._problems.add(join(at, key), "expected a duration above 0")
        return seconds

    def _members(self, node: Mapping[str, Any], at: str) -> tuple[MemberSettings, ...]:
        members: dict[str, MemberSettings] = {}
        for index, entry in enumerate(node.get("upstreams", self._upstreams)):
            pointer = join(at, "upstreams", index)
            member: Mapping[str, Any] = {"name": entry} if isinstance(entry, str) else entry
            name = member["name"]
            if name not in self._upstreams:
                self._problems.add(pointer, f"there is no upstream {name}{did_you_mean(name, self._upstreams)}")
            elif name in members:
                self._problems.add(pointer, f"{name} is in this pool already")
            own = self._data.get("upstreams", {}).get(name, {}).get("weight", 1)
            members[name] = MemberSettings(name, float(member.get("weight", own)), member.get("tier", 0))
        return tuple(members.values())

    def _upstream(self, name: str, node: Mapping[str, Any]) -> UpstreamSettings | None:
        if name in self._intact:
            return self._reader.read(name, node)
        self._reader.look_at(name, node)
        return None


def _names(document: Document, section: str) -> list[str]:
    """Return the names in a section as it was written, whatever is wrong with what they name."""
    node = document.data.get(section)
    return list(node) if isinstance(node, dict) else []


_Named = TypeVar("_Named", FrontendSettings, PoolSettings, UpstreamSettings)


def _named(found: Iterable[_Named | None]) -> dict[str, _Named]:
    return {settings.name: settings for settings in found if settings}
