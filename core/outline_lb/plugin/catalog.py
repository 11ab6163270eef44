"""What the active plugins offer: kind to type to registration, immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..base.errors import PluginError
from .discovery import GROUPS, InstalledPlugin

if TYPE_CHECKING:
    from .registration import Registration

RegistrationT = TypeVar("RegistrationT", bound="Registration[Any, Any, Any]")


class Shelf(Mapping[str, RegistrationT], Generic[RegistrationT]):
    """The types of one kind.

    :param kind: the kind
    :param registrations: by type
    :param inactive: types that are installed and not active
    """

    __slots__ = ("_inactive", "_kind", "_registrations")

    def __init__(self, kind: str, registrations: Mapping[str, RegistrationT], inactive: frozenset[str] = frozenset()) -> None:
        self._kind = kind
        self._registrations = registrations
        self._inactive = inactive

    def __getitem__(self, name: str) -> RegistrationT:
        """Return the registration of a type.

        :raises PluginError: if no active plugin offers it
        """
        try:
            return self._registrations[name]
        except KeyError:
            known = ", ".join(sorted(self._registrations)) or "none"
            remedy = f": add {self._kind}-{name} to --plugins" if name in self._inactive else ""
            raise PluginError(f"no active plugin offers the {self._kind} {name} (active: {known}){remedy}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._registrations

    def __iter__(self) -> Iterator[str]:
        return iter(self._registrations)

    def __len__(self) -> int:
        return len(self._registrations)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The registrations of all active plugins.

    :param entries: entry point to what was registered for it; None for observers, which register nothing
    :param available: what is installed, active or not
    """

    entries: Mapping[InstalledPlugin, Registration[Any, Any, Any] | None] = field(default_factory=dict)
    available: Sequence[InstalledPlugin] = ()
    _shelves: Mapping[str, Shelf[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))
        object.__setattr__(self, "_shelves", {kind: self._shelf(kind) for kind in GROUPS})

    def _shelf(self, kind: str) -> Shelf[Any]:
        registrations = {plugin.type: registration for plugin, registration in self.entries.items() if plugin.kind == kind and registration}
        return Shelf(kind, registrations, frozenset(plugin.type for plugin in self.available if plugin.kind == kind))

    def __getitem__(self, kind: str) -> Shelf[Registration[Any, Any, Any]]:
        """Return the types of any kind.

        :raises PluginError: if there is no such kind
        """
        try:
            return self._shelves[kind]
        except KeyError:
            raise PluginError(f"there is no kind of plugin called {kind}: the kinds are {', '.join(self._shelves)}") from None
