"""Seals and opens the chunks of outline-lb-cipher-aead in C."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

from outline_lb.api import Opener, ProtocolError, Sealer
from outline_lb_cipher_aead.codec import Codec
from outline_lb_cipher_aead.key import subkey

from . import _chunks

CIPHERS: Final[Mapping[str, str]] = {
    "chacha20-ietf-poly1305": "ChaCha20-Poly1305",
    "aes-256-gcm": "AES-256-GCM",
    "aes-192-gcm": "AES-192-GCM",
    "aes-128-gcm": "AES-128-GCM",
}
"""What OpenSSL calls the methods."""


class OpenSslCodec(Codec):
    """The EVP interface of OpenSSL 3, without the interpreter between one unit and the next."""

    methods = CIPHERS.keys()

    def sealer(self, method: str, master: bytes, salt: bytes, header: bytes = b"") -> Sealer:
        return cast("Sealer", _chunks.Sealer(CIPHERS[method], subkey(master, salt), salt, header))

    def opener(self, method: str, master: bytes) -> Opener:
        return cast("Opener", _chunks.Opener(CIPHERS[method], len(master), partial(subkey, master), ProtocolError))


Sealer.register(_chunks.Sealer)
Opener.register(_chunks.Opener)

CODEC: Final = OpenSslCodec()
