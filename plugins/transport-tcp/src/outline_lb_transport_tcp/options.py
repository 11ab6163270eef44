"""What can be configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import Address, parse_duration

TRANSPORT_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "connect_timeout": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "10s",
            "description": "How long finding the server and connecting may take",
        },
    },
}

LISTENER_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["address"],
    "properties": {
        "address": {
            "$ref": "outline-lb:defs#/$defs/address",
            "description": "IP address and port to listen at; port 0 takes a free one",
        },
        "udp": {
            "type": "boolean",
            "default": True,
            "description": "Whether packets are taken too, at the same port of UDP",
        },
    },
}


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How servers are reached.

    :param connect_timeout: seconds for finding the server and connecting
    """

    connect_timeout: float

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> TransportOptions:
        """Make options from a validated node.

        :raises ValueError: if the duration is none, or nothing
        """
        connect_timeout = parse_duration(raw["connect_timeout"])
        if not connect_timeout:
            raise ValueError("connect_timeout: no server answers in 0s")
        return cls(connect_timeout)


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """Where streams and packets are accepted.

    :param address: where to bind
    :param udp: whether packets are, at the same port
    """

    address: Address
    udp: bool

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ListenerOptions:
        """Make options from a validated node.

        :raises ValueError: if the address is none
        """
        return cls(Address.parse(raw["address"]), raw["udp"])
