"""The packets of Shadowsocks (SIP004), made of a library of ciphers alone: a second opinion on ours."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from outline_lb.base.address import Address

_AEAD: Final[dict[str, type[ChaCha20Poly1305 | AESGCM]]] = {"chacha20-ietf-poly1305": ChaCha20Poly1305, "aes-256-gcm": AESGCM}
_SALT: Final = 32
_NONCE: Final = bytes(12)


def _aead(cipher: str, secret: str, salt: bytes) -> ChaCha20Poly1305 | AESGCM:
    first = hashlib.md5(secret.encode()).digest()  # EVP_BytesToKey
    master = first + hashlib.md5(first + secret.encode()).digest()
    return _AEAD[cipher](HKDF(SHA1(), 32, salt, b"ss-subkey").derive(master))


def seal_packet(cipher: str, secret: str, target: Address, data: bytes) -> bytes:
    """Return what a client sends. The target has an IPv4 address."""
    salt = os.urandom(_SALT)
    address = b"\x01" + ipaddress.IPv4Address(target.host).packed + target.port.to_bytes(2, "big")
    return salt + _aead(cipher, secret, salt).encrypt(_NONCE, address + data, None)


def open_packet(cipher: str, secret: str, packet: bytes) -> tuple[Address, bytes]:
    """Return who sent a packet, who has an IPv4 address, and what is in it.

    :raises cryptography.exceptions.InvalidTag: if it was damaged
    """
    plain = _aead(cipher, secret, packet[:_SALT]).decrypt(_NONCE, packet[_SALT:], None)
    assert plain[0] == 1
    return Address(str(ipaddress.IPv4Address(plain[1:5])), int.from_bytes(plain[5:7], "big")), plain[7:]
