"""T13: somebody without a key looks at our server from outside. Whatever is sent, and however much, the answer is silence, and the same end."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
import pytest
from client import can_connect, connect
from conftest import StartProgram, free_port
from origin import PATTERN
from programs import require_program

from outline_lb.base.address import Address
from outline_lb_websocket.client_handshake import build_request
from outline_lb_websocket.encoder import ClientEncoder
from outline_lb_websocket.key import new_key

DEADLINE: Final = 59.0
SLACK: Final = 15.0
"""Seconds by which the machine may be late with a thousand connections that end at once."""
PATH: Final = "/SECRET_PATH/tcp"
LENGTHS: Final = (*range(301), 1000, 70_000, 1_000_000)
SECRET: Final = "Secret0"


@dataclass(frozen=True)
class Server:
    """Our server.

    :param tcp: its listener of Shadowsocks alone
    :param web: its listener of WebSockets
    """

    tcp: Address
    web: Address


@pytest.fixture
async def server(start: StartProgram) -> Server:
    """Start a server that listens in both ways."""
    listen = [{"type": "tcp", "address": "127.0.0.1:0"}, {"type": "ws-h1", "address": "127.0.0.1:0", "path": PATH}]
    frontend = {"type": "outline-server", "listen": listen, "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True}
    program = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    return Server(*map(Address.parse, program.events("listening")[0]["addresses"]))


Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Way:
    """A way to knock.

    :param open: connects, as far as one can without a key
    :param send: what some bytes are on the wire
    :param goodbye: what comes at the end, besides the end itself
    """

    open: Callable[[Server], Awaitable[Wire]]
    send: Callable[[bytes], bytes]
    goodbye: bytes


async def open_tcp(server: Server) -> Wire:
    """Connect."""
    return await asyncio.open_connection(server.tcp.host, server.tcp.port)


async def open_web(server: Server) -> Wire:
    """Connect, and open a WebSocket: who knows the path need not know a key."""
    reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
    writer.write(build_request(str(server.web), PATH, new_key()))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def in_messages(data: bytes) -> bytes:
    """Return some bytes in WebSocket messages."""
    return b"".join(bytes(ClientEncoder().message(data[start : start + 65536])) for start in range(0, len(data), 65536))


WAYS: Final = {"tcp": Way(open_tcp, bytes, b""), "web": Way(open_web, in_messages, b"\x88\x02\x03\xe8")}
"""Without and with a WebSocket around it; there, the end is a Close frame with 1000."""


@dataclass(frozen=True)
class Seen:
    """What a prober saw.

    :param answer: all bytes that came
    :param end: how the connection ended
    """

    answer: bytes
    end: str


async def knock(way: Way, server: Server, data: bytes, finish: bool = False) -> tuple[Seen, float]:
    """Send some bytes; return what was seen, and after how many seconds the first of it was.

    :param finish: end our direction after them
    """
    clock = asyncio.get_running_loop().time
    begun = clock()  # before the server's clock begins to run
    reader, writer = await way.open(server)
    writer.write(way.send(data))
    if finish:
        writer.write_eof()
    first, answer, end = 0.0, b"", "FIN"
    try:
        async with asyncio.timeout(DEADLINE + 2 * SLACK):
            while True:
                piece = await reader.read(1 << 16)
                first = first or clock() - begun
                answer += piece
                if not piece:
                    break
    except ConnectionResetError:
        end = "RST"
    except TimeoutError:
        end = "none"
    writer.close()
    return Seen(answer, end), first


@dataclass
class Recorder:
    """Stands between a client and the server for one connection, and keeps what either says.

    :param to: the server
    """

    to: Address
    sent: bytes = b""
    received: bytes = b""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on."""
        there, back = await asyncio.open_connection(self.to.host, self.to.port)
        sent, received = await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        for end in (writer, back):
            end.close()
        if sent:
            self.sent, self.received = sent, received
            self.over.set()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    passed = b""
    while data := await reader.read(1 << 16):
        passed += data
        writer.write(data)
    writer.write_eof()
    return passed


async def record(start: StartProgram, server: Server, origin: Address) -> tuple[bytes, bytes]:
    """Return what a client of ours sent and got while it was served."""
    recorder = Recorder(server.tcp)
    async with await asyncio.start_server(recorder.serve, "127.0.0.1", 0) as listener:
        upstream = {"tcp": f"tcp://127.0.0.1:{listener.sockets[0].getsockname()[1]}", "secret": SECRET}
        config = {
            "version": 1,
            "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}},
            "pools": {"main": {"probes": []}},
            "upstreams": {"server": upstream},
        }
        client = await start("client", config)
        connection = await connect(client.address, origin)
        connection.writer.write(b"D" + (1000).to_bytes(8, "big"))
        connection.writer.write_eof()
        assert await connection.reader.read(-1) == PATTERN[:1000]
        connection.close()
        with anyio.fail_after(20):
            await recorder.over.wait()
        await client.stop()
    return recorder.sent, recorder.received


@pytest.mark.timeout(240)
async def test_strangers_hear_nothing_for_59_seconds_and_all_see_the_same_end(start: StartProgram, server: Server, origin: Address) -> None:
    sent, received = await record(start, server, origin)
    assert len(sent) > 50
    chance = random.Random(13)
    probes = {f"{length} bytes": chance.randbytes(length) for length in LENGTHS}
    probes |= {
        "a stream of somebody else, again": sent,
        "the first 50 bytes of it": sent[:50],
        "its header, and no more": sent[:80],
        "the same, with the last byte changed": sent[:-1] + bytes((sent[-1] ^ 1,)),
        "the same, with the first byte changed": bytes((sent[0] ^ 1,)) + sent[1:],
        "the server's own answer": received,
        "the first 50 bytes of that": received[:50],
        "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "the beginning of TLS": bytes.fromhex("1603010200010001fc0303") + chance.randbytes(500),
    }
    both = [(way, what, data) for way in WAYS for what, data in probes.items()]
    outcomes = await asyncio.gather(*(knock(WAYS[way], server, data) for way, _, data in both))
    other = {
        (way, what): (seen, after)
        for (way, what, _), (seen, after) in zip(both, outcomes, strict=True)
        if seen != Seen(WAYS[way].goodbye, "FIN") or not DEADLINE - 0.1 <= after <= DEADLINE + SLACK
    }
    assert other == {}


@pytest.mark.parametrize("name", WAYS)
async def test_a_stranger_who_ends_first_sees_the_same_end_at_once(server: Server, name: str) -> None:
    way = WAYS[name]
    outcomes = await asyncio.gather(*(knock(way, server, os.urandom(length), finish=True) for length in LENGTHS))
    assert {seen for seen, _ in outcomes} == {Seen(way.goodbye, "FIN")}
    assert max(after for _, after in outcomes) < 30


async def test_shadowsocks_libev_is_as_silent_and_ends_as_we_do(server: Server) -> None:
    program = require_program("ss-server", "apt-get install shadowsocks-libev")
    port = free_port()
    theirs = Server(Address("127.0.0.1", port), server.web)
    command = [program, "-s", "127.0.0.1", "-p", str(port), "-k", SECRET, "-m", "chacha20-ietf-poly1305"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with anyio.fail_after(20):
            while not can_connect(port):
                await asyncio.sleep(0.05)
        lengths = (0, 1, 32, 49, 50, 51, 66, 67, 100, 221, 300)
        for data in map(os.urandom, lengths):
            assert (await knock(WAYS["tcp"], theirs, data, finish=True))[0] == (await knock(WAYS["tcp"], server, data, finish=True))[0]
        silent = await asyncio.gather(*(hears_nothing(there, os.urandom(length)) for there in (server, theirs) for length in lengths))
        assert all(silent)
    finally:
        process.kill()
        await process.wait()


async def hears_nothing(server: Server, data: bytes) -> bool:
    """Tell whether nothing comes for some bytes, not even an end, within three seconds."""
    reader, writer = await open_tcp(server)
    writer.write(data)
    try:
        async with asyncio.timeout(3):
            await reader.read(1)
    except TimeoutError:
        return True
    finally:
        writer.close()
    return False


# -- a path that is not the secret one

WRONG: Final = (
    *("/", "/SECRET_PATH", "/SECRET_PATH/", "/SECRET_PATH/tc", "/SECRET_PATH/tcp/", "/SECRET_PATH/tcpx", "/SECRET_PATH/udp", "/secret_path/tcp"),
    *("/SECRET_PATH%2Ftcp/", "/robots.txt", "/favicon.ico", "/%00", "/?path=/SECRET_PATH/tcp", "/" + "a" * 8000),
)
REFERENCE: Final = "/nothing-of-this-name-was-ever-here"
DATE: Final = re.compile(rb"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n")
USUAL: Final = {b"Content-Type", b"X-Content-Type-Options", b"Date", b"Content-Length", b"Connection"}
"""Header fields of any small web server."""


async def ask(server: Server, data: bytes) -> bytes:
    """Return the answer to an HTTP request, without its date."""
    reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
    writer.write(data)
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        assert size, head
        body = await reader.readexactly(int(size[1]))
    writer.close()
    assert len(DATE.findall(head)) == 1, head
    return DATE.sub(b"Date: now\r\n", head) + body


def plain(path: str, method: str = "GET") -> bytes:
    """Return the request of a browser."""
    return f"{method} {path} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n".encode()


def upgrading(path: str) -> bytes:
    """Return the request of somebody who looks for a WebSocket."""
    return build_request("a.example", path, new_key())


def posting(path: str) -> bytes:
    """Return the request of somebody who tries another method."""
    return plain(path, "POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")


@pytest.mark.parametrize("kind", [plain, upgrading, posting])
async def test_every_wrong_path_gets_the_same_answer(server: Server, kind: Callable[[str], bytes]) -> None:
    reference = await ask(server, kind(REFERENCE))
    assert reference == await ask(server, plain(REFERENCE))
    assert [path for path in WRONG if await ask(server, kind(path)) != reference] == []


async def test_the_answer_to_a_wrong_path_is_that_of_a_plain_web_server(server: Server) -> None:
    head, _, body = (await ask(server, plain(REFERENCE))).partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status == b"HTTP/1.1 404 Not Found"
    assert {field.partition(b": ")[0] for field in fields} <= USUAL
    words = (b"outline", b"python", b"asyncio", b"websocket", b"upgrade", b"shadowsocks", b"secret", b"server:")
    assert [word for word in words if word in (head + body).lower()] == []


async def test_the_answer_to_head_is_the_same_without_the_body(server: Server) -> None:
    answers = []
    for method in ("GET", "HEAD"):
        reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
        writer.write(plain(REFERENCE, method).replace(b"Host", b"Connection: close\r\nHost"))
        async with asyncio.timeout(20):
            answers.append(DATE.sub(b"", await reader.read(-1)))
        writer.close()
    assert answers[1] == answers[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
