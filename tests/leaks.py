"""Looks for secrets in what a program produced, however they may be written there."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

LONG_ENOUGH = 6
"""Characters from which on a secret cannot stand in a text by chance."""


def spellings(secret: bytes) -> Iterator[bytes]:
    """Yield how a secret may stand in a text: as it is, percent-encoded, in hex, and in base64 wherever it begins in what was encoded."""
    yield secret
    yield quote(secret).encode()
    yield quote(secret, safe="").encode()
    yield secret.replace(b"~", b"~0")  # in a JSON pointer
    yield secret.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        middle = encoded[-(-before * 4 // 3) + (before > 0) : len(encoded) // 4 * 4 - 4]
        yield middle
        yield middle.translate(bytes.maketrans(b"+/", b"-_"))


def leaks(produced: bytes, secrets: Iterable[str]) -> list[bytes]:
    """Return the lines in which a secret stands."""
    wanted = {spelling.lower() for secret in secrets for spelling in spellings(secret.encode())}
    return [line for line in produced.splitlines() if any(spelling in line.lower() for spelling in wanted)]


def secrets_of(config: object, key: str = "") -> Iterator[str]:
    """Yield the secrets that stand in a configuration, as far as they are long enough to be looked for: keys, passwords, paths."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from secrets_of(value, "password" if key == "users" else str(name))
    elif isinstance(config, list):
        for value in config:
            yield from secrets_of(value, key)
    elif isinstance(config, str):
        secret = config if key in {"secret", "password", "path"} else urlsplit(config).path if key == "tcp" else ""
        if len(secret) >= LONG_ENOUGH:
            yield secret
