"""What the configuration of a SOCKS5 frontend says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import Address, Secret

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
    },
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a SOCKS5 frontend is set up.

    :param listen: IP address and port
    :param users: names and passwords; empty: nobody has to authenticate
    """

    listen: Address
    users: Mapping[str, Secret]

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
        return cls(listen, users)
