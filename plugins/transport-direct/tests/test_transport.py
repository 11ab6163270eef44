from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from outline_lb.api import (
    Address,
    Connector,
    DialError,
    Flow,
    Network,
    Reason,
    Resolver,
    SocketAddress,
    SocketListener,
    SocketStream,
    Stream,
    TargetError,
    TransportDeps,
    UpstreamError,
    Via,
)
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb.testing.upstreams import closed_port
from outline_lb_transport_direct.options import Options
from outline_lb_transport_direct.transport import Direct

UNASSIGNED = "192.0.2.1"  # RFC 5737: no machine has it


class FakeResolver(Resolver):
    """Says what it was made with, once; None: nothing, ever."""

    def __init__(self, *hosts: str, port: int = 443, error: OSError | None = None) -> None:
        self.asked = 0
        self._hosts = hosts
        self._port = port
        self._error = error

    async def resolve(self, address: Address) -> list[SocketAddress]:
        self.asked += 1
        if self._error is not None:
            raise self._error
        if not self._hosts:
            await asyncio.Event().wait()
        return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, self._port)) for host in self._hosts]


class FailingConnector(Connector):
    """Fails each connection in the same way, and keeps where it should have gone to."""

    def __init__(self, code: int = errno.ECONNREFUSED, source: str | None = None, resolver: Resolver | None = None) -> None:
        super().__init__(Via(source), resolver)
        self.dialled: list[str] = []
        self._error = DialError("connect", OSError(code, os.strerror(code)))

    async def connect_to(self, candidates: list[SocketAddress]) -> SocketStream:
        self.dialled += [host for _family, (host, _port) in candidates]
        raise self._error


def flow_to(target: Address, public_only: bool = False) -> Flow:
    return Flow("test", Network.TCP, None, "", target, 0.0, public_only)


async def dial(
    target: Address,
    first: bytes = b"",
    *,
    source: str | None = None,
    public_only: bool = False,
    connector: Connector | None = None,
    timeout: float = 10,
) -> Stream:
    transport = Direct(Options(source=source, connect_timeout=timeout), TransportDeps(connector or Connector()))
    return await transport.dial_stream(flow_to(target, public_only), first)


class Target:
    """A listening socket: `stream` is what it accepted."""

    def __init__(self, host: str) -> None:
        self._listener = SocketListener(Address(host, 0))
        self.address = self._listener.address
        self.sink = RecordingSink()
        self._accepted: asyncio.Future[SocketStream] = asyncio.get_running_loop().create_future()
        self._listener.start(self._accepted.set_result)

    async def stream(self) -> SocketStream:
        stream = await self._accepted
        stream.set_sink(self.sink)
        stream.resume_reading()
        return stream

    def close(self) -> None:
        self._listener.close()


@asynccontextmanager
async def target(host: str = "127.0.0.1") -> AsyncIterator[Target]:
    listening = Target(host)
    try:
        yield listening
    finally:
        listening.close()


@contextmanager
def black_hole() -> Iterator[Address]:
    """Provide an address that never answers: a listening socket whose queue is full."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let the process open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class TestStream:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_goes_to_the_target_and_ends_in_each_direction_alone(self, host: str) -> None:
        async with target(host) as listening:
            near, sink = await dial(listening.address, b"first "), RecordingSink()
            near.set_sink(sink)
            near.resume_reading()
            near.write(b"second")
            near.write_eof()
            far = await listening.stream()
            assert await listening.sink.received(100) == b"first second"
            far.write(b"answer")
            far.write_eof()
            assert await wait_lost(sink) is None
            assert bytes(sink.data) == b"answer"
            assert sink.events == ["data", "eof", "lost"]

    async def test_is_paused(self) -> None:
        async with target() as listening:
            near, sink = await dial(listening.address), RecordingSink()
            near.set_sink(sink)
            far = await listening.stream()
            far.write(b"target speaks first")
            await asyncio.sleep(0.02)
            assert sink.events == []
            near.resume_reading()
            assert await sink.received(19) == b"target speaks first"
            near.abort()
            assert isinstance(await wait_lost(listening.sink), ConnectionResetError)

    async def test_tells_both_addresses(self) -> None:
        async with target() as listening:
            near = await dial(listening.address)
            far = await listening.stream()
            assert (near.local_address, near.peer_address) == (far.peer_address, listening.address)
            near.abort()
            await wait_lost(listening.sink)

    async def test_goes_to_a_name(self) -> None:
        async with target() as listening:
            resolver = FakeResolver("127.0.0.1", port=listening.address.port)
            near = await dial(Address("example.test", listening.address.port), connector=Connector(resolver=resolver))
            assert near.peer_address == listening.address
            await listening.stream()
            near.abort()
            await wait_lost(listening.sink)


class TestSource:
    async def test_is_what_the_target_sees(self) -> None:
        async with target() as listening:
            near = await dial(listening.address, source="127.0.0.2")
            far = await listening.stream()
            assert far.peer_address is not None
            assert far.peer_address.host == "127.0.0.2"
            near.abort()
            await wait_lost(listening.sink)

    async def test_replaces_that_of_the_upstream_and_keeps_the_rest(self) -> None:
        async with target() as listening:
            resolver = FakeResolver("127.0.0.1", port=listening.address.port)
            connector = Connector(Via(source="127.0.0.3", interface="lo"), resolver)
            near = await dial(Address("example.test", 443), source="127.0.0.2", connector=connector)
            far = await listening.stream()
            assert far.peer_address is not None
            assert far.peer_address.host == "127.0.0.2"
            assert resolver.asked == 1
            near.abort()
            await wait_lost(listening.sink)

    async def test_chooses_the_addresses_of_its_family(self) -> None:
        async with target() as listening:
            resolver = FakeResolver("::1", "127.0.0.1", port=listening.address.port)
            near = await dial(Address("example.test", 443), source="127.0.0.2", connector=Connector(resolver=resolver))
            assert near.peer_address == listening.address
            await listening.stream()
            near.abort()
            await wait_lost(listening.sink)

    @pytest.mark.parametrize(("source", "host"), [("127.0.0.2", "::1"), ("::1", "127.0.0.1")])
    async def test_a_target_of_the_other_family_is_out_of_reach_and_nobody_is_to_blame(self, source: str, host: str) -> None:
        with pytest.raises(TargetError, match=f"^resolve: no address that can be reached from {source}$") as caught:
            await dial(Address(host, 443), source=source)
        assert caught.value.reason is Reason.HOST_UNREACHABLE

    async def test_one_that_is_not_ours_is_to_blame(self) -> None:
        with pytest.raises(UpstreamError, match=r"^bind: Cannot assign requested address$"):
            await dial(Address("127.0.0.1", 443), source=UNASSIGNED)


class TestBlame:
    async def test_a_refused_connection_is_the_target(self) -> None:
        with pytest.raises(TargetError, match=r"^connect: Connection refused$") as caught:
            await dial(closed_port())
        assert caught.value.reason is Reason.REFUSED

    async def test_an_unknown_name_is_the_target(self) -> None:
        resolver = FakeResolver(error=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        with pytest.raises(TargetError, match=r"^resolve: Name or service not known$") as caught:
            await dial(Address("example.test", 443), connector=Connector(resolver=resolver))
        assert caught.value.reason is Reason.HOST_UNREACHABLE

    @pytest.mark.fake_clock
    async def test_a_target_that_does_not_answer(self) -> None:
        with black_hole() as address, pytest.raises(TargetError, match=r"^connect: no answer within 7 s$") as caught:
            await dial(address, timeout=7)
        assert caught.value.reason is Reason.TIMEOUT

    @pytest.mark.fake_clock
    async def test_a_name_server_that_does_not_answer(self) -> None:
        with pytest.raises(TargetError, match=r"^resolve: no answer within 7 s$") as caught:
            await dial(Address("example.test", 443), connector=Connector(resolver=FakeResolver()), timeout=7)
        assert caught.value.reason is Reason.TIMEOUT

    async def test_a_process_without_descriptors_is_the_way_out(self) -> None:
        with no_descriptors(), pytest.raises(UpstreamError, match=r"^socket: Too many open files$"):
            await dial(Address("127.0.0.1", 443))

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN])
    async def test_a_system_without_resources_is_the_way_out(self, code: int) -> None:
        with pytest.raises(UpstreamError):
            await dial(Address("127.0.0.1", 443), connector=FailingConnector(code))

    @pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM])
    @pytest.mark.parametrize(
        ("hosts", "source", "blamed"),
        [
            (["8.8.8.8"], None, UpstreamError),
            (["8.8.8.8"], "192.0.2.1", UpstreamError),
            (["2606:4700::1111", "8.8.8.8"], None, UpstreamError),
            (["2606:4700::1111"], "2001:db8::1", UpstreamError),
            (["2606:4700::1111"], None, TargetError),
            (["10.0.0.1"], None, TargetError),
            (["255.255.255.255"], None, TargetError),
            (["224.0.0.1"], None, TargetError),
        ],
    )
    async def test_no_way_to_the_public_internet_is_the_way_out(
        self, code: int, hosts: list[str], source: str | None, blamed: type[DialError]
    ) -> None:
        connector = FailingConnector(code, source, FakeResolver(*hosts))
        with pytest.raises(blamed) as caught:
            await dial(Address("example.test", 443), connector=connector)
        assert isinstance(caught.value.cause, OSError)
        assert caught.value.cause.errno == code

    async def test_an_unreachable_network_does_not_hide_what_the_other_addresses_say(self) -> None:
        resolver = FakeResolver("255.255.255.255", "127.0.0.1", port=closed_port().port)
        with pytest.raises(TargetError) as caught:
            await dial(Address("example.test", 443), connector=Connector(resolver=resolver))
        assert caught.value.reason is Reason.REFUSED

    @pytest.mark.parametrize("code", [errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.EINVAL])
    async def test_other_trouble_is_the_target(self, code: int) -> None:
        with pytest.raises(TargetError):
            await dial(Address("8.8.8.8", 443), connector=FailingConnector(code))

    async def test_giving_up_leaves_no_socket_behind(self) -> None:
        with black_hole() as address:
            task = asyncio.create_task(dial(address))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task  # a socket that is left open becomes a ResourceWarning, which is an error here


class TestPublicOnly:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.1",  # the system reads these three as 127.0.0.1
            "2130706433",
            "0x7f.1",
            "localhost",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
        ],
    )
    async def test_what_is_not_public_is_not_dialled(self, host: str) -> None:
        connector = FailingConnector()
        with pytest.raises(TargetError, match=r"^resolve: no address of the public internet, and others are not allowed here$") as caught:
            await dial(Address.of(host, 443), public_only=True, connector=connector)
        assert caught.value.reason is Reason.NOT_ALLOWED
        assert connector.dialled == []

    @pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
    async def test_what_is_public_is_dialled(self, host: str) -> None:
        connector = FailingConnector()
        with pytest.raises(TargetError):
            await dial(Address.of(host, 443), public_only=True, connector=connector)
        assert connector.dialled == [str(Address.of(host, 443).ip)]

    async def test_of_a_name_the_public_addresses_are_dialled_as_they_were_checked(self) -> None:
        resolver = FakeResolver("127.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "10.0.0.1")
        connector = FailingConnector(resolver=resolver)
        with pytest.raises(TargetError):
            await dial(Address("rebinding.test", 443), public_only=True, connector=connector)
        assert connector.dialled == ["8.8.8.8", "2606:4700::1111"]
        assert resolver.asked == 1

    async def test_everything_is_dialled_for_others(self) -> None:
        async with target() as listening:
            near = await dial(listening.address, public_only=False)
            await listening.stream()
            near.abort()
            await wait_lost(listening.sink)
