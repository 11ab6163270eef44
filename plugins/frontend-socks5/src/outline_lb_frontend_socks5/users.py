"""Who may come in: names and passwords, and a brake for those who guess them."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from typing import Final

from outline_lb.api import Address, Secret

from .protocol import Credentials

MAX_FAILURES: Final = 5
WINDOW: Final = 60.0
"""After `MAX_FAILURES` within this many seconds, a client address is slowed down until they are over."""
DELAY: Final = 1.0
"""Seconds that such a client waits for its answer, be it yes or no: an answer that only comes late when it is a no tells at once."""
MAX_CLIENTS: Final = 1024
"""Client addresses whose failures are remembered."""


class Users:
    """Names and passwords (RFC 1929), compared in a time that tells nothing about either.

    :param users: name to password
    """

    def __init__(self, users: Mapping[str, Secret]) -> None:
        self._digests = {name.encode(): _digest(password.reveal().encode()) for name, password in users.items()}
        self._nobody = secrets.token_bytes(hashlib.sha256().digest_size)

    def know(self, credentials: Credentials) -> bool:
        """Tell whether there is such a user with such a password."""
        return hmac.compare_digest(self._digests.get(credentials.name, self._nobody), _digest(credentials.password))


class Brake:
    """Slows those client addresses down that fail again and again. Bounded: the one that failed the longest ago is forgotten first."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, int]] = {}

    def failed(self, client: Address | None, now: float) -> None:
        """Note a failure.

        :param client: whose
        :param now: the loop's time
        """
        key = _network(client)
        since, count = self._failures.pop(key, (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        elif not count and len(self._failures) >= MAX_CLIENTS:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = since, count + 1

    def delay(self, client: Address | None, now: float) -> float:
        """Return the seconds that a client has to wait for its answer.

        :param client: whose
        :param now: the loop's time
        """
        since, count = self._failures.get(_network(client), (now, 0))
        return DELAY if count >= MAX_FAILURES and now - since < WINDOW else 0.0


def _digest(password: bytes) -> bytes:
    return hashlib.sha256(password).digest()


def _network(client: Address | None) -> str:
    """Return what one client can choose its address from: in IPv6 it has a whole /64."""
    ip = client.ip if client else None
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip and ip.version == 6 else str(ip)
