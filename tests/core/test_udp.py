from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
import uvloop

from outline_lb.base.address import Address
from outline_lb.base.drops import Drops
from outline_lb.base.errors import StartError
from outline_lb.base.packets import MAX_PACKET
from outline_lb.net.connector import Connector, Via
from outline_lb.net.udp import BATCH, Datagram, SocketName, UdpSocket
from outline_lb.testing.clock import settle

ANY_PORT = Address("127.0.0.1", 0)
hosts = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything on both loops."""
    if "anyio_backend" in metafunc.fixturenames:
        backends = [("asyncio", {}), ("asyncio", {"loop_factory": uvloop.new_event_loop})]
        metafunc.parametrize("anyio_backend", backends, ids=["asyncio", "uvloop"])


class Inbox:
    """What a socket received, in `batches` as it came; `errors` has what the network said."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.errors: list[OSError] = []
        self._news = asyncio.Event()

    @property
    def datagrams(self) -> list[Any]:
        return [datagram for batch in self.batches for datagram in batch]

    def received(self, datagrams: list[Any]) -> None:
        assert datagrams
        self.batches.append(datagrams)
        self._news.set()

    def failed(self, error: OSError) -> None:
        self.errors.append(error)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def wait(self, count: int) -> list[Any]:
        await self.until(lambda: len(self.datagrams) >= count)
        return self.datagrams


@contextlib.contextmanager
def peer(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """Provide a plain socket of somebody else."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        sock.settimeout(10)
        yield sock


@contextlib.contextmanager
def bound(host: str = "127.0.0.1", drops: Drops | None = None) -> Iterator[UdpSocket]:
    sock = UdpSocket.bind(Address(host, 0), drops)
    try:
        yield sock
    finally:
        sock.close()


def name(sock: UdpSocket) -> SocketName:
    return sock.address.host, sock.address.port


def connected(address: Address, drops: Drops | None = None) -> UdpSocket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return Connector().open_udp((family, (address.host, address.port)), drops or Drops(), connect=True)


def unused() -> Address:
    with peer() as sock:
        return Address(*sock.getsockname())


# -- datagrams


@hosts
async def test_datagrams_come_with_their_senders_and_go_where_they_should(host: str) -> None:
    with bound(host) as sock, peer(host) as one, peer(host) as two:
        sock.start((inbox := Inbox()).received)
        one.sendto(b"from one", name(sock))
        two.sendto(b"from two", name(sock))
        assert sorted(await inbox.wait(2)) == [(b"from one", one.getsockname()), (b"from two", two.getsockname())]
        sock.send(b"to one", one.getsockname())
        sock.send(b"to two", two.getsockname())
        assert one.recvfrom(100)[0] == b"to one"
        assert two.recvfrom(100)[0] == b"to two"


@hosts
@pytest.mark.parametrize("size", [0, 1, 1400, MAX_PACKET])
async def test_any_size(host: str, size: int) -> None:
    data = os.urandom(size)
    with bound(host) as one, bound(host) as two:
        two.start((inbox := Inbox()).received)
        one.send(data, name(two))
        assert [datagram for datagram, _ in await inbox.wait(1)] == [data]


async def test_what_is_there_comes_in_batches() -> None:
    with bound() as sock, peer() as other:
        for number in range(BATCH + 10):
            other.sendto(b"%d" % number, name(sock))
        sock.start((inbox := Inbox()).received)
        await inbox.wait(BATCH + 10)
        assert [len(batch) for batch in inbox.batches] == [BATCH, 10]
        assert [int(data) for data, _ in inbox.datagrams] == list(range(BATCH + 10))


@hosts
async def test_a_connected_socket_hears_its_peer_only(host: str) -> None:
    with peer(host) as other, peer(host) as stranger:
        sock = connected(Address(*other.getsockname()[:2]))
        sock.start_connected((inbox := Inbox()).received, inbox.failed)
        stranger.sendto(b"strange", name(sock))
        sock.send(b"")
        sock.send(b"question")
        assert other.recvfrom(100)[0] == b""
        question, sender = other.recvfrom(100)
        assert question == b"question"
        other.sendto(b"answer", sender)
        assert await inbox.wait(1) == [b"answer"]
        sock.close()


async def test_ipv6_takes_nothing_over_ipv4() -> None:
    with bound("::") as sock, peer() as other:
        sock.start((inbox := Inbox()).received)
        other.sendto(b"over IPv4", ("127.0.0.1", sock.address.port))
        await settle()
        assert inbox.datagrams == []
    sock = Connector().open_udp((socket.AF_INET6, ("::1", 1)), Drops())
    with peer() as other:
        sock.start((inbox := Inbox()).received)
        other.sendto(b"over IPv4", ("127.0.0.1", sock.address.port))
        await settle()
        assert inbox.datagrams == []
        sock.close()


# -- what cannot be sent


@hosts
async def test_what_is_too_large_is_dropped_and_nothing_else(host: str) -> None:
    with bound(host, drops := Drops()) as one, bound(host) as two:
        two.start((inbox := Inbox()).received)
        for data in (b"before", bytes(MAX_PACKET + 30), b"after"):
            one.send(data, name(two))
        assert [data for data, _ in await inbox.wait(2)] == [b"before", b"after"]
        assert drops.counts == {"larger than a datagram can be": 1}


@pytest.mark.parametrize("connect", [False, True])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EAGAIN, "no room in the socket's buffer"),
        (errno.ENOBUFS, "no room in the network's queue"),
        (errno.EMSGSIZE, "larger than a datagram can be"),
        (errno.ENETUNREACH, "no way to the target's network"),
        (errno.EHOSTUNREACH, "no way to the target"),
        (errno.EPERM, "Operation not permitted"),
    ],
)
async def test_trouble_is_counted_by_its_reason(code: int, reason: str, connect: bool) -> None:
    class Broken(socket.socket):
        def send(self, *_: Any) -> int:
            raise OSError(code, "x")

        sendto = send

    sock = UdpSocket(Broken(socket.AF_INET, socket.SOCK_DGRAM), drops := Drops())
    sock.start_connected((inbox := Inbox()).received, inbox.failed)
    for _ in range(2):
        sock.send(b"data", None if connect else ("192.0.2.1", 53))
    await settle()
    assert drops.counts == {reason: 2}
    assert inbox.errors == []
    sock.close()


# -- what the network says


async def test_nobody_there_is_told_and_receiving_goes_on() -> None:
    address = unused()
    sock = connected(address)
    sock.start_connected((inbox := Inbox()).received, inbox.failed)
    for rounds in (1, 2, 3):
        sock.send(b"anybody?")
        await inbox.until(lambda rounds=rounds: len(inbox.errors) == rounds)  # type: ignore[misc]
    assert {type(error) for error in inbox.errors} == {ConnectionRefusedError}
    with peer(address.host, address.port) as other:
        sock.send(b"now?")
        other.sendto(b"here", other.recvfrom(100)[1])
        assert await inbox.wait(1) == [b"here"]
    sock.close()


async def test_an_error_that_sending_finds_is_told_and_costs_no_datagram() -> None:
    address = unused()
    sock = connected(address)
    sock.start_connected((inbox := Inbox()).received, inbox.failed)
    sock.send(b"to nobody")
    with peer(address.host, address.port) as other:
        sock.send(b"to somebody")  # the system answers this with what became of the one before
        question, sender = other.recvfrom(100)
        assert question == b"to somebody"
        assert inbox.errors == []  # from the loop only
        await inbox.until(lambda: len(inbox.errors) == 1)
        other.sendto(b"here", sender)
        assert await inbox.wait(1) == [b"here"]
    assert isinstance(inbox.errors[0], ConnectionRefusedError)
    sock.close()


@pytest.mark.parametrize("data_waits", [False, True])
async def test_an_error_that_sending_finds_in_the_wake_up_that_would_tell_it(data_waits: bool) -> None:
    """The loop has seen both sockets when the first one's callback sends over the second, and takes its error away."""
    with bound() as trigger, peer() as other, contextlib.ExitStack() as stack:
        somebody: list[socket.socket] = []

        def send(_: list[Datagram]) -> None:
            somebody.append(stack.enter_context(peer(address.host, address.port)))
            sock.send(b"now?")

        trigger.start(send)
        with peer() as before:
            address = Address(*before.getsockname())
            sock = connected(address)
            sock.start_connected((inbox := Inbox()).received, inbox.failed)
            await settle()
            other.sendto(b"now", name(trigger))
            if data_waits:
                before.sendto(b"early", name(sock))
        sock.send(b"to nobody")
        await inbox.until(lambda: len(inbox.errors) == 1)
        await settle()
        question, sender = somebody[0].recvfrom(100)
        assert question == b"now?"
        somebody[0].sendto(b"here", sender)
        assert await inbox.wait(1 + data_waits) == [b"early", b"here"][not data_waits :]
    sock.close()


async def test_data_that_is_there_with_an_error_comes_too() -> None:
    with peer() as other:
        address = Address(*other.getsockname())
        sock = connected(address)
        sock.start_connected((inbox := Inbox()).received, inbox.failed)
        other.sendto(b"last words", name(sock))
    sock.send(b"anybody?")
    assert await inbox.wait(1) == [b"last words"]
    await inbox.until(lambda: len(inbox.errors) == 1)
    sock.close()


async def test_a_limit_of_the_path_is_no_failure() -> None:
    class Narrow(socket.socket):
        said = False

        def recv(self, *args: Any) -> bytes:
            if not self.said:
                self.said = True
                raise OSError(errno.EMSGSIZE, "x")
            return super().recv(*args)

    with peer() as other:
        narrow = Narrow(socket.AF_INET, socket.SOCK_DGRAM)
        narrow.connect(other.getsockname())
        sock = UdpSocket(narrow, drops := Drops())
        sock.start_connected((inbox := Inbox()).received, inbox.failed)
        other.sendto(b"data", name(sock))
        assert await inbox.wait(1) == [b"data"]
        assert inbox.errors == []
        assert drops.counts == {"larger than the path takes in one piece": 1}
        sock.close()


# -- stopping and sharing


async def test_stopping_and_closing_from_inside_the_callback() -> None:
    with bound() as sock, peer() as other:
        batches: list[list[Datagram]] = []

        def once(datagrams: list[Datagram]) -> None:
            batches.append(datagrams)
            sock.stop()

        for number in range(BATCH + 1):
            other.sendto(b"%d" % number, name(sock))
        sock.start(once)
        await settle()
        assert [len(batch) for batch in batches] == [BATCH]
        sock.start((inbox := Inbox()).received)
        assert [data for data, _ in await inbox.wait(1)] == [b"%d" % BATCH]
        sock.start(lambda _: sock.close())
        other.sendto(b"close", name(sock))
        await settle()
        with pytest.raises(StartError, match=r"^cannot listen on UDP 127\.0\.0\.1:"):
            sock.share()


@pytest.mark.parametrize("how", ["reader", "send"])
async def test_closing_when_told_of_an_error(how: str) -> None:
    sock = connected(unused())
    errors: list[OSError] = []

    def failed(error: OSError) -> None:
        errors.append(error)
        sock.close()

    sock.start_connected(lambda _: None, failed)
    for _ in range(1 if how == "reader" else 4):
        sock.send(b"anybody?")
    await settle()
    assert len(errors) == 1


async def test_closing_before_an_error_is_told() -> None:
    sock = connected(unused())
    sock.start_connected((inbox := Inbox()).received, inbox.failed)
    sock.send(b"anybody?")
    sock.send(b"anybody?")
    sock.close()
    await settle()
    assert inbox.errors == []


async def test_closing_from_inside_the_delivery_that_came_with_an_error() -> None:
    with peer() as other:
        sock = connected(Address(*other.getsockname()))
        other.sendto(b"last words", name(sock))
    errors: list[OSError] = []
    sock.start_connected(lambda _: sock.close(), errors.append)
    sock.send(b"anybody?")
    await settle()
    assert len(errors) <= 1  # the system tells of the error first, or with the next wake-up, which does not come
    with pytest.raises(StartError):
        sock.share()


async def test_a_closed_socket_neither_sends_nor_starts_again() -> None:
    with bound(drops=(drops := Drops())) as sock, peer() as other:
        address = sock.address
        sock.close()
        sock.close()
        sock.stop()
        sock.start((inbox := Inbox()).received)
        sock.start_connected(inbox.received, inbox.failed)
        sock.send(b"data", other.getsockname())
        sock.send(b"data")
        assert drops.counts == {"the socket was closed": 2}
        assert sock.address == address


async def test_a_shared_socket_stays_bound_until_both_are_closed() -> None:
    one, inbox = UdpSocket.bind(ANY_PORT), Inbox()
    one.start(inbox.received)
    two = one.share()
    assert two.address == one.address
    with peer() as other:
        other.sendto(b"to one", name(one))
        await inbox.wait(1)
        one.close()
        other.sendto(b"between", name(two))
        two.start(inbox.received)
        other.sendto(b"to two", name(two))
        assert [data for data, _ in await inbox.wait(3)] == [b"to one", b"between", b"to two"]
        two.send(b"answer", other.getsockname())
        assert other.recvfrom(100) == (b"answer", name(two))
    with pytest.raises(StartError, match=r"^cannot listen on UDP .*: Address already in use$"):
        UdpSocket.bind(two.address)
    two.close()
    UdpSocket.bind(two.address).close()


# -- opening


def test_a_name_is_no_place_to_listen() -> None:
    with pytest.raises(StartError, match="write an IP address instead of a name"):
        UdpSocket.bind(Address("localhost", 0))


def test_an_address_of_another_machine_is_no_place_to_listen() -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(StartError, match=r"^cannot listen on UDP 192\.0\.2\.1:5353: "):
        UdpSocket.bind(Address("192.0.2.1", 5353))
    assert len(os.listdir("/dev/fd")) == before


async def test_sources_and_interfaces_hold_for_udp() -> None:
    with peer() as other:
        for connect in (False, True):
            sock = Connector(Via("127.0.0.2", "lo")).open_udp((socket.AF_INET, other.getsockname()), Drops(), connect)
            assert sock.address.host == "127.0.0.2"
            sock.send(b"data", None if connect else other.getsockname())
            assert other.recvfrom(100)[1] == name(sock)
            sock.close()
