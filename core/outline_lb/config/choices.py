"""What fills the places that a document leaves open: the plugin that somebody named, else the usual one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..base.errors import PluginError
from ..base.secret import SecretUrl
from .components import Components, Plugins
from .problems import Problems
from .source import join

POLICY: Final = "fastest"
PROBE: Final = "handshake"
CIPHER: Final = "chacha20-ietf-poly1305"
TRANSPORTS: Final[Mapping[str, str]] = {"ws": "ws-h1", "wss": "ws-h1", "tcp": "tcp", "udp": "tcp", "": "direct"}
"""URL scheme to transport; "" is no URL."""


class Choices:
    """What was named as plugins, on the command line or in the document. The command line goes first, kind by kind.

    :param plugins: where types come from
    :param names: names of the command line
    :param document: names of the document
    :param problems: hears what is wrong
    :raises PluginError: if a name of the command line is not to be had
    """

    def __init__(self, plugins: Plugins, names: Iterable[str], document: Iterable[str], problems: Problems) -> None:
        self._problems = problems
        chosen = _by_kind(pair for name in names for pair in plugins.select(name))
        found: list[tuple[str, str]] = []
        for index, name in enumerate(document):
            try:
                found += plugins.select(name)
            except PluginError as error:
                problems.add(join("/plugins", index), str(error))
        self._named = {**_by_kind(found), **chosen}

    def policy(self, pointer: str) -> str | None:
        """Return the policy of a pool that names none; None if there was a problem."""
        return self._choose("policy", self._named.get("policy", ()), POLICY, pointer)

    def probes(self) -> Sequence[str]:
        """Return the probes of a pool that names none."""
        return self._named.get("probe", [PROBE])

    def transport(self, url: SecretUrl | None, components: Components, at: str, key: str = "tcp") -> str | None:
        """Return the transport of an upstream that names none, by its URL; None if there was a problem.

        :param url: its URL
        :param components: reads components
        :param at: pointer of the upstream
        :param key: which of its keys has the URL
        """
        pointer, scheme = join(at, "transport"), url.scheme if url else ""
        fitting = []
        for name in self._named.get("transport", ()):
            registration = components.registration("transport", name, pointer)
            if registration and (scheme in registration.schemes if url else not registration.schemes):
                fitting.append(name)
        if not fitting and scheme not in TRANSPORTS:
            known = ", ".join(f"{known}://" for known in TRANSPORTS if known)
            self._problems.add(join(at, key), f"no transport is known for {scheme}:// URLs: write one of {known}, or name a transport")
            return None
        return self._choose("transport", fitting, TRANSPORTS.get(scheme, ""), pointer)

    def _choose(self, kind: str, named: Sequence[str], default: str, pointer: str) -> str | None:
        if len(named) > 1:
            self._problems.add(pointer, f"several that fit were named as plugins ({', '.join(named)}): say here which {kind} to take")
            return None
        return named[0] if named else default


def _by_kind(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, name in dict.fromkeys(pairs):
        kinds.setdefault(kind, []).append(name)
    return kinds
