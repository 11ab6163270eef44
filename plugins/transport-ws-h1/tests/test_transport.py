from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import (
    Address,
    Buffer,
    ClientTls,
    Connector,
    Reason,
    Resolver,
    Secret,
    SecretUrl,
    SocketAddress,
    SocketListener,
    SocketStream,
    StartError,
    Stream,
    StreamSink,
    TlsStream,
    TransportDeps,
    UpstreamError,
    server_context,
)
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb_transport_ws_h1.options import ConnectOptions, ServerTls
from outline_lb_transport_ws_h1.transport import WsH1Transport
from outline_lb_websocket.message_decoder import Message, MessageDecoder
from outline_lb_websocket.packets import WebSocketPackets
from outline_lb_websocket.server_handshake import answer

Reply = Callable[[bytes], bytes]
REFUSAL = b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n"
PATH = "/hush/tcp"


def accept(request: bytes) -> bytes:
    return answer(request, PATH).response


class Peer(StreamSink):
    """Answers a request with whatever the test wants, and keeps what comes after."""

    def __init__(self, stream: Stream, reply: Reply | None) -> None:
        self.stream = stream
        self.reply = reply
        self.request = b""
        self.after = b""
        stream.set_sink(self)
        stream.resume_reading()

    def data_received(self, data: Buffer) -> None:
        head, end, after = (self.request + data).partition(b"\r\n\r\n")
        if not end:
            self.request = head
        elif self.after or self.request.endswith(b"\r\n\r\n"):
            self.after += data
        else:
            self.request, self.after = head + end, after
            if self.reply is not None:
                self.stream.write(self.reply(head))

    def eof_received(self) -> None:
        self.stream.close()

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Server:
    """Accepts connections, and answers each request alike.

    :param reply: from the request's head to the answer; None: silence
    :param tls: its certificate, if it has one
    """

    def __init__(self, reply: Reply | None, tls: ServerTls | None) -> None:
        self.peers: list[Peer] = []
        self.names: list[str | None] = []
        self.alpn: list[str | None] = []
        self.reply = reply
        self._context = None if tls is None else server_context(tls.certificate, tls.key, ["http/1.1", "h2"])
        if self._context:
            self._context.sni_callback = lambda _stream, name, _context: self.names.append(name)
        self.streams: list[SocketStream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.socket = SocketListener(Address("127.0.0.1", 0))
        self.socket.start(self._accepted)

    def _accepted(self, stream: SocketStream) -> None:
        self.streams.append(stream)
        if self._context is None:
            self.peers.append(Peer(stream, self.reply))
        else:
            self._tasks.add(asyncio.create_task(self._secure(stream, self._context)))

    async def _secure(self, lower: SocketStream, context: ssl.SSLContext) -> None:
        stream = TlsStream(lower, context, server_side=True)
        with contextlib.suppress(OSError):
            await stream.handshake()
            self.alpn.append(stream.alpn)
            self.peers.append(Peer(stream, self.reply))

    async def close(self) -> None:
        self.socket.close()
        for stream in self.streams:
            stream.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serve(reply: Reply | None = accept, tls: ServerTls | None = None) -> AsyncIterator[Server]:
    server = Server(reply, tls)
    try:
        yield server
    finally:
        await server.close()


class Redirected(Resolver):
    """Finds every name at one place: the address of the server; at None nothing, ever."""

    def __init__(self, server: Server | None) -> None:
        self._server = server

    async def resolve(self, address: Address) -> list[SocketAddress]:
        if self._server is None:
            await asyncio.Event().wait()
            raise AssertionError
        found = self._server.socket.address
        return await Connector().resolve(found)


def options(
    tls: ClientTls | None = None, headers: tuple[tuple[str, Secret], ...] = (), defer: float | None = None, packet_max_message: int = 4088
) -> ConnectOptions:
    return ConnectOptions(tls or ClientTls(), headers, 10, defer, packet_max_message)


async def connect(server: Server | None, url: str = f"ws://example.com{PATH}", opts: ConnectOptions | None = None) -> Stream:
    transport = WsH1Transport(opts or options(), TransportDeps(Connector(resolver=Redirected(server))))
    await transport.prepare()
    try:
        return await transport.stream_endpoint(SecretUrl(url)).connect()
    finally:
        await transport.close()


async def associate(server: Server, opts: ConnectOptions | None = None) -> tuple[WebSocketPackets, RecordingPacketSink[bytes]]:
    transport = WsH1Transport(opts or options(), TransportDeps(Connector(resolver=Redirected(server))))
    await transport.prepare()
    channel = await transport.packet_endpoint(SecretUrl(f"ws://example.com{PATH}")).connect()
    sink: RecordingPacketSink[bytes] = RecordingPacketSink()
    channel.set_sink(sink)
    return channel, sink


async def drop(stream: Stream) -> None:
    sink = RecordingSink()
    stream.set_sink(sink)
    stream.abort()
    await wait_lost(sink)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://example.com/hush/tcp", "example.com"),
        ("ws://example.com:80/hush/tcp", "example.com"),
        ("ws://Example.com:8080/hush/tcp?x=y", "example.com:8080"),
        ("ws://192.0.2.1/hush/tcp", "192.0.2.1"),
        ("ws://[2001:db8::1]/hush/tcp", "[2001:db8::1]"),
        ("ws://[2001:db8::1]:8080/hush/tcp", "[2001:db8::1]:8080"),
        ("ws://example.com:443/hush/tcp", "example.com:443"),
    ],
)
async def test_request_names_host_and_path(url: str, host: str) -> None:
    async with serve() as server:
        await drop(await connect(server, url, options(headers=(("User-Agent", Secret("Outline")), ("X-Y", Secret("z"))))))
        lines = server.peers[0].request.decode().split("\r\n")
    assert lines[0] == f"GET {SecretUrl(url).reveal_target()} HTTP/1.1"
    assert lines.count(f"Host: {host}") == 1
    assert "User-Agent: Outline" in lines
    assert "X-Y: z" in lines


async def test_each_connection_has_a_key_of_its_own() -> None:
    async with serve() as server:
        for _ in range(3):
            await drop(await connect(server))
        keys = {line for peer in server.peers for line in peer.request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")}
    assert len(keys) == 3


async def test_what_comes_with_the_answer_is_delivered_after_the_first_resume() -> None:
    async with serve(lambda request: accept(request) + b"\x82\x05early" + b"\x88\x00") as server:
        stream, sink = await connect(server), RecordingSink()
        stream.set_sink(sink)
        await asyncio.sleep(0.02)
        assert sink.events == []
        stream.resume_reading()
        await sink.ended.wait()
        assert sink.data == b"early"
        assert sink.events == ["data", "eof"]
        stream.write_eof()
        assert await wait_lost(sink) is None


async def test_nothing_is_sent_before_the_caller_writes() -> None:
    async with serve() as server:
        stream = await connect(server)
        await asyncio.sleep(0.02)
        assert server.peers[0].after == b""
        await drop(stream)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "upgrade: the server answered 404 Not Found: wrong path?"),
        (401, "upgrade: the server answered 401 Unauthorized: it wants credentials"),
        (429, "upgrade: the server answered 429 Too Many Requests: it is asked too often"),
        (302, "upgrade: the server answered 302 Found: it redirects; write the URL that it redirects to"),
        (200, "upgrade: the server answered 200 OK"),
    ],
)
async def test_refusals_say_the_status_and_not_the_path(status: int, text: str) -> None:
    async with serve(lambda _: REFUSAL % status) as server:
        with pytest.raises(UpstreamError) as caught:
            await connect(server)
    assert str(caught.value) == text
    assert caught.value.operation == "upgrade"


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"HTTP/1.1 101 x\nUpgrade: websocket\n\n", b"x" * 20_000], ids=range(4)
)
async def test_other_answers_are_upstream_errors(reply: bytes) -> None:
    async with serve(lambda _: reply) as server:
        with pytest.raises(UpstreamError) as caught:
            await connect(server)
    assert caught.value.operation == "upgrade"


async def test_end_instead_of_an_answer() -> None:
    async with serve() as server:

        def hang_up(_request: bytes) -> bytes:
            server.peers[0].stream.abort()
            return b""

        server.reply = hang_up
        with pytest.raises(UpstreamError) as caught:
            await connect(server)
    assert caught.value.operation == "upgrade"


@pytest.mark.fake_clock
@pytest.mark.parametrize("phase", ["resolve", "tls", "upgrade"])
async def test_connect_timeout_covers_every_phase(phase: str) -> None:
    async with serve(None) as server:
        url = f"{'wss' if phase == 'tls' else 'ws'}://example.com{PATH}"
        started = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamError) as caught:
            await connect(None if phase == "resolve" else server, url)
        took = asyncio.get_running_loop().time() - started
        await settle()
    assert caught.value.operation == phase
    assert caught.value.reason is Reason.TIMEOUT
    assert "no answer within 10" in str(caught.value)
    assert 9.9 < took < 10.5


@pytest.mark.parametrize("reply", [None, lambda _: REFUSAL % 404], ids=["cancelled", "refused"])
async def test_failures_leave_no_descriptor(reply: Reply | None) -> None:
    async with serve(reply) as server:
        await fail(server)
        before = os.listdir("/dev/fd")
        await fail(server)
        assert os.listdir("/dev/fd") == before


async def fail(server: Server) -> None:
    """Fail to connect, and let go of the server's end."""
    with pytest.raises((UpstreamError, TimeoutError)):
        await asyncio.wait_for(connect(server), 0.1)
    for stream in server.streams:
        stream.abort()
    await settle()


# -- TLS


async def test_tls_verifies_and_agrees_on_http(tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serve(tls=tls_files[1]) as server:
        with capture_logs() as logs:
            stream, sink = await connect(server, f"wss://127.0.0.1{PATH}", options(tls_files[0])), RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            server.peers[0].stream.write(b"\x82\x02hi")
            assert await sink.received(2) == b"hi"
            stream.abort()
            await wait_lost(sink)
    assert server.alpn == ["http/1.1"]
    assert [entry["event"] for entry in logs] == ["connecting", "TLS handshake done", "WebSocket opened", "WebSocket ended"]
    assert logs[1]["version"].startswith("TLSv1.")
    assert logs[1]["alpn"] == "http/1.1"
    assert logs[2]["status"] == 101
    assert logs[0]["server"] == logs[3]["peer"]
    assert "hush" not in str(logs)


async def test_host_header_of_wss_has_no_port_443(tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serve(tls=tls_files[1]) as server:
        for url in (f"wss://hidden.example{PATH}", f"wss://hidden.example:443{PATH}", f"wss://hidden.example:80{PATH}"):
            await drop(await connect(server, url, options(tls_files[0])))
        hosts = [line for peer in server.peers for line in peer.request.decode().split("\r\n") if line.startswith("Host")]
    assert hosts == ["Host: hidden.example", "Host: hidden.example", "Host: hidden.example:80"]
    assert server.names == ["hidden.example"] * 3


async def test_server_name_is_sent_and_verified_instead_of_the_host(tls_files: tuple[ClientTls, ServerTls]) -> None:
    tls = ClientTls(ca=tls_files[0].ca, server_name="hidden.example.")
    async with serve(tls=tls_files[1]) as server:
        await drop(await connect(server, f"wss://front.example{PATH}", options(tls)))
        assert server.names == ["hidden.example"]
        assert b"Host: front.example\r\n" in server.peers[0].request


@pytest.mark.parametrize("case", ["unknown authority", "wrong name"])
async def test_wrong_certificates_are_refused(case: str, tls_files: tuple[ClientTls, ServerTls]) -> None:
    tls = ClientTls() if case == "unknown authority" else tls_files[0]
    async with serve(tls=tls_files[1]) as server:
        with pytest.raises(UpstreamError, match="tls: certificate refused") as caught:
            await connect(server, f"wss://front.example{PATH}", options(tls))
    assert caught.value.operation == "tls"
    assert server.peers == [] or server.peers[0].request == b"", "the path stays with us"


async def test_pins(tls_files: tuple[ClientTls, ServerTls]) -> None:
    wrong = "sha256/" + "A" * 43 + "="
    url = f"wss://127.0.0.1{PATH}"
    async with serve(tls=tls_files[1]) as server:
        with pytest.raises(UpstreamError, match="which is not pinned") as caught:
            await connect(server, url, options(ClientTls(tls_files[0].ca, (wrong,))))
        assert caught.value.operation == "tls"
        assert all(peer.request == b"" for peer in server.peers), "the path stays with us"
        right = next(word for word in str(caught.value).replace(",", " ").split() if word.startswith("sha256/"))
        for tls in (ClientTls(tls_files[0].ca, (wrong, right)), ClientTls(pins=(right,), insecure=True)):
            await drop(await connect(server, url, options(tls)))
        with pytest.raises(UpstreamError, match="certificate refused"):
            await connect(server, url, options(ClientTls(pins=(right,))))


async def test_insecure_accepts_anybody_and_warns_once(tls_files: tuple[ClientTls, ServerTls]) -> None:
    async with serve(tls=tls_files[1]) as server:
        transport = WsH1Transport(options(ClientTls(insecure=True)), TransportDeps(Connector(resolver=Redirected(server))))
        with capture_logs() as logs:
            await transport.prepare()
            for url in (f"wss://a.example{PATH}", f"wss://b.example{PATH}"):
                await drop(await transport.stream_endpoint(SecretUrl(url)).connect())
    assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == ["warning"]


async def test_insecure_with_pins_does_not_warn() -> None:
    transport = WsH1Transport(options(ClientTls(pins=("sha256/x",), insecure=True)), TransportDeps(Connector()))
    with capture_logs() as logs:
        await transport.prepare()
    assert logs == []


async def test_missing_ca_file_stops_the_start() -> None:
    transport = WsH1Transport(options(ClientTls(ca="/nowhere/ca.pem")), TransportDeps(Connector()))
    with pytest.raises(StartError, match=r"/nowhere/ca\.pem"):
        await transport.prepare()


async def test_server_that_speaks_no_tls() -> None:
    async with serve() as server:

        def greet(stream: SocketStream) -> None:
            server.streams.append(stream)
            stream.write(b"220 hello\r\n")

        server.socket.stop()
        server.socket.start(greet)
        with pytest.raises(UpstreamError) as caught:
            await connect(server, f"wss://example.com{PATH}")
    assert caught.value.operation == "tls"


# -- what the stream is like


async def test_half_close_may_wait_for_the_server() -> None:
    async with serve() as server:
        stream, sink = await connect(server, opts=options(defer=60)), RecordingSink()
        stream.set_sink(sink)
        stream.resume_reading()
        stream.write_eof()
        await asyncio.sleep(0.02)
        assert server.peers[0].after == b""
        server.peers[0].stream.write(b"\x82\x06answer\x88\x02\x03\xe8")
        await sink.ended.wait()
        assert sink.data == b"answer"
        assert await wait_lost(sink) is None
        await asyncio.sleep(0.02)
        assert server.peers[0].after[:2] == b"\x88\x82"


# -- what the channel for packets is like


async def received(peer: Peer, count: int) -> list[Message]:
    """Wait until the server got so many messages."""
    with anyio.fail_after(10):
        while len(messages := MessageDecoder(masked=True).feed(peer.after)) < count:
            await asyncio.sleep(0.001)
    return messages


@pytest.mark.parametrize("behind_the_answer", [b"", b"\x82\x05early"])
async def test_each_packet_is_a_message(behind_the_answer: bytes) -> None:
    async with serve(lambda request: accept(request) + behind_the_answer) as server:
        channel, sink = await associate(server)
        channel.send([b"one", b"two"])
        assert await received(server.peers[0], 2) == [Message(b"one"), Message(b"two")]
        server.peers[0].stream.write(b"\x02\x03ans\x80\x03wer\x88\x02\x03\xe8")
        await sink.lost.wait()
        assert sink.packets == [b"early", b"answer"] if behind_the_answer else [b"answer"]
        assert sink.error is None


@pytest.mark.parametrize("limit", [100, 4088, 65_600])
async def test_the_size_of_messages_is_what_the_options_say(limit: int) -> None:
    async with serve() as server:
        channel, _ = await associate(server, options(packet_max_message=limit))
        with capture_logs() as logs:
            channel.send([bytes(limit), bytes(limit + 1), b"after"])
            channel.send([bytes(limit + 1)])
        assert await received(server.peers[0], 2) == [Message(bytes(limit)), Message(b"after")]
        assert [entry["server"] for entry in logs] == ["ws://example.com:80/***"], "the first one is enough"
        channel.close()


async def test_a_channel_that_waits_can_be_checked() -> None:
    async with serve() as server:
        transport = WsH1Transport(options(), TransportDeps(Connector(resolver=Redirected(server))))
        await transport.prepare()
        endpoint = transport.packet_endpoint(SecretUrl(f"ws://example.com{PATH}"))
        channel = await endpoint.connect()
        channel.set_sink(sink := RecordingPacketSink[bytes]())
        checking = asyncio.create_task(endpoint.check(channel))
        await asyncio.sleep(0.02)
        assert not checking.done()
        server.peers[0].stream.write(b"\x8a\x00")
        await checking
        checking = asyncio.create_task(endpoint.check(channel))
        await asyncio.sleep(0.02)
        server.peers[0].stream.abort()
        with pytest.raises(UpstreamError) as caught:
            await checking
        assert caught.value.operation == "ping"
        assert sink.error is not None


async def test_a_refused_upgrade_is_the_same_for_packets() -> None:
    async with serve(lambda _request: REFUSAL % 404) as server:
        with pytest.raises(UpstreamError, match="wrong path") as caught:
            await associate(server)
        assert caught.value.operation == "upgrade"
