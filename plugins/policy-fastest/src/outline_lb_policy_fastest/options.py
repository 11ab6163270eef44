"""What can be configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import parse_duration

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "sticky_ttl": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "60s",
            "description": "How long all new flows stay with the chosen upstream before it is chosen again; 0s: choose for each flow",
        },
        "min_switch": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "20ms",
            "description": "How much faster another upstream must be to take over from the chosen one; more, where latencies vary by more",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """How long to stay, and what it takes to leave.

    :param sticky_ttl: seconds for which a choice holds
    :param min_switch: seconds that another one must be faster by, at least
    """

    sticky_ttl: float = 60.0
    min_switch: float = 0.020

    @staticmethod
    def parse(raw: Mapping[str, Any]) -> Options:
        """Make options from a validated node.

        :raises ValueError: if a duration is none
        """
        return Options(sticky_ttl=parse_duration(raw["sticky_ttl"]), min_switch=parse_duration(raw["min_switch"]))
