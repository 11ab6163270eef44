"""Keys: from the secret text to the key of one direction of one stream."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from outline_lb.api import Secret

MIN_RANDOM: Final = 16
"""Random bytes that every salt keeps, so that none ever comes twice."""

_MARK: Final = 4
_SHA1: Final = SHA1()  # noqa: S303 - what SIP004 says; HMAC does not need SHA-1 to be free of collisions


def secret_bytes(secret: Secret) -> bytes:
    """Return what keys are made of.

    :raises ValueError: if there is nothing, or nothing that can be written as UTF-8
    """
    try:
        data = secret.reveal().encode()
    except UnicodeEncodeError:
        raise ValueError("the secret holds characters that are no Unicode text") from None
    if not data:
        raise ValueError("the secret is empty")
    return data


def master_key(secret: bytes, size: int) -> bytes:
    """Derive the key that belongs to a secret: EVP_BytesToKey of OpenSSL with MD5, one round and no salt."""
    key = digest = b""
    while len(key) < size:
        digest = hashlib.md5(digest + secret, usedforsecurity=False).digest()
        key += digest
    return key[:size]


def subkey(master: bytes, salt: bytes) -> bytes:
    """Derive the key of one direction of one stream: HKDF (RFC 5869) with SHA-1; as long as `master`."""
    return HKDF(_SHA1, len(master), salt, b"ss-subkey").derive(master)


class SaltMark:
    """Marks the salts of a server, so that it knows its own when somebody sends them back.

    The last four bytes are an HMAC of those before; to everybody else they look random. A salt too short to stay random enough has no mark.

    :param secret: of the user
    :param size: bytes of a salt
    """

    __slots__ = ("_key", "_size")

    def __init__(self, secret: bytes, size: int) -> None:
        self._size = size
        self._key = HKDF(_SHA1, 20, None, b"outline-server-salt").derive(secret) if size - _MARK >= MIN_RANDOM else None

    def new_salt(self) -> bytes:
        """Return a fresh salt for an answer."""
        if self._key is None:
            return os.urandom(self._size)
        head = os.urandom(self._size - _MARK)
        return head + self._of(self._key, head)

    def is_on(self, salt: bytes) -> bool:
        """Tell whether this salt came from `new_salt`."""
        return self._key is not None and hmac.compare_digest(salt[-_MARK:], self._of(self._key, salt[:-_MARK]))

    @staticmethod
    def _of(key: bytes, head: bytes) -> bytes:
        return hmac.digest(key, head, "sha1")[:_MARK]
