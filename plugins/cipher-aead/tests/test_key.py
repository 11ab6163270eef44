from __future__ import annotations

import hmac
import os

import pytest

from outline_lb.api import Secret
from outline_lb_cipher_aead.key import SaltMark, master_key, secret_bytes, subkey

KEY = "30fe21e6124af58a3cecf1ccb83e5f8835555b3792f4d3e35330fba66ab010d4"  # of the secret "Secret0"


def hkdf_sha1(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF as RFC 5869 section 2 writes it down."""
    random = hmac.digest(salt, key, "sha1")
    block = out = b""
    while len(out) < size:
        block = hmac.digest(random, block + info + bytes((len(out) // 20 + 1,)), "sha1")
        out += block
    return out[:size]


def test_the_hkdf_of_these_tests_is_that_of_rfc_5869_appendix_a4() -> None:
    key = hkdf_sha1(b"\x0b" * 11, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert key.hex() == "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896"


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_subkey_is_hkdf_of_the_master_key(size: int) -> None:
    master, salt = os.urandom(size), os.urandom(size)
    assert subkey(master, salt) == hkdf_sha1(master, salt, b"ss-subkey", size)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (32, "32ebacd257daf5f679cb9e9aca905b85b82dd0705b63f6f1139b0f51f0f3674e"),
        (24, "388eed5012aa94b8b7b0ea6f17a7833c3b734a46a25dd9e1"),
        (16, "cef847baba8103990555e962139b4fe4"),
    ],
)
def test_the_keys_of_a_known_secret(size: int, expected: str) -> None:
    master = master_key(b"Secret0", size)
    assert master.hex() == KEY[: 2 * size]
    assert subkey(master, bytes(range(size))).hex() == expected


def test_a_master_key_is_evp_bytes_to_key() -> None:
    assert master_key(b"password", 32).hex() == "5f4dcc3b5aa765d61d8327deb882cf992b95990a9151374abd8ff8c5a7a0fe08"


def test_a_secret_is_its_utf8() -> None:
    assert secret_bytes(Secret("naïve-κλειδί")) == "naïve-κλειδί".encode()


@pytest.mark.parametrize("text", ["", "half-a-pair-\ud800"])
def test_a_secret_that_cannot_be_one_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the secret ") as caught:
        secret_bytes(Secret(text))
    assert "half" not in str(caught.value)
    assert caught.value.__cause__ is None


class TestSaltMark:
    @pytest.mark.parametrize("size", [20, 24, 32])
    def test_is_an_hmac_at_the_end_of_the_salt(self, size: int) -> None:
        salt = SaltMark(b"Secret0", size).new_salt()
        key = hkdf_sha1(b"Secret0", bytes(20), b"outline-server-salt", 20)
        assert len(salt) == size
        assert salt[-4:] == hmac.digest(key, salt[:-4], "sha1")[:4]

    @pytest.mark.parametrize("size", [20, 24, 32])
    def test_is_seen_by_its_own_server_only(self, size: int) -> None:
        salt = SaltMark(b"Secret0", size).new_salt()
        assert SaltMark(b"Secret0", size).is_on(salt)
        assert not SaltMark(b"Secret1", size).is_on(salt)
        assert not SaltMark(b"Secret0", size).is_on(os.urandom(size - 4) + salt[-4:])

    def test_is_left_out_of_a_salt_that_is_too_short_for_it(self) -> None:
        mark = SaltMark(b"Secret0", 16)
        salts = {mark.new_salt() for _ in range(10)}
        assert len(salts) == 10
        assert not any(len(salt) != 16 or mark.is_on(salt) for salt in salts)
