from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.base.address import Address
from outline_lb.net.resolver import SocketAddress, SystemResolver, interleave

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(("host", "family"), [("192.0.2.1", V4), ("2001:db8::1", V6)])
async def test_an_ip_address_is_its_own_answer(host: str, family: socket.AddressFamily) -> None:
    assert await SystemResolver().resolve(Address(host, 443)) == [(family, (host, 443))]


async def test_a_name_of_this_machine() -> None:
    found = await SystemResolver().resolve(Address("localhost", 80))
    assert {host for _, (host, _) in found} & {"127.0.0.1", "::1"}
    assert all(port == 80 for _, (_, port) in found)


async def test_the_systems_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getaddrinfo(*args: object, **kwargs: object) -> list[tuple[object, ...]]:
        asked.append(args[:2])
        return [
            (V6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)),
            (V6, socket.SOCK_STREAM, 6, "", ("2001:db8::2", 80, 0, 0)),
            (V4, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    found = await SystemResolver().resolve(Address("example.com", 80))
    assert found == [(V6, ("2001:db8::1", 80)), (V4, ("192.0.2.1", 80)), (V6, ("2001:db8::2", 80))]
    assert asked == [("example.com", 80)]


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(socket.gaierror):
        await SystemResolver().resolve(Address("example.com", 80))


def four(number: int) -> SocketAddress:
    return V4, (f"192.0.2.{number}", 1)


def six(number: int) -> SocketAddress:
    return V6, (f"2001:db8::{number}", 1)


@pytest.mark.parametrize(
    ("found", "mixed"),
    [
        ([], []),
        ([four(1), four(2)], [four(1), four(2)]),
        ([six(1), six(2), six(3), four(1)], [six(1), four(1), six(2), six(3)]),
        ([four(1), six(1), six(2)], [four(1), six(1), six(2)]),
        ([four(1), four(2), six(1), six(2)], [four(1), six(1), four(2), six(2)]),
    ],
)
def test_interleave(found: list[SocketAddress], mixed: list[SocketAddress]) -> None:
    assert interleave(found) == mixed


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([V4, V6]), st.tuples(st.ip_addresses().map(str), st.just(1)))))
def test_interleave_keeps_everything_and_the_order_within_a_family(found: list[SocketAddress]) -> None:
    mixed = interleave(found)
    for family in (V4, V6):
        assert [entry for entry in mixed if entry[0] is family] == [entry for entry in found if entry[0] is family]
    assert mixed[:1] == found[:1]
