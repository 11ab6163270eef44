"""What the configuration of a SOCKS5 frontend says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import Address, Secret, parse_duration

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "listen": {
            "$ref": "outline-lb:defs#/$defs/address",
            "default": "127.0.0.1:1080",
            "description": "IP address and port to listen on.",
        },
        "users": {
            "type": "object",
            "additionalProperties": {"x-secret": True, "type": ["string", "object"], "description": "The user's password."},
            "default": {},
            "description": "User names and passwords (RFC 1929). Without any, nobody has to authenticate.",
        },
        "allow_open": {
            "type": "boolean",
            "default": False,
            "description": "Listen on an address that other machines can reach, although nobody has to authenticate.",
        },
        "udp": {
            "type": "boolean",
            "default": True,
            "description": "Carry packets too (UDP ASSOCIATE), as far as an upstream does.",
        },
        "udp_idle_timeout": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "5m",
            "description": "An association that no packet has gone through for this long is ended.",
        },
        "max_associations": {
            "type": "integer",
            "minimum": 1,
            "default": 1024,
            "description": "Associations at a time, each with a socket of its own. For one more the least recently used one is ended.",
        },
        "max_targets": {
            "type": "integer",
            "minimum": 1,
            "default": 512,
            "description": "Targets that are remembered for each association. More are no less reachable, but cost more time.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class UdpOptions:
    """How packets are carried.

    :param idle_timeout: seconds without a packet after which an association is ended
    :param max_associations: at a time
    :param max_targets: remembered for each association
    """

    idle_timeout: float
    max_associations: int
    max_targets: int


@dataclass(frozen=True, slots=True)
class Options:
    """How a SOCKS5 frontend is set up.

    :param listen: IP address and port
    :param users: names and passwords; empty: nobody has to authenticate
    :param udp: None: no packets
    """

    listen: Address
    users: Mapping[str, Secret]
    udp: UdpOptions | None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read the validated node.

        :raises ValueError: with what is wrong
        """
        listen, users = Address.parse(raw["listen"]), dict(raw["users"])
        if listen.ip is None:
            raise ValueError(f"listen: {listen} is no place to listen on: write an IP address instead of a name, such as 127.0.0.1:{listen.port}")
        if not (listen.ip.is_loopback or users or raw["allow_open"]):
            raise ValueError(
                f"listen: other machines can reach {listen}, and nobody would have to authenticate: name `users`, "
                "or listen on 127.0.0.1, or write `allow_open: true` if everybody may use this proxy"
            )
        for name, password in users.items():
            for what, text in (("name", name), ("password", password.reveal())):
                if not 1 <= len(text.encode()) <= 255:
                    raise ValueError(f"users: {name[:20]!r}: a {what} has 1 to 255 bytes (RFC 1929)")
        idle_timeout = parse_duration(raw["udp_idle_timeout"])
        if not idle_timeout:
            raise ValueError("udp_idle_timeout: an association of 0s would carry nothing: write how long it may be idle, such as 5m")
        return cls(listen, users, UdpOptions(idle_timeout, raw["max_associations"], raw["max_targets"]) if raw["udp"] else None)
