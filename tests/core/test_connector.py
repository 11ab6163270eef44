from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from outline_lb.base.address import Address
from outline_lb.base.drops import Drops
from outline_lb.base.errors import DialError, Reason
from outline_lb.net.connector import STAGGER, Connector, Via
from outline_lb.net.listener import SocketListener
from outline_lb.net.resolver import Resolver, SocketAddress
from outline_lb.net.socket import SocketStream
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import RecordingSink

NAME = Address("example.com", 443)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything on both loops, and what needs a fake clock on that."""
    if "anyio_backend" in metafunc.fixturenames and metafunc.definition.get_closest_marker("fake_clock") is None:
        backends = [("asyncio", {}), ("asyncio", {"loop_factory": uvloop.new_event_loop})]
        metafunc.parametrize("anyio_backend", backends, ids=["asyncio", "uvloop"])


class Fixed(Resolver):
    """Gives everybody the same answer."""

    def __init__(self, *answer: str | OSError) -> None:
        self._answer = answer

    async def resolve(self, address: Address) -> list[SocketAddress]:
        found: list[SocketAddress] = []
        for entry in self._answer:
            if isinstance(entry, OSError):
                raise entry
            found.append((socket.AF_INET6 if ":" in entry else socket.AF_INET, (entry, address.port)))
        return found


@pytest.fixture
async def listener() -> AsyncIterator[SocketListener]:
    listener = SocketListener(Address("127.0.0.1", 0))
    yield listener
    listener.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


async def test_connects_and_is_paused(listener: SocketListener) -> None:
    accepted: list[SocketStream] = []
    listener.start(accepted.append)
    stream = await Connector().connect(listener.address)
    sink = RecordingSink()
    stream.set_sink(sink)
    while not accepted:
        await asyncio.sleep(0.001)
    accepted[0].write(b"hello")
    await settle()
    assert sink.events == []
    stream.resume_reading()
    assert await sink.received(5) == b"hello"
    assert stream.peer_address == listener.address
    stream.abort()
    accepted[0].abort()


async def test_refused(closed_port: int) -> None:
    with pytest.raises(DialError) as caught:
        await Connector().connect(Address("127.0.0.1", closed_port))
    assert (caught.value.operation, caught.value.reason) == ("connect", Reason.REFUSED)
    assert str(caught.value) == f"connect: {os.strerror(errno.ECONNREFUSED)}"


async def test_a_name_goes_through_the_resolver(listener: SocketListener) -> None:
    connector = Connector(resolver=Fixed("127.0.0.1"))
    assert await connector.resolve(NAME) == [(socket.AF_INET, ("127.0.0.1", 443))]
    stream = await connector.connect(Address("example.com", listener.address.port))
    assert stream.peer_address == listener.address
    stream.abort()


@pytest.mark.parametrize("answer", [[socket.gaierror(socket.EAI_NONAME, "Name or service not known")], []])
async def test_no_answer(answer: list[OSError]) -> None:
    with pytest.raises(DialError) as caught:
        await Connector(resolver=Fixed(*answer)).connect(NAME)
    assert (caught.value.operation, caught.value.reason) == ("resolve", Reason.HOST_UNREACHABLE)


async def test_the_source_address(listener: SocketListener) -> None:
    stream = await Connector(Via(source="127.0.0.2")).connect(listener.address)
    assert stream.local_address is not None
    assert stream.local_address.host == "127.0.0.2"
    stream.abort()
    stream = await Connector().with_source("127.0.0.3").connect(listener.address)
    assert stream.local_address is not None
    assert stream.local_address.host == "127.0.0.3"
    stream.abort()


async def test_a_source_limits_the_family() -> None:
    found = await Connector(Via(source="127.0.0.1"), Fixed("2001:db8::1", "192.0.2.1")).resolve(NAME)
    assert found == [(socket.AF_INET, ("192.0.2.1", 443))]
    with pytest.raises(DialError, match=r"resolve: no address that can be reached from ::1"):
        await Connector(Via(source="::1"), Fixed("192.0.2.1")).resolve(NAME)


@pytest.mark.parametrize("via", [Via(source="192.0.2.1"), Via(interface="no-such-one")], ids=["source", "interface"])
async def test_a_way_out_that_does_not_exist(listener: SocketListener, via: Via) -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(DialError) as caught:
        await Connector(via).connect(listener.address)
    assert caught.value.operation == "bind"
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(("via", "option"), [(Via(fwmark=7), "SO_MARK"), (Via(interface="lo"), "SO_BINDTODEVICE")])
async def test_a_system_without_the_option(listener: SocketListener, monkeypatch: pytest.MonkeyPatch, via: Via, option: str) -> None:
    monkeypatch.delattr(socket, option)
    with pytest.raises(DialError, match="bind: Operation not supported"):
        await Connector(via).connect(listener.address)


def test_the_mark_and_the_interface_are_set() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.calls: list[tuple[Any, ...]] = []

        def setsockopt(self, *args: Any) -> None:
            self.calls.append(args)

        def bind(self, name: tuple[str, int]) -> None:
            self.calls.append(name)

    recorder = Recorder()
    Via("127.0.0.1", "eth0", 7).apply(recorder)  # type: ignore[arg-type]
    assert recorder.calls == [
        (socket.SOL_SOCKET, socket.SO_MARK, 7),
        (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0"),
        ("127.0.0.1", 0),
    ]


async def test_without_descriptors(listener: SocketListener, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EMFILE, "x")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        with pytest.raises(DialError) as caught:
            await Connector().connect(listener.address)
    assert caught.value.operation == "socket"


@pytest.mark.parametrize(
    ("via", "family", "connect", "operation"),
    [
        (Via(source="192.0.2.1"), socket.AF_INET, False, "bind"),
        (Via(source="127.0.0.1"), socket.AF_INET6, False, "bind"),
        (Via(interface="no-such-one"), socket.AF_INET, True, "bind"),
        (Via(), socket.AF_INET, True, "connect"),
    ],
)
def test_a_udp_socket_that_cannot_be_had(via: Via, family: socket.AddressFamily, connect: bool, operation: str) -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(DialError) as caught:  # to a broadcast address one may not just connect
        Connector(via).open_udp((family, ("255.255.255.255", 53)), Drops(), connect)
    assert caught.value.operation == operation
    assert len(os.listdir("/dev/fd")) == before


def test_a_udp_socket_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EMFILE, "x")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        with pytest.raises(DialError) as caught:
            Connector().open_udp((socket.AF_INET, ("127.0.0.1", 53)), Drops())
    assert caught.value.operation == "socket"


async def test_cancelling_leaves_no_socket() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # more than the backlog: the rest gets no answer
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        before = len(os.listdir("/dev/fd"))
        for answer in (["127.0.0.1"], ["127.0.0.1", "127.0.0.1"]):
            connecting = asyncio.create_task(Connector(resolver=Fixed(*answer)).connect(Address("silent.example", port)))
            await asyncio.sleep(0.05)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        assert len(os.listdir("/dev/fd")) == before
        for sock in waiting:
            sock.close()


# -- several addresses


class Network(Connector):
    """Where connecting takes as long, and ends, as the test says."""

    def __init__(self, **hosts: tuple[float, int]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self.started: dict[str, float] = {}
        self.socks: list[socket.socket] = []
        self._hosts = {name.replace("_", "."): outcome for name, outcome in hosts.items()}
        self._begin = self._loop.time()

    async def _reach(self, sock: socket.socket, name: tuple[str, int]) -> None:
        host = name[0].removeprefix("192.0.2.")
        self.started[host] = round(self._loop.time() - self._begin, 3)
        self.socks.append(sock)
        seconds, number = self._hosts[f"h{host}"]
        await asyncio.sleep(seconds)
        if number:
            raise OSError(number, "x")

    async def race(self, count: int) -> SocketStream:
        return await self.connect_to([(socket.AF_INET, (f"192.0.2.{number}", 443)) for number in range(1, count + 1)])

    def open(self) -> int:
        return sum(sock.fileno() >= 0 for sock in self.socks)


NEVER = (3600.0, 0)
REFUSED = errno.ECONNREFUSED


@pytest.mark.fake_clock
async def test_the_first_address_wins_if_it_answers_soon() -> None:
    net = Network(h1=(0.2, 0), h2=(0, 0))
    stream = await net.race(2)
    assert net.started == {"1": 0}
    assert net.open() == 1
    stream.abort()


@pytest.mark.fake_clock
async def test_a_silent_address_gets_company() -> None:
    net = Network(h1=NEVER, h2=NEVER, h3=(0.1, 0))
    stream = await net.race(3)
    assert net.started == {"1": 0, "2": STAGGER, "3": 2 * STAGGER}
    assert net.open() == 1
    assert stream._sock is net.socks[2]
    stream.abort()


@pytest.mark.fake_clock
async def test_a_failure_starts_the_next_one_at_once() -> None:
    net = Network(h1=(0.1, REFUSED), h2=(0.1, 0))
    (await net.race(2)).abort()
    assert net.started == {"1": 0, "2": 0.1}


@pytest.mark.fake_clock
async def test_a_slow_first_one_may_still_win() -> None:
    net = Network(h1=(0.4, 0), h2=(0.4, 0))
    stream = await net.race(2)
    assert stream._sock is net.socks[0]
    assert net.open() == 1
    stream.abort()


@pytest.mark.fake_clock
async def test_all_fail() -> None:
    net = Network(h1=(0.1, errno.ENETUNREACH), h2=(0.4, REFUSED), h3=(0.01, errno.EHOSTUNREACH))
    with pytest.raises(DialError) as caught:
        await net.race(3)
    assert caught.value.reason is Reason.HOST_UNREACHABLE  # the first that says more than "no network"
    assert net.open() == 0


@pytest.mark.fake_clock
async def test_two_that_answer_in_the_same_moment() -> None:
    net = Network(h1=(0.5, 0), h2=(0.25, 0))
    stream = await net.race(2)
    await settle()
    assert net.open() == 1
    stream.abort()


@pytest.mark.fake_clock
@pytest.mark.parametrize("moment", [0.1, 0.3, 0.5, 0.55])
async def test_cancelling_a_race_leaves_no_socket(moment: float) -> None:
    net = Network(h1=(0.5, 0), h2=NEVER)
    loop = asyncio.get_running_loop()
    racing = asyncio.create_task(net.race(2))
    loop.call_later(moment, racing.cancel)
    try:
        (await racing).abort()
        assert moment >= 0.5
    except asyncio.CancelledError:
        pass
    assert net.open() == 0


@pytest.mark.fake_clock
async def test_cancelling_while_the_winner_waits_for_the_losers() -> None:
    class Stubborn(Network):
        async def _reach(self, sock: socket.socket, name: tuple[str, int]) -> None:
            try:
                await super()._reach(sock, name)
            except asyncio.CancelledError:
                racing.cancel()  # just now
                raise

    net = Stubborn(h1=NEVER, h2=(0.1, 0))
    racing = asyncio.create_task(net.race(2))
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert net.open() == 0
