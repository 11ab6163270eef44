from __future__ import annotations

from importlib.metadata import distribution

import pytest

from outline_lb.api import ROOM, Address, Secret
from outline_lb_cipher_aead import plugin
from outline_lb_cipher_aead.options import Options

ALIASES = {
    "chacha20-ietf-poly1305": ["chacha20-poly1305", "aead_chacha20_poly1305"],
    "aes-256-gcm": ["aead_aes_256_gcm"],
    "aes-192-gcm": ["aead_aes_192_gcm"],
    "aes-128-gcm": ["aead_aes_128_gcm"],
}
REGISTRATIONS = {registration.type: registration for registration in plugin.outline_lb_ciphers()}


def test_made_for_this_core() -> None:
    assert plugin.OUTLINE_LB_API == 1


def test_there_is_a_registration_for_each_entry_point() -> None:
    found = distribution("outline-lb-cipher-aead").entry_points.select(group="outline_lb.ciphers")
    assert {(entry.name, entry.value) for entry in found} == {(name, "outline_lb_cipher_aead.plugin") for name in REGISTRATIONS}
    assert set(REGISTRATIONS) == {name for names in ALIASES.items() for name in (names[0], *names[1])}


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_means_the_same_method(name: str) -> None:
    options, secret = Options(replay_history=0), Secret("Secret0")
    out = bytearray(ROOM)
    server = REGISTRATIONS[name].build(options, None).server({"user": secret})
    for alias in ALIASES[name]:
        sealer, _ = REGISTRATIONS[alias].build(options, None).client(secret, b"").stream(Address("example.com", 443))
        assert server.accept(bytes(out[: sealer.seal_into(b"hello", memoryview(out))])) is not None
