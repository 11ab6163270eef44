"""What can be configured."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import parse_duration

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "source": {
            "type": ["string", "null"],
            "default": None,
            "description": "IP address of this machine that connections and packets leave from",
        },
        "connect_timeout": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "10s",
            "description": "How long finding a target and connecting may take",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """How targets are reached.

    :param source: IP address to leave from; None: what the system chooses
    :param connect_timeout: seconds for finding a target and connecting
    """

    source: str | None
    connect_timeout: float

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Make options from a validated node.

        :raises ValueError: if the source is no IP address, or the duration none or nothing
        """
        source = raw["source"]
        if source is not None:
            try:
                source = str(ipaddress.ip_address(source))
            except ValueError:
                raise ValueError(f"source: {source!r} is no IP address") from None
        connect_timeout = parse_duration(raw["connect_timeout"])
        if not connect_timeout:
            raise ValueError("connect_timeout: no target answers in 0s")
        return cls(source, connect_timeout)
