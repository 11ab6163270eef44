from __future__ import annotations

import pytest

from outline_lb.api import ROOM, Address, Secret
from outline_lb_cipher_aead.client import AeadClient
from outline_lb_cipher_aead.codec import PythonCodec
from outline_lb_cipher_aead.method import METHODS

TARGET = Address("example.com", 443)


def first_bytes(client: AeadClient) -> bytes:
    out = bytearray(ROOM)
    sealer, _ = client.stream(TARGET)
    return bytes(out[: sealer.seal_into(b"", memoryview(out))])


@pytest.mark.parametrize(("name", "most"), [("chacha20-ietf-poly1305", 16), ("aes-256-gcm", 16), ("aes-192-gcm", 8), ("aes-128-gcm", 0)])
def test_sixteen_bytes_after_the_prefix_stay_random(name: str, most: int) -> None:
    prefix = b"POST / HTTP/1.1\r\n"[:most]
    client = AeadClient(METHODS[name], Secret("Secret0"), prefix, PythonCodec())
    salts = {first_bytes(client)[: METHODS[name].size] for _ in range(20)}
    assert all(salt.startswith(prefix) for salt in salts)
    assert len({salt[-16:] for salt in salts}) == 20


@pytest.mark.parametrize(("name", "most"), [("chacha20-ietf-poly1305", 16), ("aes-256-gcm", 16), ("aes-192-gcm", 8), ("aes-128-gcm", 0)])
def test_a_longer_prefix_is_refused(name: str, most: int) -> None:
    with pytest.raises(ValueError, match=f"^the prefix has {most + 1} bytes, and {name} takes at most {most}: 16 of its salt must stay random$"):
        AeadClient(METHODS[name], Secret("Secret0"), bytes(most + 1), PythonCodec())


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        AeadClient(METHODS["aes-256-gcm"], Secret(""), b"", PythonCodec())
