from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import Address, Carrier, FrontendDeps, Packet, SocketListener, StartError, UdpSocket, encode_address
from outline_lb.testing.clock import settle
from outline_lb.testing.dialers import EchoDialer
from outline_lb.testing.streams import FakeStream
from outline_lb_frontend_socks5.associations import Associations
from outline_lb_frontend_socks5.options import UdpOptions

CLIENT = Address("127.0.0.1", 2)
HELLO = Packet(Address("192.0.2.1", 53), b"hello")

pytestmark = pytest.mark.fake_clock

Make = Callable[[int], Associations]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Associations] = []
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)

        def make(most: int) -> Associations:
            deps = FrontendDeps("local", EchoDialer(), carrier, SocketListener, UdpSocket.bind)
            made.append(Associations(UdpOptions(300.0, most, max_targets=10), deps))
            return made[-1]

        yield make
        for associations in made:
            associations.close()
        carrier.abort_all()
        await settle()


async def answers(relay: Address) -> bool:
    """Tell whether a relay takes datagrams, and answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((relay.host, relay.port))
        sock.send(bytes(3) + encode_address(HELLO.address) + HELLO.data)
        await settle()
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            return sock.recv(100).endswith(HELLO.data)
    return False


class LocalStream(FakeStream):
    """A client's connection to some address of this machine."""

    def __init__(self, local: Address | None) -> None:
        super().__init__()
        self._local = local

    @property
    def local_address(self) -> Address | None:
        return self._local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3", "::1"])
async def test_the_relay_is_on_the_address_that_the_client_came_to_and_on_no_other(make: Make, host: str) -> None:
    relay = make(1).open(LocalStream(Address(host, 1080)), Address(host, 5), "")
    assert relay.host == host
    assert relay.port not in {0, 1080}
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="in use"):
        sock.bind((host, relay.port))
    if ":" not in host:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.9", relay.port))


async def test_for_one_more_the_least_recently_used_one_is_ended(make: Make) -> None:
    associations, streams = make(3), [FakeStream() for _ in range(5)]
    relays = []
    for stream in streams[:3]:
        relays.append(associations.open(stream, CLIENT, ""))
        await anyio.sleep(1)
    assert await answers(relays[0])
    await anyio.sleep(1)
    with capture_logs() as logs:
        relays.append(associations.open(streams[3], CLIENT, ""))
    assert [stream.over for stream in streams] == [False, True, False, False, False]
    [line] = [line for line in logs if line["event"] == "too many associations"]
    assert (line["limit"], line["ended"]) == (3, str(CLIENT))
    await anyio.sleep(1)
    associations.open(streams[4], CLIENT, "")
    assert [stream.over for stream in streams] == [False, True, True, False, False]


async def test_one_that_ended_makes_room(make: Make) -> None:
    associations, streams = make(2), [FakeStream() for _ in range(3)]
    for stream in streams[:2]:
        associations.open(stream, CLIENT, "")
    streams[0].lose(ConnectionResetError())
    associations.open(streams[2], CLIENT, "")
    assert not streams[1].over


async def test_closing_ends_those_without_a_flow(make: Make) -> None:
    associations, streams = make(10), [FakeStream() for _ in range(3)]
    relays = [associations.open(stream, CLIENT, "") for stream in streams]
    assert await answers(relays[0])
    associations.close()
    assert [stream.over for stream in streams] == [False, True, True]
    assert not any([await answers(relay) for relay in relays[1:]])


async def test_without_descriptors_nothing_is_half_open(make: Make) -> None:
    associations, kept, refused = make(1), FakeStream(), FakeStream()
    relay = associations.open(kept, CLIENT, "")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as sock:
        most = sock.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        with pytest.raises(StartError, match=r"cannot listen on UDP 127.0.0.1:0: .*open files"):
            associations.open(refused, CLIENT, "")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert refused.calls == []
    assert not kept.over, "it lost its place for nothing"
    assert await answers(relay)


@pytest.mark.parametrize(("local", "client"), [(None, CLIENT), (CLIENT, None)])
async def test_a_client_that_is_gone_gets_no_relay(make: Make, local: Address | None, client: Address | None) -> None:
    with pytest.raises(StartError, match="gone"):
        make(1).open(LocalStream(local), client, "")
