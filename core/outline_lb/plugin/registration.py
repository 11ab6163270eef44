"""What a plugin hands to the core for one type: its name, schema, options and constructor in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..base.errors import OutlineLBError, PluginError, describe

OptionsT = TypeVar("OptionsT")
DepsT = TypeVar("DepsT")
ComponentT = TypeVar("ComponentT")


@dataclass(frozen=True, slots=True, eq=False)
class Registration(Generic[OptionsT, DepsT, ComponentT]):
    """One type of one kind.

    The way from text to object: YAML, validated against `schema`, defaults filled in, secrets read, `parse`, `build`. Both functions are free of
    side effects.

    :param type: the name that a configuration says, which is also the name of the entry point
    :param schema: JSON Schema 2020-12 of the node without its ``type``: an object with ``additionalProperties: false``, every optional property
        with its ``default``. Shared definitions are at ``outline-lb:defs#/$defs/…``. ``x-secret: true`` makes the value a `Secret`;
        ``x-kind: KIND`` marks a nested component, which `parse` gets as a `ComponentSpec`
    :param parse: the validated node, complete with defaults, to frozen options that compare by value; a `ValueError` becomes an error at the node
    :param build: the options and what the kind provides, to the component
    :param schemes: for a transport: the URL schemes that it takes
    """

    type: str
    schema: Mapping[str, Any] = field(repr=False)
    parse: Callable[[Mapping[str, Any]], OptionsT]
    build: Callable[[OptionsT, DepsT], ComponentT]
    schemes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentSpec(Generic[DepsT, ComponentT]):
    """A component that the configuration asks for, not built yet. Equal if type and options are: a reload then keeps the object.

    :param kind: its kind, such as ``listener``
    :param registration: its type
    :param options: what `Registration.parse` returned
    """

    kind: str
    registration: Registration[Any, DepsT, ComponentT]
    options: Any

    @property
    def type(self) -> str:
        """The name that the configuration says."""
        return self.registration.type

    def build(self, deps: DepsT) -> ComponentT:
        """Make the component.

        :raises PluginError: if the plugin fails at it
        """
        try:
            return self.registration.build(self.options, deps)
        except OutlineLBError:
            raise
        except Exception as error:
            raise PluginError(f"{self.kind} {self.type}: it cannot be built: {type(error).__name__}: {describe(error)}") from error
