from __future__ import annotations

from outline_lb_cipher_aead.replay import ReplayCache


def salts(first: int, last: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(first, last + 1)]


def test_a_salt_is_new_once() -> None:
    cache = ReplayCache(100)
    assert [cache.add(salt) for salt in salts(1, 50) * 2] == [True] * 50 + [False] * 50


def test_the_last_salts_are_known_and_up_to_as_many_before_them() -> None:
    cache = ReplayCache(10)
    assert all(cache.add(salt) for salt in salts(1, 25))
    assert not any(cache.add(salt) for salt in salts(11, 25))


def test_older_salts_are_forgotten() -> None:
    cache = ReplayCache(10)
    assert all(cache.add(salt) for salt in salts(1, 30))
    assert cache.add(salts(1, 1)[0])


def test_without_capacity_nothing_is_remembered() -> None:
    cache = ReplayCache(0)
    assert all(cache.add(salt) for salt in salts(1, 2) * 2)
