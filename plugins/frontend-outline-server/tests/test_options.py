from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outline_lb.api import Address, Cipher, ComponentSpec, Listener, ListenerDeps, Secret
from outline_lb_frontend_outline_server.options import Key, Options

CipherSpec = Callable[[int], ComponentSpec[None, Cipher]]
ListenerSpec = Callable[[Address], ComponentSpec[ListenerDeps, Listener]]
HERE = Address("127.0.0.1", 0)


def parse(listen: ComponentSpec[ListenerDeps, Listener], timeout: str = "5m", **keys: tuple[ComponentSpec[None, Cipher], str]) -> Options:
    nodes: dict[str, Any] = {user: {"cipher": cipher, "secret": Secret(secret)} for user, (cipher, secret) in keys.items()}
    return Options.parse({"listen": [listen], "keys": nodes, "allow_private_targets": False, "udp_timeout": timeout})


def test_keys_and_listeners_are_kept_as_they_are_given(cipher: CipherSpec, listener: ListenerSpec) -> None:
    assert parse(listener(HERE), alice=(cipher(1), "x")) == Options((listener(HERE),), {"alice": Key(cipher(1), Secret("x"))})


def test_packets_are_waited_for_as_long_as_it_is_said(cipher: CipherSpec, listener: ListenerSpec) -> None:
    assert parse(listener(HERE), "1m30s", alice=(cipher(1), "x")).udp_timeout == 90
    with pytest.raises(ValueError, match="udp_timeout: an association of 0s would carry nothing"):
        parse(listener(HERE), "0s", alice=(cipher(1), "x"))


def test_options_compare_by_value(cipher: CipherSpec, listener: ListenerSpec) -> None:
    one = parse(listener(HERE), alice=(cipher(1), "x"))
    assert one != parse(listener(HERE), alice=(cipher(1), "y"))
    assert one != parse(listener(HERE), alice=(cipher(2), "x"))
    assert one != parse(listener(Address("::1", 0)), alice=(cipher(1), "x"))


def test_users_who_cannot_be_told_apart(cipher: CipherSpec, listener: ListenerSpec) -> None:
    with pytest.raises(ValueError, match="'alice' and 'bob' have the same secret") as caught:
        parse(listener(HERE), alice=(cipher(1), "S3CR3T"), carol=(cipher(2), "S3CR3T"), bob=(cipher(1), "S3CR3T"))
    assert "S3CR3T" not in str(caught.value)


def test_the_same_secret_with_another_cipher_is_another_key(cipher: CipherSpec, listener: ListenerSpec) -> None:
    assert list(parse(listener(HERE), alice=(cipher(1), "x"), bob=(cipher(2), "x")).keys) == ["alice", "bob"]


def test_a_secret_that_does_not_fit_its_cipher_is_named_by_its_user(cipher: CipherSpec, listener: ListenerSpec) -> None:
    with pytest.raises(ValueError, match="keys: 'bob': a secret has at least one character"):
        parse(listener(HERE), alice=(cipher(1), "x"), bob=(cipher(1), ""))


def test_one_server_cipher_for_all_users_of_a_cipher(cipher: CipherSpec, listener: ListenerSpec) -> None:
    keys: Any = {"alice": (cipher(1), "x"), "bob": (cipher(2), "x"), "carol": (cipher(1), "y")}
    ones, twos = parse(listener(HERE), **keys).ciphers()
    for server, mark, secret, user in ((ones, 1, b"x", "alice"), (ones, 1, b"y", "carol"), (twos, 2, b"x", "bob")):
        header = bytes((mark,)) + bytes(byte ^ mark for byte in b"\1" + secret + b"\3\1a\0\1")
        accepted = server.accept(header)
        assert accepted is not None
        assert accepted.user == user
