from __future__ import annotations

import base64

import pytest

from outline_lb_websocket.key import accept_of, is_key, new_key


def test_accept_of_the_example_in_the_rfc() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys_are_fresh_and_of_16_bytes() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(is_key(key) and len(base64.b64decode(key)) == 16 for key in keys)


@pytest.mark.parametrize("text", ["", "x", "AAAA", base64.b64encode(bytes(15)).decode(), base64.b64encode(bytes(17)).decode(), "*" * 24, "ä" * 24])
def test_other_texts_are_no_keys(text: str) -> None:
    assert not is_key(text)
