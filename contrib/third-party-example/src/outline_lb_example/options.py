"""What can be configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_PRICE: Final = {"type": "number", "minimum": 0}

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "prices": {
            "type": "object",
            "additionalProperties": _PRICE,
            "default": {},
            "description": "Upstreams and what a gigabyte costs there, in any currency",
        },
        "other_price": {**_PRICE, "default": 0, "description": "What a gigabyte costs at an upstream that is not in prices"},
    },
    "examples": [{"prices": {"server-1": 0.02, "server-2": 0.09}, "other_price": 0.05}],
}


@dataclass(frozen=True, slots=True)
class Options:
    """What upstreams cost.

    :param prices: upstream to the price of a gigabyte
    :param other_price: the price at all others
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    other_price: float = 0.0

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Make options from a validated node."""
        return cls(dict(raw["prices"]), raw["other_price"])

    def price(self, upstream: str) -> float:
        """Return what a gigabyte costs at an upstream."""
        return self.prices.get(upstream, self.other_price)
