from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import (
    Address,
    Buffer,
    ClientTls,
    Connector,
    DialError,
    ListenerDeps,
    PacketChannel,
    Secret,
    SecretUrl,
    SocketListener,
    StartError,
    Stream,
    TlsStream,
    UdpSocket,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.streams import FakeStream, RecordingSink, wait_lost
from outline_lb_transport_ws_h1 import listener as module
from outline_lb_transport_ws_h1.listener import WsH1Listener
from outline_lb_transport_ws_h1.options import ListenOptions, ServerTls
from outline_lb_websocket.client_handshake import build_request, check_response
from outline_lb_websocket.encoder import ClientEncoder
from outline_lb_websocket.frames import BINARY, CLOSE, TEXT
from outline_lb_websocket.head import MAX_HEAD
from outline_lb_websocket.key import new_key

PATH, PACKET_PATH = "/hush/tcp", "/hush/packets"
REQUEST = build_request("example.com", PATH, "dGhlIHNhbXBsZSBub25jZQ==")


class Rig:
    """A listener that serves, and clients that are only sockets."""

    def __init__(self, listener: WsH1Listener) -> None:
        self.listener = listener
        self.accepted: list[Stream] = []
        self.associated: list[PacketChannel[bytes]] = []
        self.clients: list[Stream] = []
        self.scope = anyio.CancelScope()

    async def serve(self) -> None:
        with self.scope:
            await self.listener.serve(self.accepted.append, self.associated.append)

    async def connect(self) -> tuple[Stream, RecordingSink]:
        stream: Stream = await Connector().connect(self.listener.address)
        return stream, self.read(stream)

    def read(self, stream: Stream) -> RecordingSink:
        self.clients.append(stream)
        sink = RecordingSink()
        stream.set_sink(sink)
        stream.resume_reading()
        return sink

    async def ask(self, request: bytes) -> RecordingSink:
        """Send a request, and return what comes until the server's end."""
        stream, sink = await self.connect()
        stream.write(request)
        await sink.ended.wait()
        stream.close()
        await wait_lost(sink)
        return sink


@contextlib.asynccontextmanager
async def serving(tls: ServerTls | None = None, defer: float | None = None, packet_path: str | None = PACKET_PATH) -> AsyncIterator[Rig]:
    paths = Secret(PATH), None if packet_path is None else Secret(packet_path)
    options = ListenOptions(Address("127.0.0.1", 0), paths[0], tls, 10, defer, paths[1])
    listener = WsH1Listener(options, ListenerDeps(SocketListener, UdpSocket.bind))
    await listener.prepare()
    rig = Rig(listener)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.serve)
            await settle()
            yield rig
            rig.scope.cancel()
    finally:
        for stream in rig.accepted + rig.clients:
            stream.abort()
        for channel in rig.associated:
            channel.close()
        await listener.close()
        await settle()


async def test_accepts_the_right_request() -> None:
    key = new_key()
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(build_request("example.com", PATH, key))
        head, end, rest = (await sink.received(129)).partition(b"\r\n\r\n")
        check_response(head, key)
        assert end
        assert rest == b""
        assert len(rig.accepted) == 1


async def test_the_path_of_packets_is_a_websocket_for_packets() -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(build_request("example.com", PACKET_PATH, new_key()))
        await sink.received(129)
        assert rig.accepted == []
        [channel] = rig.associated
        assert channel.peer_address == stream.local_address
        channel.set_sink(packets := RecordingPacketSink[bytes]())
        stream.write(ClientEncoder().frame(BINARY, b"ping"))
        assert await packets.received(1) == [b"ping"]
        channel.send([b"one", bytes(65_574)])
        await sink.received(129 + 2 + 3 + 10 + 65_574)
        assert sink.data[129:].startswith(b"\x82\x03one\x82\x7f")
        stream.write(ClientEncoder().control(CLOSE))
        await sink.ended.wait()
        assert sink.data.endswith(b"\x88\x00")
        assert packets.error is None


async def test_a_client_that_sends_text_as_a_packet_is_told_so() -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(build_request("example.com", PACKET_PATH, new_key()))
        await sink.received(129)
        rig.associated[0].set_sink(RecordingPacketSink())
        stream.write(ClientEncoder().frame(TEXT, b"text"))
        await sink.ended.wait()
        assert sink.data[129:] == b"\x88\x02\x03\xeb"


async def test_without_a_path_for_packets_there_is_none() -> None:
    async with serving(packet_path=None) as rig:
        sink = await rig.ask(build_request("example.com", PACKET_PATH, new_key(), [("Connection", "close")]))
        assert sink.data.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert rig.associated == []


@pytest.mark.parametrize("path", ["/", "/hush", "/hush/tc", "/hush/packets/", "/hush/packetsx"])
async def test_whoever_looks_for_the_paths_finds_none(path: str) -> None:
    answers = set()
    for asked in (path, "/other"):
        async with serving() as rig:
            sink = await rig.ask(build_request("example.com", asked, new_key(), [("Connection", "close")]))
            answers.add(re.sub(rb"Date: [^\r]*", b"", bytes(sink.data)))
            assert not rig.accepted
            assert not rig.associated
    assert len(answers) == 1


async def test_both_paths_are_probed_with_the_same_result() -> None:
    answers = set()
    for path in (PATH, PACKET_PATH):
        async with serving() as rig:
            sink = await rig.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answers.add(re.sub(rb"Date: [^\r]*", b"", bytes(sink.data)))
    [answer] = answers
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_end_may_wait_for_the_client() -> None:
    client_close, server_close = b"\x88\x80abcd", b"\x88\x02\x03\xe8"
    async with serving(defer=60) as rig:
        stream, sink = await rig.connect()
        stream.write(REQUEST)
        await sink.received(129)
        rig.accepted[0].resume_reading()
        rig.accepted[0].write_eof()
        await asyncio.sleep(0.02)
        assert len(sink.data) == 129
        stream.write(client_close)
        await sink.ended.wait()
        assert sink.data.endswith(server_close)


async def test_request_may_come_in_pieces() -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        for byte in REQUEST:
            stream.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await sink.received(1)).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404 Not Found", b"404 page not found\n"),
        (REQUEST[:-2] + b"Connection: close\r\nOrigin: https://evil.example\r\n\r\n", b"403 Forbidden", b"Forbidden\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n", b"404 Not Found", b"404 page not found\n"),
        (b"SSH-2.0-Any\r\n", b"400 Bad Request", b"400 Bad Request"),
        (b"GET / HTTP/1.1\nHost: x\n\n", b"400 Bad Request", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD, b"431 Request Header Fields Too Large", b"431 Request Header Fields Too Large"),
        (b"\0" * MAX_HEAD, b"400 Bad Request", b"400 Bad Request"),
        (b"\x16\x03\x01\0\0\n", b"400 Bad Request", b"400 Bad Request"),
    ],
    ids=range(8),
)
async def test_some_requests_get_an_answer_and_the_end(request_: bytes, status: bytes, body: bytes) -> None:
    async with serving() as rig:
        sink = await rig.ask(request_)
        assert rig.accepted == []
    assert sink.data.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert sink.data.endswith(b"\r\n\r\n" + body)
    assert sink.events == ["data", "eof", "lost"]


NOT_FOUND = b"404 page not found\n"
OTHER = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (REQUEST.replace(PATH.encode(), b"/"), NOT_FOUND),
        (OTHER, NOT_FOUND),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /", NOT_FOUND),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (OTHER.replace(b"/ ", b"/hush/tcp "), b"Bad Request\n"),
        (REQUEST.replace(b"GET", b"POST"), b"Method Not Allowed\n"),
        (REQUEST[:-2] + b"Origin: https://evil.example\r\n\r\n", b"Forbidden\n"),
    ],
    ids=range(7),
)
async def test_after_a_refusal_another_request_may_come(request_: bytes, body: bytes) -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        for _ in range(3):
            stream.write(request_)
            await sink.received(1)
            while not sink.data.endswith(b"\r\n\r\n" + body):
                await asyncio.sleep(0.001)
            sink.data.clear()
        assert not sink.ended.is_set()
        stream.write(REQUEST)
        assert (await sink.received(129)).startswith(b"HTTP/1.1 101 ")
        assert len(rig.accepted) == 1


async def test_requests_may_come_at_once() -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(OTHER * 40 + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000) + REQUEST)
        while b"HTTP/1.1 101 " not in sink.data:
            await sink.received(len(sink.data) + 1)
        assert sink.data.count(b"HTTP/1.1 404 Not Found\r\n") == 41
        assert len(rig.accepted) == 1


@pytest.mark.parametrize(
    ("begin", "statuses"),
    [
        (b"", []),
        (b"x", [b"400"]),
        (b"GET / HTTP/1.1\r\nHos", [b"400"]),
        (OTHER, [b"404"]),
        (OTHER + b"GET", [b"404", b"400"]),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel", [b"400"]),
    ],
)
async def test_a_client_that_ends_hears_an_end(begin: bytes, statuses: list[bytes]) -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(begin)
        stream.write_eof()
        await sink.ended.wait()
        assert await wait_lost(sink) is None
    assert re.findall(rb"HTTP/1\.1 (\d+)", sink.data) == statuses


async def test_noise_gets_no_answer_before_its_first_line_ends() -> None:
    async with serving() as rig:
        stream, sink = await rig.connect()
        stream.write(b"\x16\x03\x01\0\x05\x01\0\0\r\0")
        await asyncio.sleep(0.05)
        assert not sink.data
        assert not sink.ended.is_set()
        stream.write(b"\n")
        assert (await sink.received(12)).startswith(b"HTTP/1.1 400 ")


async def test_answers_are_not_heaped_up_for_who_does_not_read_them() -> None:
    class Stuffed(FakeStream):
        def write(self, data: Buffer) -> None:
            super().write(data)
            self.fill()

    listener = WsH1Listener(ListenOptions(Address("127.0.0.1", 0), Secret(PATH), None, 10, None), ListenerDeps(SocketListener, UdpSocket.bind))
    stream = Stuffed()
    task = asyncio.create_task(listener._shake_hands(stream, "somebody"))
    await settle()
    stream.feed(OTHER * 5000)
    for answers in range(1, 4):
        await settle()
        assert len(stream.writes) == answers
        stream.drain()
    stream.lose(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await task


async def test_who_does_not_wait_for_the_answer_gets_none() -> None:
    async with serving() as rig:
        sink = await rig.ask(REQUEST + b"\x82\x80abcd")
        assert sink.data == b""
        assert rig.accepted == []


async def test_refusals_are_logged_without_secrets() -> None:
    async with serving() as rig:
        with capture_logs() as logs:
            await rig.ask(REQUEST.replace(b"Host", b"Hose"))
            await rig.ask(REQUEST.replace(PATH.encode(), b"/hush/udp").replace(b": Upgrade", b": close"))
    assert [(entry["event"], entry["status"], entry["log_level"]) for entry in logs] == [
        ("request refused", 400, "debug"),
        ("request refused", 404, "debug"),
    ]
    assert "hush" not in str(logs)


@pytest.mark.fake_clock
@pytest.mark.parametrize("phase", ["tls", "request"])
async def test_slow_clients_are_given_up(phase: str, tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serving(tls_files[1] if phase == "tls" else None) as rig:
        started = asyncio.get_running_loop().time()
        stream, sink = await rig.connect()
        stream.write(b"GET / HTTP/1.1\r\n" if phase == "request" else b"\x16\x03\x01")
        await sink.lost.wait()
        assert 9.9 < asyncio.get_running_loop().time() - started < 10.5
        assert sink.data == b""


@pytest.mark.fake_clock
async def test_time_for_all_requests_together_is_limited() -> None:
    async with serving() as rig:
        started = asyncio.get_running_loop().time()
        stream, sink = await rig.connect()
        for seconds in (0, 4, 5):
            await asyncio.sleep(seconds)
            stream.write(OTHER)
        await sink.ended.wait()
        assert sink.events == ["data", "eof"]
        assert 9.9 < asyncio.get_running_loop().time() - started < 10.5
        assert sink.data.count(NOT_FOUND) == 3


async def test_client_that_leaves_in_the_middle_disturbs_nobody(tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serving(tls_files[1]) as rig:
        for data in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            for end in ("abort", "close"):
                stream, sink = await rig.connect()
                stream.write(data)
                getattr(stream, end)()
                await wait_lost(sink)
        tls = TlsStream(await Connector().connect(rig.listener.address), tls_files[0].context(["http/1.1"]), "127.0.0.1")
        await tls.handshake()
        sink = rig.read(tls)
        tls.write(REQUEST)
        assert (await sink.received(1)).startswith(b"HTTP/1.1 101 ")


async def test_client_that_refuses_our_certificate_hears_no_reset(tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serving(tls_files[1]) as rig:
        tls = TlsStream(await Connector().connect(rig.listener.address), ClientTls().context([]), "127.0.0.1")
        with pytest.raises(ssl.SSLCertVerificationError):
            await tls.handshake()
        sink = rig.read(tls)
        assert await wait_lost(sink) is None


async def test_handshakes_at_once_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDSHAKES", 4)
    async with serving() as rig:
        slow = [await rig.connect() for _ in range(4)]
        await asyncio.sleep(0.02)
        with capture_logs() as logs:
            for _ in range(3):
                assert await turned_away(rig)
        assert [entry["event"] for entry in logs] == ["too many handshakes at once: turning clients away"]
        assert not any(sink.lost.is_set() for _, sink in slow)
        for stream, _ in slow:
            stream.write(REQUEST)
        for _, sink in slow:
            await sink.received(1)
        assert len(rig.accepted) == 4, "an accepted stream is no handshake any more"
        stream, sink = await rig.connect()
        stream.write(REQUEST)
        assert (await sink.received(1)).startswith(b"HTTP/1.1 101 ")


async def turned_away(rig: Rig) -> bool:
    try:
        _, sink = await rig.connect()
    except DialError:  # the reset was faster than we were
        return True
    return await wait_lost(sink) is not None


async def test_ending_gives_up_the_handshakes_under_way() -> None:
    before = os.listdir("/dev/fd")
    async with serving() as rig:
        _, sink = await rig.connect()
        stream, accepted = await rig.connect()
        stream.write(REQUEST)
        await accepted.received(1)
        rig.scope.cancel()
        await wait_lost(sink)
        await asyncio.sleep(0.02)
        assert not accepted.lost.is_set()
    assert os.listdir("/dev/fd") == before


async def test_missing_certificate_stops_the_start() -> None:
    options = ListenOptions(Address("127.0.0.1", 0), Secret(PATH), ServerTls("/nowhere/cert.pem", "/nowhere/key.pem"), 10)
    with pytest.raises(StartError, match=r"/nowhere/cert\.pem"):
        await WsH1Listener(options, ListenerDeps(SocketListener, UdpSocket.bind)).prepare()


@pytest.mark.parametrize(("tls", "scheme"), [(None, "ws"), (ServerTls("certificate.pem", "key.pem"), "wss")])
def test_url_names_the_host_by_which_clients_reach_it_and_the_path(tls: ServerTls | None, scheme: str) -> None:
    options = ListenOptions(Address("0.0.0.0", 8443), Secret("/SECRET_PATH"), tls, handshake_timeout=1)
    listener = WsH1Listener(options, ListenerDeps(SocketListener, UdpSocket.bind))
    assert listener.url("server.example") == SecretUrl(f"{scheme}://server.example:8443/SECRET_PATH")
    assert listener.packet_url("server.example") is None
    options = replace(options, packet_path=Secret("/SECRET_UDP"))
    listener = WsH1Listener(options, ListenerDeps(SocketListener, UdpSocket.bind))
    assert listener.packet_url("server.example") == SecretUrl(f"{scheme}://server.example:8443/SECRET_UDP")
