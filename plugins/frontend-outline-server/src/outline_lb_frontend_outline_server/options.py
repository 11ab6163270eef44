"""What the configuration of an Outline server says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline_lb.api import Cipher, ComponentSpec, Listener, ListenerDeps, Secret, ServerCipher, parse_duration

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["listen", "keys"],
    "properties": {
        "listen": {
            "type": "array",
            "minItems": 1,
            "items": {"x-kind": "listener", "description": "One way in."},
            "description": "Where clients come in; all serve the same keys.",
        },
        "keys": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["secret"],
                "properties": {
                    "cipher": {"x-kind": "cipher", "default": "chacha20-ietf-poly1305", "description": "What the user's client encrypts with."},
                    "secret": {"x-secret": True, "type": ["string", "object"], "description": "What the user's client encrypts from."},
                },
                "description": "The key of one user.",
            },
            "description": "User names and their keys.",
        },
        "allow_private_targets": {
            "type": "boolean",
            "default": False,
            "description": "Let users reach loopback, private and other addresses that are not of the public internet.",
        },
        "udp_timeout": {
            "$ref": "outline-lb:defs#/$defs/duration",
            "default": "5m",
            "description": "An association over which a user sent no packet for this long is ended.",
        },
    },
    "examples": [
        {
            "listen": [{"type": "ws-h1", "address": "127.0.0.1:8080", "path": "/SECRET_PATH"}],
            "keys": {"ann": {"secret": "SECRET"}},
            "allow_private_targets": False,
            "udp_timeout": "5m",
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Key:
    """What a user has in common with the server.

    :param cipher: the cipher, not built yet
    :param secret: fits the cipher
    """

    cipher: ComponentSpec[None, Cipher]
    secret: Secret


@dataclass(frozen=True, slots=True)
class Options:
    """How an Outline server is set up.

    :param listen: the listeners, not built yet; at least one
    :param keys: user name to key; no two are the same
    :param allow_private_targets: whether targets need not be of the public internet
    :param udp_timeout: seconds after a user's last packet until the association ends
    """

    listen: tuple[ComponentSpec[ListenerDeps, Listener], ...]
    keys: Mapping[str, Key]
    allow_private_targets: bool = False
    udp_timeout: float = 300.0

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Options:
        """Read the validated node.

        :raises ValueError: with what is wrong
        """
        keys = {user: Key(**node) for user, node in raw["keys"].items()}
        same: dict[Secret, list[str]] = {}
        for user, key in keys.items():
            try:
                key.cipher.build(None).server({user: key.secret})
            except ValueError as exc:
                raise ValueError(f"keys: {user!r}: {exc}") from None
            for other in same.setdefault(key.secret, []):
                if keys[other].cipher == key.cipher:
                    raise ValueError(f"keys: {other!r} and {user!r} have the same secret, so nobody could tell them apart: give each its own")
            same[key.secret].append(user)
        udp_timeout = parse_duration(raw["udp_timeout"])
        if not udp_timeout:
            raise ValueError("udp_timeout: an association of 0s would carry nothing: write how long it may be idle, such as 5m")
        return cls(tuple(raw["listen"]), keys, raw["allow_private_targets"], udp_timeout)

    def ciphers(self) -> list[ServerCipher]:
        """Build what finds out whose stream it is: one for all the users of each cipher."""
        groups: list[tuple[ComponentSpec[None, Cipher], dict[str, Secret]]] = []
        for user, key in self.keys.items():
            for cipher, secrets in groups:
                if cipher == key.cipher:
                    secrets[user] = key.secret
                    break
            else:
                groups.append((key.cipher, {user: key.secret}))
        return [cipher.build(None).server(secrets) for cipher, secrets in groups]
