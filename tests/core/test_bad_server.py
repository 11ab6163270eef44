from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme

from outline_lb.base.address import Address, decode_address, encode_address
from outline_lb.base.stream import Buffer
from outline_lb.datapath.cipher import Accepted, AcceptedPackets, Opener, Sealer, ServerCipher
from outline_lb.testing.bad_server import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    BadServer,
    Close,
    Cut,
    Delay,
    Drip,
    Echo,
    End,
    Flood,
    Frame,
    Peer,
    PeerLeftError,
    Raw,
    Read,
    ReadAll,
    Reset,
    Send,
    Shadowsocks,
    Stall,
    Status,
    Step,
    Tampered,
    Tls,
    Until,
    Upgrade,
    frame,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # with its answer, from RFC 6455 section 1.3
REQUEST = f"GET /path HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
MASK = b"\x01\x02\x03\x04"


class Client:
    """A client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def upgrade(self) -> str:
        self.writer.write(REQUEST)
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    def message(self, payload: bytes, opcode: int = BINARY) -> None:
        self.writer.write(frame(opcode, payload, mask=MASK))

    async def rest(self) -> bytes:
        return await self.reader.read(-1)


@asynccontextmanager
async def visiting(server: BadServer, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port, ssl=context, server_hostname=name)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


class Plain(Sealer, Opener, ServerCipher):
    """A cipher that encrypts nothing: each batch is its length in two bytes, and itself."""

    batch = 1000

    def accept(self, data: bytes) -> Accepted | None:
        header = decode_address(data)
        return header and Accepted("user", header[0], self, self, data[header[1] :])

    def accept_packets(self, datagram: bytes) -> AcceptedPackets:
        raise NotImplementedError

    def seal_into(self, data: Buffer, out: memoryview) -> int:
        out[:2], out[2 : 2 + len(data)] = len(data).to_bytes(2, "big"), data
        return 2 + len(data)

    def feed(self, data: Buffer) -> list[bytes]:
        return [bytes(data)]

    complete = True


async def test_a_good_server_upgrades_and_echoes() -> None:
    async with BadServer(Upgrade(), Echo()) as server, visiting(server) as client:
        head = await client.upgrade()
        assert head.startswith("HTTP/1.1 101 ")
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        for size in (1, 125, 126, 65535, 65536):
            client.message(bytes(size))
            assert await client.reader.readexactly(len(frame(BINARY, bytes(size)))) == frame(BINARY, bytes(size))


async def test_it_remembers_what_it_saw() -> None:
    async with BadServer(Upgrade(), ReadAll()) as server:
        async with visiting(server) as client:
            await client.upgrade()
            client.message(b"one")
            client.message(b"?", PING)
            client.message(b"two")
            assert await client.reader.readexactly(3) == frame(PONG, b"?")
            client.message(b"\x03\xe8", CLOSE)
            assert await client.rest() == b""
        peer = await server.visit(1)
        await peer.over.wait()
        assert peer.request.startswith("GET /path HTTP/1.1\r\n")
        assert peer.header("host") == "test"
        assert peer.received == b"onetwo"
        assert [control.opcode for control in peer.controls] == [PING, CLOSE]
        assert peer.close_codes == [1000]
        assert (peer.ending, peer.trouble, len(server.visits), server.flows) == ("FIN", None, 1, [])


async def test_pings_may_stay_without_an_answer() -> None:
    async with BadServer(Upgrade(answer_pings=False), ReadAll()) as server, visiting(server) as client:
        await client.upgrade()
        client.message(b"?", PING)
        client.message(b"", CLOSE)
        assert await client.rest() == b""
        assert server.visits[0].close_codes == [None]


@pytest.mark.parametrize(
    ("step", "sent"),
    [
        (Close(), b"\x88\x02\x03\xe8"),
        (Close(1005), b"\x88\x02\x03\xed"),
        (Close(None), b"\x88\x00"),
        (Close(1011, b"\xff"), b"\x88\x03\x03\xf3\xff"),
        (Frame(TEXT, b"a"), b"\x81\x01a"),
        (Frame(BINARY, b"a", fin=False), b"\x02\x01a"),
        (Frame(3, rsv=4), b"\xc3\x00"),
        (Frame(BINARY, b"abcd", mask=MASK), b"\x82\x84\x01\x02\x03\x04\x60\x60\x60\x60"),
        (Frame(BINARY, length=2_000_000_000), b"\x82\x7f\x00\x00\x00\x00\x77\x35\x94\x00"),
        (Send(b"abc"), b"\x82\x03abc"),
        (Raw(b"abc"), b"abc"),
        (Flood(b"ab", times=3), b"ababab"),
        (Drip(b"abc", 0.001), b"abc"),
        (Tampered(b"abc"), b"\x82\x03abb"),
    ],
    ids=str,
)
async def test_after_the_upgrade_it_sends_what_the_script_says(step: Step, sent: bytes) -> None:
    async with BadServer(Upgrade(), step) as server, visiting(server) as client:
        await client.upgrade()
        assert await client.rest() == sent


async def test_the_upgrade_may_be_wrong() -> None:
    async with BadServer(Upgrade(accept="no", headers={"Sec-WebSocket-Extensions": "permessage-deflate"})) as server, visiting(server) as client:
        head = await client.upgrade()
        assert "Sec-WebSocket-Accept: no\r\n" in head
        assert "Sec-WebSocket-Extensions: permessage-deflate\r\n" in head


async def test_any_status_with_any_header() -> None:
    async with BadServer(Status(503, {"Retry-After": "7"}, b"later")) as server, visiting(server) as client:
        client.writer.write(REQUEST)
        assert await client.rest() == b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nRetry-After: 7\r\n\r\nlater"


async def test_shadowsocks_over_websocket() -> None:
    target = Address("example.com", 443)
    async with BadServer(Upgrade(), Shadowsocks(Plain()), Read(5), Send(b"answer"), Tampered(b"x")) as server:
        async with visiting(server) as client:
            await client.upgrade()
            header = encode_address(target)
            client.message(header[:4])  # in pieces
            client.message(header[4:] + b"he")
            client.message(b"llo")
            assert await client.rest() == frame(BINARY, b"\0\x06answer") + frame(BINARY, b"\0\x01y")
        assert server.visits[0].target == target
        assert server.visits[0].received == b"hello"
        assert server.flows == server.visits


async def test_long_payload_is_sealed_in_batches() -> None:
    async with BadServer(Shadowsocks(Plain()), Send(bytes(1500))) as server, visiting(server) as client:
        client.writer.write(encode_address(Address("127.0.0.1", 1)))
        assert await client.rest() == b"\x03\xe8" + bytes(1000) + b"\x01\xf4" + bytes(500)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("steps", [(), (Close(),), (Delay(0.001), End())], ids=str)
async def test_over_tls_a_script_ends_with_close_notify(contexts: tuple[ssl.SSLContext, ssl.SSLContext], steps: tuple[Step, ...]) -> None:
    async with BadServer(Tls(contexts[0]), Upgrade(), *steps) as server, visiting(server, contexts[1]) as client:
        await client.upgrade()
        await client.rest()
        assert server.visits[0].secured


async def test_cut_is_an_end_without_close_notify(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with BadServer(Tls(contexts[0]), Send(b"abc"), Cut()) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = contexts[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with visiting(server) as client:
            seen = b""
            while True:  # whatever the loop's TLS makes of it
                try:
                    seen += tls.read() if tls.version() else b""
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    client.writer.write(outgoing.read())
                    data = await client.reader.read(1 << 16)
                    incoming.write(data) if data else incoming.write_eof()
                except ssl.SSLEOFError:
                    break
            assert seen == b"abc"


async def test_reset_is_a_reset() -> None:
    async with BadServer(Upgrade(), Reset()) as server, visiting(server) as client:
        client.writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_client_that_refuses_the_certificate_is_seen(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with BadServer(Tls(contexts[0]), Upgrade()) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with visiting(server, ssl.create_default_context()):
                pass
        peer = await server.visit(1)
        await peer.over.wait()
        assert peer.trouble is not None
        assert peer.request == ""


async def test_a_client_that_leaves_ends_the_script() -> None:
    async with BadServer(Upgrade(), Read(10), Stall()) as server:
        async with visiting(server) as client:
            await client.upgrade()
        peer = await server.visit(1)
        await peer.over.wait()
        assert isinstance(peer.trouble, PeerLeftError)


async def test_each_connection_plays_the_script_that_is_there_when_it_comes() -> None:
    go = asyncio.Event()
    async with BadServer(Until(go), Raw(b"one")) as server, visiting(server) as first:
        await server.visit(1)
        server.script = (Raw(b"two"),)
        async with visiting(server) as second:
            assert await second.rest() == b"two"
        go.set()
        assert await first.rest() == b"one"


async def test_any_async_function_is_a_step_and_its_mistakes_are_not_lost() -> None:
    async def mistake(peer: Peer) -> None:
        assert peer.request == "something else"

    with pytest.raises(ExceptionGroup) as failure:
        async with BadServer(mistake) as server, visiting(server) as client:
            assert await client.rest() == b""
    assert isinstance(failure.value.exceptions[0], AssertionError)


@pytest.mark.fake_clock
async def test_a_byte_per_second_takes_no_time_on_a_fake_clock() -> None:
    async with BadServer(Drip(bytes(100))) as server, visiting(server) as client:
        began = asyncio.get_running_loop().time()
        assert await client.rest() == bytes(100)
        assert asyncio.get_running_loop().time() - began == pytest.approx(100)
