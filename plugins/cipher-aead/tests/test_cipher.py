from __future__ import annotations

import pytest

from outline_lb.api import Cipher
from outline_lb.testing.conformance.cipher import CipherSuite
from outline_lb_cipher_aead.cipher import AeadCipher
from outline_lb_cipher_aead.method import METHODS
from outline_lb_cipher_aead.options import Options


class AeadSuite(CipherSuite):
    method: str
    replay_history = 100

    @pytest.fixture(autouse=True)
    def use(self, codec_name: str) -> None:
        self.codec = codec_name

    def make_cipher(self) -> Cipher:
        return AeadCipher(METHODS[self.method], Options(self.replay_history, self.codec))


class TestChaCha20(AeadSuite):
    method = "chacha20-ietf-poly1305"


class TestAes256(AeadSuite):
    method = "aes-256-gcm"


class TestAes192(AeadSuite):
    method = "aes-192-gcm"


class TestAes128(AeadSuite):
    method = "aes-128-gcm"
    replay_history = 0
