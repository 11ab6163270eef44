from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.base.address import Address
from outline_lb.net.resolver import MAX_LOOKUPS, PATIENCE, RECHECK, LastGood, Resolver, SocketAddress, SystemResolver, interleave

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


class NameServer:
    """Stands for the system: silent about some, until the test ends."""

    def __init__(self) -> None:
        self.silent: set[tuple[str, socket.AddressFamily]] = set()
        self.asked: list[tuple[str, socket.AddressFamily]] = []
        self.end = threading.Event()

    def getaddrinfo(self, host: str, port: int, family: socket.AddressFamily, *_more: object) -> list[tuple[object, ...]]:
        self.asked.append((host, family))
        if (host, family) in self.silent:
            self.end.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if family == V6:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(V4, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.end.set()


async def test_who_asks_for_the_same_name_gets_the_same_answer(name_server: NameServer) -> None:
    resolver, address = SystemResolver(), Address("example.com", 80)
    answers = await asyncio.gather(*(resolver.resolve(address) for _ in range(10)))
    assert answers == [[four(1, 80)]] * 10
    assert name_server.asked == [("example.com", socket.AF_UNSPEC)]
    await resolver.resolve(address)
    assert len(name_server.asked) == 2


async def test_a_family_that_is_never_answered_is_not_waited_for(name_server: NameServer) -> None:
    name_server.silent = {("example.com", socket.AF_UNSPEC), ("example.com", V6)}
    assert await asyncio.wait_for(SystemResolver().resolve(Address("example.com", 80)), 10) == [four(1, 80)]


async def test_a_silent_name_holds_up_no_other(name_server: NameServer) -> None:
    name_server.silent = {(f"{number}.test", family) for number in range(50) for family in (socket.AF_UNSPEC, V4, V6)}
    resolver = SystemResolver()
    waiting = [asyncio.create_task(resolver.resolve(Address(f"{number}.test", 80))) for number in range(50)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(resolver.resolve(Address("example.com", 80)), 10) == [four(1, 80)]
    name_server.end.set()
    assert all(isinstance(failure, socket.gaierror) for failure in await asyncio.gather(*waiting, return_exceptions=True))


async def test_a_waiter_that_goes_away_takes_nobody_along(name_server: NameServer) -> None:
    name_server.silent = {("example.com", family) for family in (socket.AF_UNSPEC, V4, V6)}
    resolver = SystemResolver()
    first, second = (asyncio.create_task(resolver.resolve(Address("example.com", 80))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    name_server.end.set()
    with pytest.raises(socket.gaierror, match="Temporary"):
        await second


async def test_too_many_names_at_once_are_refused(name_server: NameServer) -> None:
    name_server.silent = {(f"{number}.test", family) for number in range(MAX_LOOKUPS) for family in (socket.AF_UNSPEC, V4, V6)}
    resolver = SystemResolver()
    waiting = [asyncio.create_task(resolver.resolve(Address(f"{number}.test", 80))) for number in range(MAX_LOOKUPS)]
    await asyncio.sleep(0)
    with pytest.raises(socket.gaierror, match="too many"):
        await resolver.resolve(Address("example.com", 80))
    name_server.end.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await resolver.resolve(Address("example.com", 80)) == [four(1, 80)]


class Answers(Resolver):
    """Takes some seconds, and answers or fails."""

    def __init__(self) -> None:
        self.answer: list[SocketAddress] | OSError = [four(1)]
        self.seconds = 0.0
        self.asked = 0

    async def resolve(self, address: Address) -> list[SocketAddress]:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


FAILURE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
SERVER = Address("example.com", 443)


@pytest.mark.fake_clock
async def test_the_last_answer_is_kept_when_there_is_no_new_one_and_not_asked_for_again_at_once() -> None:
    answers = Answers()
    resolver = LastGood(answers)
    assert await resolver.resolve(SERVER) == [four(1)]
    answers.answer = FAILURE
    for _ in range(3):
        assert await resolver.resolve(SERVER) == [four(1)]
    assert answers.asked == 2
    answers.answer = [four(2)]
    await asyncio.sleep(RECHECK)
    assert await resolver.resolve(SERVER) == [four(2)]
    answers.answer = [four(3)]
    assert await resolver.resolve(SERVER) == [four(3)]


@pytest.mark.fake_clock
async def test_a_new_answer_that_takes_too_long_is_not_waited_for_where_there_is_an_old_one() -> None:
    loop, answers = asyncio.get_running_loop(), Answers()
    resolver = LastGood(answers)
    answers.seconds = 8
    assert await resolver.resolve(SERVER) == [four(1)]  # there is none, so it is waited for
    before = loop.time()
    assert await resolver.resolve(SERVER) == [four(1)]
    assert loop.time() - before == pytest.approx(PATIENCE)


async def test_a_name_that_never_had_an_answer_has_none() -> None:
    answers = Answers()
    answers.answer = FAILURE
    with pytest.raises(socket.gaierror, match="not known"):
        await LastGood(answers).resolve(SERVER)


def four(number: int, port: int = 1) -> SocketAddress:
    return V4, (f"192.0.2.{number}", port)


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
