"""Everything that seals or opens is run with each codec that is installed, that in Python first."""

from __future__ import annotations

import pytest

from outline_lb_cipher_aead.codec import Codec, find, installed
from outline_lb_cipher_aead.method import METHODS


@pytest.fixture(params=installed(), scope="session")
def codec_name(request: pytest.FixtureRequest) -> str:
    """The name of a codec."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def codec(codec_name: str) -> Codec:
    """A codec, which can do all methods."""
    codec = find(codec_name, "chacha20-ietf-poly1305")
    assert set(codec.methods) >= {method.name for method in METHODS.values()}
    return codec
