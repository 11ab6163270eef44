"""What is different between two configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..config.settings import Settings


@dataclass(frozen=True, slots=True)
class Changes:
    """JSON pointers into the configuration, such as ``/upstreams/server-1``.

    :param added: only the new one has them
    :param removed: only the old one had them
    :param changed: both have them, and they are not equal
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All of them together."""
        return (*self.added, *self.removed, *self.changed)


def compare(old: Settings, new: Settings) -> Changes:
    """Return what is different."""
    before, after = _parts(old), _parts(new)
    return Changes(
        tuple(pointer for pointer in after if pointer not in before),
        tuple(pointer for pointer in before if pointer not in after),
        tuple(pointer for pointer in after if pointer in before and before[pointer] != after[pointer]),
    )


def _parts(settings: Settings) -> dict[str, object]:
    """Return everything that has a name of its own, by JSON pointer."""
    parts: dict[str, object] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Mapping):
            parts |= {f"/{field.name}/{name}": part for name, part in value.items()}
        elif field.compare:
            parts[f"/{field.name}"] = value
    return parts
