"""The four methods, and the names that they go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

TAG: Final = 16


@dataclass(frozen=True, slots=True)
class Method:
    """One AEAD algorithm with its sizes. Nonces have 12 bytes and tags 16 in all of them.

    :param name: what Outline calls it
    :param aead: makes the algorithm of a key
    :param size: bytes of a key, and of a salt
    """

    name: str
    aead: type[ChaCha20Poly1305] | type[AESGCM]
    size: int


_METHODS = (
    Method("chacha20-ietf-poly1305", ChaCha20Poly1305, 32),
    Method("aes-256-gcm", AESGCM, 32),
    Method("aes-192-gcm", AESGCM, 24),
    Method("aes-128-gcm", AESGCM, 16),
)

_ALIASES = {  # RFC 5116 style names from the IANA registry, and a name that other clients write
    "chacha20-poly1305": "chacha20-ietf-poly1305",
    "aead_chacha20_poly1305": "chacha20-ietf-poly1305",
    "aead_aes_256_gcm": "aes-256-gcm",
    "aead_aes_192_gcm": "aes-192-gcm",
    "aead_aes_128_gcm": "aes-128-gcm",
}

_by_name = {method.name: method for method in _METHODS}

METHODS: Final[Mapping[str, Method]] = _by_name | {alias: _by_name[name] for alias, name in _ALIASES.items()}
"""Every name that a configuration may say, in lower case, and the method that it means."""
