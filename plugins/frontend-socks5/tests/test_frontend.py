from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from unittest import mock

import anyio
import pytest

from outline_lb.api import (
    Address,
    Carrier,
    Connector,
    Datagram,
    Dialer,
    DialError,
    Drops,
    Flow,
    Frontend,
    FrontendDeps,
    Network,
    Packet,
    PacketChannel,
    PacketSink,
    Secret,
    SocketListener,
    SocketStream,
    Stream,
    TargetError,
    UdpSocket,
    decode_address,
    encode_address,
    name_of,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.conformance.frontend import ANY_PORT, PacketFrontendSuite
from outline_lb.testing.dialers import EchoDialer
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb_frontend_socks5 import frontend as module
from outline_lb_frontend_socks5.frontend import Socks5Frontend
from outline_lb_frontend_socks5.options import Options, UdpOptions

UDP = UdpOptions(idle_timeout=300.0, max_associations=100, max_targets=20)
CONNECT = b"\5\1\0\3\x0bexample.com\x01\xbb"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class TestConformance(PacketFrontendSuite):
    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        return Socks5Frontend(Options(listen, {}, UDP), deps)

    async def open_flow(self, server: Address) -> Stream:
        sock = await connect(server)
        await asyncio.get_running_loop().sock_sendall(sock, b"\5\1\0" + CONNECT)
        assert await receive(sock, 12) == b"\5\0\5\0\0\1\x7f\0\0\1\0\1"
        return SocketStream(sock)

    async def open_packets(self, server: Address) -> PacketChannel[Packet]:
        return await Application.associate(server)


class Application(PacketChannel[Packet]):
    """An application's end of an association."""

    def __init__(self, control: socket.socket, relay: Address) -> None:
        self.control = control
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((relay.host, relay.port))
        self._sock = UdpSocket(sock, Drops())
        self._sink: PacketSink[Packet]

    @classmethod
    async def associate(cls, server: Address) -> Application:
        control = await connect(server)
        control.send(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
        answer = await receive(control, 12)
        assert answer[:6] == b"\5\0\5\0\0\1"
        relay = decode_address(answer[5:])
        assert relay is not None
        return cls(control, relay[0])

    @property
    def peer_address(self) -> Address | None:
        return name_of(self.control.getpeername())

    def set_sink(self, sink: PacketSink[Packet]) -> None:
        self._sink = sink
        self._sock.start(self._received)

    def _received(self, datagrams: list[Datagram]) -> None:
        packets = []
        for datagram, _sender in datagrams:
            assert datagram[:3] == bytes(3)
            found = decode_address(datagram[3:])
            assert found is not None
            packets.append(Packet(found[0], datagram[3 + found[1] :]))
        self._sink.packets_received(packets)

    def send(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._sock.send(bytes(3) + encode_address(packet.address) + packet.data)

    def close(self) -> None:
        self.control.close()
        self._sock.close()
        asyncio.get_running_loop().call_soon(self._sink.connection_lost, None)


class Direct(Dialer):
    """Goes straight to the target."""

    networks = frozenset({Network.TCP})

    def packets(self, flow: Flow) -> PacketChannel[Packet]:
        raise NotImplementedError

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        try:
            stream = await Connector().connect(flow.target)
        except DialError as exc:
            raise TargetError(exc.operation, exc.cause) from exc
        stream.write(first)
        return stream


@contextlib.asynccontextmanager
async def serving(**users: str) -> AsyncIterator[Address]:
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)
        options = Options(ANY_PORT, {name: Secret(password) for name, password in users.items()}, UDP)
        frontend = Socks5Frontend(options, FrontendDeps("test", Direct(), carrier, SocketListener, UdpSocket.bind))
        await frontend.prepare()
        tasks.start_soon(frontend.serve)
        try:
            yield frontend.addresses[0]
        finally:
            await frontend.close()
            carrier.abort_all()
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def web_server() -> AsyncIterator[Address]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


def request(target: Address) -> bytes:
    return b"\5\1\0" + encode_address(target)


async def connect(server: Address) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (server.host, server.port))
    return sock


async def receive(sock: socket.socket, size: int) -> bytes:
    """Return that many bytes, or what came before the end."""
    data = b""
    while len(data) < size and (more := await asyncio.get_running_loop().sock_recv(sock, size - len(data))):
        data += more
    return data


async def curl(*arguments: str) -> tuple[int, str, str]:
    """Run curl; return its exit code, and what it said on stdout and on stderr."""
    process = await asyncio.create_subprocess_exec("curl", "-q", "-sS", "-m", "20", *arguments, stdout=-1, stderr=-1)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_an_ended_request_in_one_segment_is_served_to_its_end() -> None:
    async with serving() as server, web_server() as web:
        with await connect(server) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"\5\1\0" + request(web) + b"GET / HTTP/1.0\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)
            answer = await receive(sock, 10_000)
    assert answer[:6] == b"\5\0\5\0\0\1"
    assert answer[12:].startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"hello")


async def test_a_refusal_arrives_although_the_client_goes_on_sending() -> None:
    async with serving() as server:
        with await connect(server) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"\5\1\2" + b"x" * 50_000)
            assert await receive(sock, 3) == b"\5\xff"


async def test_the_oldest_handshake_makes_room() -> None:
    with mock.patch.object(module, "MAX_HANDSHAKES", 3):
        async with serving() as server:
            with contextlib.ExitStack() as stack:
                socks = [stack.enter_context(await connect(server)) for _ in range(4)]
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(receive(socks[0], 1), 5)
                for sock in socks[1:]:
                    sock.send(b"\5\1\0")
                    assert await receive(sock, 2) == b"\5\0"


async def test_carried_flows_do_not_count_as_handshakes() -> None:
    with mock.patch.object(module, "MAX_HANDSHAKES", 1):
        async with serving() as server, web_server() as web:
            with await connect(server) as carried:
                carried.send(b"\5\1\0" + request(web))
                assert (await receive(carried, 12))[:4] == b"\5\0\5\0"
                with await connect(server) as other:
                    other.send(b"\5\1\0")
                    assert await receive(other, 2) == b"\5\0"
                carried.send(b"GET / HTTP/1.0\r\n\r\n")
                assert (await receive(carried, 10_000)).endswith(b"hello")


async def test_close_resets_the_handshakes_under_way() -> None:
    async with serving() as server:
        sock = await connect(server)
        sock.send(b"\5\1\0")
        assert await receive(sock, 2) == b"\5\0"
    with sock, pytest.raises(ConnectionResetError):
        await asyncio.wait_for(receive(sock, 1), 5)


async def test_flows_of_packets_outlive_the_frontend() -> None:
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)
        frontend = Socks5Frontend(Options(ANY_PORT, {}, UDP), FrontendDeps("test", EchoDialer(), carrier, SocketListener, UdpSocket.bind))
        await frontend.prepare()
        with anyio.CancelScope() as serving:
            async with anyio.create_task_group() as servers:
                servers.start_soon(frontend.serve)
                application, sink = await Application.associate(frontend.addresses[0]), RecordingPacketSink[Packet]()
                application.set_sink(sink)
                packet = Packet(Address("192.0.2.1", 53), b"hello")
                application.send([packet])
                await sink.received(1)
                serving.cancel()
        application.send([packet])
        await sink.received(2)
        assert carrier.active == 1
        await frontend.close()
        application.send([packet])
        await sink.received(3)
        carrier.abort_all()
        assert await asyncio.wait_for(receive(application.control, 1), 5) == b""
        application.close()
        await settle()
        assert carrier.active == 0


async def test_without_udp_there_are_no_associations() -> None:
    async with anyio.create_task_group() as tasks:
        deps = FrontendDeps("test", EchoDialer(), Carrier(tasks), SocketListener, UdpSocket.bind)
        frontend = Socks5Frontend(Options(ANY_PORT, {}, udp=None), deps)
        await frontend.prepare()
        tasks.start_soon(frontend.serve)
        with await connect(frontend.addresses[0]) as sock:
            sock.send(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
            assert await receive(sock, 100) == b"\5\0" + b"\5\7\0\1" + bytes(6)
        await frontend.close()
        tasks.cancel_scope.cancel()


@needs_curl
@pytest.mark.parametrize("flag", ["--socks5-hostname", "--socks5"])
async def test_curl_gets_a_page(flag: str) -> None:
    async with serving() as server, web_server() as web:
        assert await curl(flag, str(server), f"http://{web}/") == (0, "hello", "")


@needs_curl
async def test_curl_authenticates() -> None:
    async with serving(alice="secret") as server, web_server() as web:
        assert await curl("--socks5-hostname", str(server), "--proxy-user", "alice:secret", f"http://{web}/") == (0, "hello", "")


@needs_curl
@pytest.mark.parametrize(
    ("user", "message"), [("alice:wrong", "rejected"), ("bob:secret", "rejected"), (None, "No authentication method was acceptable")]
)
async def test_curl_is_rejected(user: str | None, message: str) -> None:
    async with serving(alice="secret") as server, web_server() as web:
        code, output, errors = await curl("--socks5-hostname", str(server), *(["--proxy-user", user] if user else []), f"http://{web}/")
    assert (code, output) == (97, "")
    assert message in errors


@needs_curl
async def test_curl_hears_that_a_connection_was_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = Address(*sock.getsockname())
        async with serving() as server:
            code, _, errors = await curl("--socks5-hostname", str(server), f"http://{closed}/")
    assert code == 97
    assert "(5)" in errors


@needs_curl
async def test_curl_hears_that_a_name_is_no_host_name() -> None:
    async with serving() as server:
        code, _, errors = await curl("--socks5-hostname", str(server), "http://a..b/")
    assert code == 97
    assert "(4)" in errors
