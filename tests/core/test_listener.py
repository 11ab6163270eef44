from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
import uvloop
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.errors import StartError
from outline_lb.net import listener as net_listener
from outline_lb.net.listener import SocketListener
from outline_lb.net.socket import SocketStream, name_of
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.streams import RecordingSink, wait_lost

ANY_PORT = Address("127.0.0.1", 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything on both loops, and what needs a fake clock on that."""
    if "anyio_backend" in metafunc.fixturenames and metafunc.definition.get_closest_marker("fake_clock") is None:
        backends = [("asyncio", {}), ("asyncio", {"loop_factory": uvloop.new_event_loop})]
        metafunc.parametrize("anyio_backend", backends, ids=["asyncio", "uvloop"])


class Clients:
    """Connections to a listener, and what it made of them."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.listener = SocketListener(address)
        self.streams: list[SocketStream] = []
        self.sockets: list[socket.socket] = []

    def connect(self, count: int = 1) -> None:
        for _ in range(count):
            self.sockets.append(socket.create_connection((self.listener.address.host, self.listener.address.port), timeout=5))

    async def accepted(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.streams) < count:
                await asyncio.sleep(0.001)
        await settle()
        assert len(self.streams) == count

    async def close(self) -> None:
        self.listener.close()
        for sock in self.sockets:
            sock.close()
        for stream in self.streams:
            stream.abort()
        await settle()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients(ANY_PORT)
    yield clients
    await clients.close()


async def test_accepts_streams_that_are_paused(clients: Clients) -> None:
    clients.listener.start(clients.streams.append)
    clients.connect(3)
    clients.sockets[0].sendall(b"hello")
    await clients.accepted(3)
    stream, sink = clients.streams[0], RecordingSink()
    assert stream.peer_address == name_of(clients.sockets[0].getsockname())
    assert stream.local_address == clients.listener.address
    stream.set_sink(sink)
    await settle()
    assert sink.events == []
    stream.resume_reading()
    assert await sink.received(5) == b"hello"


async def test_a_flood_is_taken_in_portions(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_listener, "_BATCH", 4)
    clients.listener.start(clients.streams.append)
    clients.connect(10)
    seen = [0]
    while seen[-1] < 10:
        await asyncio.sleep(0)
        seen.append(len(clients.streams))
    assert max(after - before for before, after in pairwise(seen)) <= 4


async def test_bound_before_it_serves(clients: Clients) -> None:
    clients.connect()  # waits in the backlog
    clients.sockets[0].sendall(b"early")
    await settle()
    clients.listener.start(clients.streams.append)
    await clients.accepted(1)
    sink = RecordingSink()
    clients.streams[0].set_sink(sink)
    clients.streams[0].resume_reading()
    assert await sink.received(5) == b"early"


async def test_stop_and_start_again(clients: Clients) -> None:
    clients.listener.start(clients.streams.append)
    clients.connect()
    await clients.accepted(1)
    clients.listener.stop()
    clients.listener.stop()
    clients.connect()
    await settle()
    await asyncio.sleep(0.01)
    assert len(clients.streams) == 1
    others: list[SocketStream] = []
    clients.listener.start(others.append)  # handed over
    while not others:
        await asyncio.sleep(0.001)
    others[0].abort()
    assert len(clients.streams) == 1


async def test_a_shared_socket_listens_until_both_are_closed(clients: Clients) -> None:
    clients.connect()  # nobody accepts yet
    other = clients.listener.share()
    assert other.address == clients.listener.address
    clients.listener.close()
    clients.connect()
    other.start(clients.streams.append)
    await clients.accepted(2)
    other.close()
    with pytest.raises(ConnectionRefusedError):
        clients.connect()


async def test_two_accept_from_a_shared_socket(clients: Clients) -> None:
    other, others = clients.listener.share(), list[SocketStream]()
    clients.listener.start(clients.streams.append)
    other.start(others.append)
    clients.connect(5)
    while len(clients.streams) + len(others) < 5:
        await asyncio.sleep(0.001)
    clients.listener.stop()  # and its registration with the loop leaves the other's alone
    clients.connect()
    while len(clients.streams) + len(others) < 6:
        await asyncio.sleep(0.001)
    other.close()
    for stream in others:
        stream.abort()
    clients.listener.start(clients.streams.append)
    clients.connect()
    await clients.accepted(len(clients.streams) + 1)


async def test_sharing_without_descriptors(clients: Clients, descriptors: Descriptors) -> None:
    descriptors.take_all()
    with pytest.raises(StartError, match=f"cannot listen on {clients.listener.address}: "):
        clients.listener.share()


async def test_starting_after_the_end_does_nothing(clients: Clients) -> None:
    clients.listener.close()
    clients.listener.start(clients.streams.append)
    await settle()


@pytest.mark.parametrize("end", ["stop", "close"])
async def test_ending_inside_accepted(clients: Clients, end: str) -> None:
    def accepted(stream: SocketStream) -> None:
        clients.streams.append(stream)
        getattr(clients.listener, end)()

    clients.connect(3)
    clients.listener.start(accepted)
    await clients.accepted(1)


async def test_close_gives_the_port_back(clients: Clients) -> None:
    clients.listener.start(clients.streams.append)
    clients.connect()
    await clients.accepted(1)
    clients.listener.close()
    clients.listener.close()
    again = SocketListener(clients.listener.address)
    assert again.address == clients.listener.address
    again.close()
    with pytest.raises(ConnectionRefusedError):
        clients.connect()


async def test_a_taken_port(clients: Clients) -> None:
    with pytest.raises(StartError) as caught:
        SocketListener(clients.listener.address)
    assert str(caught.value) == f"cannot listen on {clients.listener.address}: {os.strerror(errno.EADDRINUSE)}"


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        SocketListener(Address("192.0.2.1", 0))


async def test_a_name_is_no_address() -> None:
    with pytest.raises(StartError, match="cannot listen on localhost:80: write an IP address"):
        SocketListener(Address("localhost", 80))


async def test_a_system_without_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "x")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        with pytest.raises(StartError, match=r"cannot listen on \[::1\]:0: "):
            SocketListener(Address("::1", 0))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_ipv6_leaves_ipv4_alone() -> None:
    with socket.socket() as sock:  # a port that is free on both
        sock.bind(("0.0.0.0", 0))
        port = sock.getsockname()[1]
        six = SocketListener(Address("::", port))
    four = SocketListener(Address("0.0.0.0", port))
    assert four.address.port == six.address.port
    six.close()
    four.close()


async def test_a_client_that_is_gone_before_it_is_accepted(clients: Clients) -> None:
    clients.connect(2)
    clients.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    clients.sockets[0].close()
    clients.listener.start(clients.streams.append)
    await clients.accepted(2)
    sink = RecordingSink()
    clients.streams[0].set_sink(sink)
    clients.streams[0].resume_reading()
    assert isinstance(await wait_lost(sink), ConnectionResetError)


class Descriptors:
    """Uses up all descriptors of the process."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take_all(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(os.dup(0))

    def give_back(self, count: int) -> None:
        for _ in range(count):
            os.close(self.taken.pop())


@pytest.fixture
def descriptors() -> Iterator[Descriptors]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limits[1]))
    descriptors = Descriptors()
    yield descriptors
    descriptors.give_back(len(descriptors.taken))
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.fake_clock
async def test_without_descriptors_it_waits_and_goes_on(clients: Clients, descriptors: Descriptors) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    clients.connect(6)
    descriptors.take_all()
    descriptors.give_back(2)
    with capture_logs() as logs:
        clients.listener.start(clients.streams.append)
        await settle()
        assert len(clients.streams) == 2
        assert [entry["event"] for entry in logs] == ["cannot accept"]
        await settle()
        assert len(logs) == 1  # it does not run in circles
        await loop.advance(net_listener.PAUSE * 2)
        assert len(logs) == 3
        descriptors.give_back(4)
        await loop.advance(net_listener.PAUSE)
    assert len(clients.streams) == 6


@pytest.mark.fake_clock
async def test_stopping_while_it_waits_for_descriptors(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(errno.EMFILE, "x")

    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    clients.listener._sock = Exhausted(fileno=clients.listener._sock.detach())
    clients.listener.start(clients.streams.append)
    clients.connect()
    await settle()
    clients.listener.stop()
    await loop.advance(net_listener.PAUSE * 3)
    assert not loop.remove_reader(clients.listener._sock)
    assert clients.streams == []
