from __future__ import annotations

from outline_lb.api import Cipher
from outline_lb.testing.conformance.cipher import CipherSuite
from outline_lb_cipher_aead.cipher import AeadCipher
from outline_lb_cipher_aead.method import METHODS
from outline_lb_cipher_aead.options import Options


class TestChaCha20(CipherSuite):
    def make_cipher(self) -> Cipher:
        return AeadCipher(METHODS["chacha20-ietf-poly1305"], Options(replay_history=100))


class TestAes256(CipherSuite):
    def make_cipher(self) -> Cipher:
        return AeadCipher(METHODS["aes-256-gcm"], Options(replay_history=100))


class TestAes192(CipherSuite):
    def make_cipher(self) -> Cipher:
        return AeadCipher(METHODS["aes-192-gcm"], Options(replay_history=100))


class TestAes128(CipherSuite):
    def make_cipher(self) -> Cipher:
        return AeadCipher(METHODS["aes-128-gcm"], Options(replay_history=0))
