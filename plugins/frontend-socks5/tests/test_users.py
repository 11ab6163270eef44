from __future__ import annotations

import hmac

import pytest

from outline_lb.api import Address, Secret
from outline_lb_frontend_socks5.protocol import Credentials
from outline_lb_frontend_socks5.users import DELAY, MAX_CLIENTS, MAX_FAILURES, WINDOW, Brake, Users

CLIENT = Address("192.0.2.1", 40000)


@pytest.mark.parametrize(
    ("name", "password", "known"),
    [
        (b"alice", b"secret", True),
        (b"bob", "pässword".encode(), True),
        (b"alice", b"Secret", False),
        (b"alice", b"", False),
        (b"alice", b"secret\0", False),
        (b"bob", b"secret", False),
        (b"carol", b"secret", False),
        (b"", b"", False),
        (b"\xff", b"\xff", False),
    ],
)
def test_knows_names_with_their_passwords(name: bytes, password: bytes, known: bool) -> None:
    users = Users({"alice": Secret("secret"), "bob": Secret("pässword")})
    assert users.know(Credentials(name, password)) is known


@pytest.mark.parametrize("name", [b"alice", b"nobody"])
@pytest.mark.parametrize("password", [b"secre", b"s", b"a password of quite another length"])
def test_compares_the_same_number_of_bytes_whoever_asks(monkeypatch: pytest.MonkeyPatch, name: bytes, password: bytes) -> None:
    compared = []

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((len(one), len(two)))
        return one == two

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not Users({"alice": Secret("secret")}).know(Credentials(name, password))
    assert compared == [(32, 32)]


def failed(brake: Brake, client: Address, times: int, now: float = 0.0) -> Brake:
    for _ in range(times):
        brake.failed(client, now)
    return brake


def test_some_failures_are_free() -> None:
    brake = failed(Brake(), CLIENT, MAX_FAILURES - 1)
    assert brake.delay(CLIENT, 0.0) == 0.0
    assert failed(brake, CLIENT, 1).delay(CLIENT, 0.0) == DELAY


def test_other_clients_are_not_slowed_down() -> None:
    brake = failed(Brake(), CLIENT, 100)
    assert brake.delay(Address("192.0.2.2", 40000), 0.0) == 0.0
    assert brake.delay(Address(CLIENT.host, 50000), 0.0) == DELAY


def test_an_ipv6_client_is_its_network() -> None:
    brake = failed(Brake(), Address("2001:db8::1", 1), MAX_FAILURES)
    assert brake.delay(Address("2001:db8::ffff:1", 1), 0.0) == DELAY
    assert brake.delay(Address("2001:db8:0:1::1", 1), 0.0) == 0.0


def test_a_minute_later_all_is_forgotten() -> None:
    brake = failed(Brake(), CLIENT, 100, now=5.0)
    assert brake.delay(CLIENT, 4.9 + WINDOW) == DELAY
    assert brake.delay(CLIENT, 5.0 + WINDOW) == 0.0
    assert failed(brake, CLIENT, MAX_FAILURES - 1, now=5.0 + WINDOW).delay(CLIENT, 5.0 + WINDOW) == 0.0


def test_a_client_without_an_address_counts_too() -> None:
    brake = Brake()
    for _ in range(MAX_FAILURES):
        brake.failed(None, 0.0)
    assert brake.delay(None, 0.0) == DELAY


def test_remembers_only_so_many_clients_and_those_that_go_on_longest() -> None:
    brake = failed(Brake(), CLIENT, MAX_FAILURES)
    others = [Address(f"198.51.{number // 256}.{number % 256}", 1) for number in range(MAX_CLIENTS - 1)]
    for other in others:
        brake.failed(other, 0.0)
    brake.failed(CLIENT, 0.0)  # now others[0] failed the longest ago
    failed(brake, others[0], MAX_FAILURES - 1)
    failed(brake, Address("203.0.113.1", 1), 2)  # pushes others[1] out
    assert brake.delay(CLIENT, 0.0) == brake.delay(others[0], 0.0) == DELAY
    failed(brake, others[1], MAX_FAILURES - 1)
    assert brake.delay(others[1], 0.0) == 0.0
    assert len(brake._failures) == MAX_CLIENTS
