"""Values that must not appear anywhere: in no log, error, metric, page or process list."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

from .address import Address
from .errors import AddressError

MASK: Final = "***"
_PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443}


class Secret:
    """A text that prints as ``***``. `reveal` is the only way to it.

    :param value: the text
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text; for the one place that needs it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")  # an environment variable may hold any bytes


class SecretUrl:
    """A URL whose path is a secret, as the WebSocket paths of Outline servers are: prints as ``wss://host:443/***``.

    :param text: the URL
    :raises AddressError: if it has no scheme, host or port, or holds user info, a fragment or characters that a URL has percent-encoded; the
        message holds nothing of a URL that could not be taken apart
    """

    __slots__ = ("_target", "address", "scheme")

    def __init__(self, text: str) -> None:
        if not text.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in text):  # urlsplit would leave some out
            raise AddressError("a URL holds characters that must be percent-encoded")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise AddressError("no URL: write scheme://host:port/path, with a port from 0 to 65535") from None
        self.scheme: Final = parts.scheme.lower()
        if not self.scheme or not parts.hostname:
            raise AddressError("no URL: write scheme://host:port/path")
        if parts.username is not None or parts.fragment:
            raise AddressError("user info and fragment are not part of a server's URL")
        if port is None:
            port = _PORTS.get(self.scheme)
        if port is None:
            raise AddressError(f"a {self.scheme}:// URL needs a port")
        self.address: Final = Address.of(parts.hostname, port)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def reveal_target(self) -> str:
        """Return path and query, as an HTTP request line wants them."""
        return self._target

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretUrl):
            return NotImplemented
        return (self.scheme, self.address, self._target) == (other.scheme, other.address, other._target)

    def __hash__(self) -> int:
        return hash((self.scheme, self.address, self._target))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}/{MASK if self._target != '/' else ''}"

    def __repr__(self) -> str:
        return f"SecretUrl({self})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")
