"""What strangers and users may try on a server, each as a function that returns one line: what an observer saw."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from interop.observer import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Seen,
    Target,
    Watched,
    Wire,
    close_frame,
    describe,
    describe_http,
    frame,
    request,
    seal,
    sealer,
    upgrade,
)
from origin import PATTERN

from outline_lb.base.address import Address
from outline_lb_cipher_aead.chunks import ChunkSealer


@dataclass(frozen=True)
class Server:
    """A server that is watched.

    :param web: its HTTP listener, without TLS
    :param path: of its WebSocket
    :param plain: its listener of Shadowsocks without anything around it
    :param strict: its HTTP listener that refuses private targets
    :param secret: of its only user
    :param public: the address of this machine where targets may be
    """

    web: Address
    path: str
    plain: Address
    strict: Address
    secret: str
    public: str


Probe = Callable[[Server], Awaitable[str]]

NOBODY: Final = "NotTheSecret"
QUESTION: Final = PATTERN[:5]


# -- HTTP


async def http(server: Server, *parts: bytes, finish: bool = False) -> str:
    """Say what is answered to some bytes; what is open after six seconds counts as open: ours gives up after ten."""
    wire = await Wire.open(server.web)
    for part in parts:
        await wire.send(part)
        await wire.until(lambda: False, 1)
    if finish:
        wire.finish()
    await wire.until(lambda: False, 6)
    answer = bytes(wire.received)
    events = [Seen(describe_http(answer), wire.when(0), wire)] if answer else []
    await wire.close()
    return describe(events, wire)


def http_probes(path: str) -> Iterator[tuple[str, Probe]]:
    """Yield requests, by name."""
    hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
    several = request(path, upgrade=False), request("/other", upgrade=False), request(path, upgrade=False)
    requests: dict[str, tuple[bytes, ...]] = {
        "wrong path": (request("/other"),),
        "wrong path, no upgrade": (request("/other", upgrade=False),),
        "wrong path with two slashes": (request("//other", upgrade=False),),
        "wrong path as a whole URL": (request("http://example.com/other", upgrade=False),),
        "the path with a slash behind it": (request(path + "/"),),
        "the path with another before it": (request("/x/.." + path),),
        "the path with two slashes": (request("/" + path),),
        "the path in capitals": (request(path.upper()),),
        "the path, percent-encoded": (request("".join(f"%{ord(char):02x}" if char != "/" else char for char in path)),),
        "the path with a query": (request(path + "?a=b"),),
        "the path as a whole URL": (request("http://example.com" + path),),
        "GET without upgrade": (request(path, upgrade=False),),
        "HEAD without upgrade": (request(path, upgrade=False, method="HEAD"),),
        "POST without upgrade": (request(path, "Content-Length: 5", upgrade=False, method="POST") + b"hello",),
        "POST without upgrade to a wrong path": (request("/other", "Content-Length: 5", upgrade=False, method="POST") + b"hello",),
        "HEAD to a wrong path": (request("/other", upgrade=False, method="HEAD"),),
        "POST of 500,000 B": (request("/other", "Content-Length: 500000", upgrade=False, method="POST"),),
        "POST whose body does not come": (request("/other", "Content-Length: 5", upgrade=False, method="POST") + b"hell",),
        "POST that waits for 100 Continue": (
            request("/other", "Content-Length: 5", "Expect: 100-continue", "Connection: close", upgrade=False, method="POST"),
        ),
        "POST in chunks": (request("/other", "Transfer-Encoding: chunked", upgrade=False, method="POST") + b"1\r\nx\r\n0\r\n\r\n",),
        "Connection: close to a wrong path": (request("/other", "Connection: close", upgrade=False),),
        "POST with upgrade": (request(path, "Content-Length: 0", method="POST"),),
        "OPTIONS *": (request("*", upgrade=False, method="OPTIONS"),),
        "CONNECT": (request("example.com:443", upgrade=False, method="CONNECT"),),
        "Origin of another site": (request(path, "Origin: https://evil.example"),),
        "Origin of the same site": (request(path, "Origin: https://example.com"),),
        "Origin null": (request(path, "Origin: null"),),
        "no version of WebSocket": (request(path, "Sec-WebSocket-Version:"),),
        "version 8 of WebSocket": (request(path, "Sec-WebSocket-Version: 8"),),
        "no key": (request(path, "Sec-WebSocket-Key:"),),
        "key of 15 bytes": (request(path, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"),),
        "Connection: keep-alive, Upgrade": (request(path, "Connection: keep-alive, Upgrade"),),
        "subprotocol and extension offered": (request(path, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"),),
        "no Host": (request(path, "Host:"),),
        "two Hosts": (request(path, "X: y\r\nHost: example.net"),),
        "a Host that cannot be": (request(path, host="a b"),),
        "HTTP/1.0": (request(path, version="HTTP/1.0"),),
        "HTTP/1.0 without upgrade": (request(path, upgrade=False, version="HTTP/1.0"),),
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
        "no HTTP": (b"hello\r\n\r\n",),
        "a TLS greeting": (hello,),
        "a greeting of SSH": (b"SSH-2.0-OpenSSH_9.6\r\n",),
        "noise with an LF": (b"\x00\x01\r\x02\n",),
        "lines that end with LF": (request(path, upgrade=False).replace(b"\r\n", b"\n"),),
        "a header field without a colon": (request(path).replace(b"\r\n\r\n", b"\r\nnonsense\r\n\r\n"),),
        "a header of 20 KB": (request(path, f"X-Long: {'x' * 20_000}"),),
        "150 header fields": (request(path, *(f"X-{number}: x" for number in range(150))),),
        "three requests on one connection": several,
        "three requests at once": (b"".join(several),),
        "a request to a wrong path, then the right one": (request("/other"), request(path)),
        "early data behind the request": (request(path) + frame(BINARY, os.urandom(100)),),
    }
    for name, parts in requests.items():
        yield name, _http_probe(parts)
    yield "an end behind half a request", _http_probe((request(path)[:30],), finish=True)
    yield "an end behind a TLS greeting", _http_probe((hello,), finish=True)
    yield "an end behind a request", _http_probe((request("/other"),), finish=True)
    yield "an end, and nothing else", _http_probe((), finish=True)
    yield "nothing behind an answer", one_request
    yield "half a request", half_a_request
    yield "a request that never comes", silent_client


def _http_probe(parts: tuple[bytes, ...], finish: bool = False) -> Probe:
    return lambda server: http(server, *parts, finish=finish)


async def one_request(server: Server) -> str:
    """Say when a server gives up a client that asks nothing more."""
    wire = await Wire.open(server.web)
    await wire.send(request("/other"))
    return await _watch_http(wire)


async def half_a_request(server: Server) -> str:
    """Say when a server gives up a request that does not end."""
    wire = await Wire.open(server.web)
    await wire.send(request(server.path)[:30])
    return await _watch_http(wire)


async def silent_client(server: Server) -> str:
    """Say when a server gives up a client that says nothing."""
    return await _watch_http(await Wire.open(server.web))


async def _watch_http(wire: Wire) -> str:
    await wire.until(lambda: False)
    events = [Seen(describe_http(bytes(wire.received)), wire.when(0), wire)] if wire.received else []
    await wire.close()
    return describe(events, wire)


# -- strangers, who have no key


async def connect(server: Server, plain: bool, secret: str | None = None) -> Watched:
    """Open a WebSocket, or a connection of Shadowsocks without one."""
    return Watched(await Wire.open(server.plain), b"", secret) if plain else await upgrade(server.web, server.path, secret)


async def watch(watched: Watched, target: Target | None = None, seconds: float = 64.0) -> str:
    """Watch to the end, or for so many seconds, and say what was seen."""
    await watched.wire.until(lambda: False, seconds)
    if target is not None and watched.wire.end != "open":
        await target.until_end(5)  # which comes another way, and may come later
    saw = "" if target is None else f"; {target}"
    text = describe(list(watched.seen()), watched.wire) + saw
    await watched.wire.close()
    if target is not None:
        await target.stop()
    return text


def stranger(*parts: bytes, finish: bool = False, plain: bool = False) -> Probe:
    """Return a probe that sends some bytes, and may end its direction."""

    async def probe(server: Server) -> str:
        watched = await connect(server, plain)
        for part in parts:
            await watched.wire.send(part)
            await asyncio.sleep(0.2)  # so that each is read by itself
        if finish:
            watched.wire.finish()
        return await watch(watched)

    return probe


def malformed() -> Mapping[str, bytes]:
    """Return what breaks RFC 6455, and what is unusual, by name."""
    return {
        "text message": frame(TEXT, b"hello"),
        "unmasked frame": frame(BINARY, b"hello", masked=False),
        "reserved bit": frame(BINARY, b"hello", reserved=0x40),
        "unknown opcode 3": frame(3, b"hello"),
        "unknown opcode 11": frame(11, b"hello"),
        "continuation of nothing": frame(CONTINUATION, b"hello"),
        "a message inside a message": frame(BINARY, b"hello", final=False) + frame(BINARY, b"hello"),
        "fragmented Ping": frame(PING, b"hello", final=False),
        "Ping of 126 bytes": frame(PING, bytes(126)),
        "length of 64 bits with the first one set": bytes((0x82, 0xFF)) + struct.pack("!Q", 1 << 63) + bytes(4),
        "length that is not minimal": bytes((0x82, 0xFE)) + struct.pack("!H", 5) + bytes(9),
        "empty message": frame(BINARY),
        "a message of 2 MiB begins": bytes((0x82, 0xFF)) + struct.pack("!Q", 2 << 20) + bytes(104),
        "Pong that nobody asked for": frame(PONG, b"hello"),
        "half a frame": frame(BINARY, os.urandom(100))[:50],
    }


CODES: Final = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4999)
WRONG_CODES: Final = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)


def closes() -> Mapping[str, bytes]:
    """Return Close frames, by name."""
    return {
        **{f"Close {code}": close_frame(code) for code in CODES},
        'Close 1000 "bye"': close_frame(1000, b"bye"),
        "Close empty": close_frame(),
        **{f"Close {code}, which must not be sent": close_frame(code) for code in WRONG_CODES},
        "Close of 1 byte": frame(8, b"\x03"),
        "Close 1000 with a reason that is not UTF-8": close_frame(1000, b"\xff\xfe"),
    }


def stranger_probes() -> Iterator[tuple[str, Probe]]:
    """Yield what strangers do with a WebSocket, by name."""
    yield "idle", stranger()
    for size in (20, 49, 50, 51, 1000, 100_000):
        yield f"{size:,} random bytes", stranger(frame(BINARY, os.urandom(size)))
    yield "wrong key", wrong_key
    yield "20 random bytes, then TCP shutdown", stranger(frame(BINARY, os.urandom(20)), finish=True)
    yield "100 random bytes, then TCP shutdown", stranger(frame(BINARY, os.urandom(100)), finish=True)
    yield "100 random bytes, then Close 1000", stranger(frame(BINARY, os.urandom(100)), close_frame(1000))
    yield "TCP shutdown", stranger(finish=True)
    yield "TCP shutdown inside a frame", stranger(frame(BINARY, os.urandom(100))[:50], finish=True)
    yield "Ping", stranger(frame(PING, b"hello"))
    yield "100 random bytes, then Ping", stranger(frame(BINARY, os.urandom(100)), frame(PING, b"hello"))
    yield "100 random bytes, then a text message", stranger(frame(BINARY, os.urandom(100)), frame(TEXT, b"hello"))
    yield "100 random bytes, then an unmasked frame", stranger(frame(BINARY, os.urandom(100)), frame(BINARY, b"hello", masked=False))
    for name, data in {**malformed(), **closes()}.items():
        yield name, stranger(data)
    yield "replayed salt", replay
    yield "server's salt reflected", reflect


def plain_probes() -> Iterator[tuple[str, Probe]]:
    """Yield what strangers do with Shadowsocks without a WebSocket, by name."""
    yield "idle", stranger(plain=True)
    for size in (1, 49, 50, 51, 1000, 100_000):
        yield f"{size:,} random bytes", stranger(os.urandom(size), plain=True)
    yield "20 random bytes, then TCP shutdown", stranger(os.urandom(20), finish=True, plain=True)
    yield "100 random bytes, then TCP shutdown", stranger(os.urandom(100), finish=True, plain=True)
    yield "TCP shutdown", stranger(finish=True, plain=True)
    yield "a request of HTTP", stranger(request("/"), plain=True)
    yield "replayed salt", partial(replay, plain=True)
    yield "server's salt reflected", partial(reflect, plain=True)


async def wrong_key(server: Server) -> str:
    """Begin as a user would, with a secret that is not known."""
    watched = await connect(server, False)
    await watched.wire.send(frame(BINARY, seal(sealer(NOBODY, Address(server.public, 80)), QUESTION)))
    return await watch(watched)


async def replay(server: Server, plain: bool = False) -> str:
    """Send what a user has sent before."""
    target = await Target.start(server.public, answer_after_end)
    begin = seal(sealer(server.secret, target.address), QUESTION)
    for _ in range(2):
        watched = await connect(server, plain)
        await watched.wire.send(begin if plain else frame(BINARY, begin))
        if target.received:
            return await watch(watched, target)
        while not target.received:
            await asyncio.sleep(0.05)
        await watched.wire.close()
    raise AssertionError


async def reflect(server: Server, plain: bool = False) -> str:
    """Begin with the salt of an answer."""
    user = await User.begin(server, speak_first, plain)
    await user.watched.until_plain(1000)
    salt = user.watched.payload[:32]
    await user.close()
    watched = await connect(server, plain)
    begin = seal(sealer(server.secret, user.target.address, salt), QUESTION)
    await watched.wire.send(begin if plain else frame(BINARY, begin))
    return await watch(watched)


# -- users, who have the key


async def answer_after_end(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int = 32) -> None:
    """Read to the end, then answer."""
    await target.read_to_end(reader)
    writer.write(PATTERN[:size])
    await writer.drain()


async def answer_much_after_end(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, then answer with 100,000 B."""
    await answer_after_end(target, reader, writer, 100_000)


async def speak_first(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int = 1000) -> None:
    """Say something, then read to the end."""
    writer.write(PATTERN[:size])
    await writer.drain()
    await target.read_to_end(reader)


async def end_first(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something and end, then read to the end."""
    writer.write(PATTERN[:1000])
    writer.write_eof()
    await target.read_to_end(reader)


async def answer_and_reset(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something, then reset the connection."""
    writer.write(PATTERN[:1000])
    await writer.drain()
    await asyncio.sleep(0.5)  # a reset may overtake what was written
    writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
    writer.transport.abort()
    target.saw = "reset it"


async def speak_late(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something a little after the question, then read to the end."""
    target.received = len(await reader.readexactly(len(QUESTION)))
    await asyncio.sleep(2)
    await speak_first(target, reader, writer)


async def echo(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(1 << 16):
        target.received += len(data)
        writer.write(data)
        await writer.drain()
    target.saw = "FIN"


Serve = Callable[[Target, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class User:
    """A user's flow whose target was reached."""

    watched: Watched
    target: Target
    sealer: ChunkSealer
    plain: bool

    @classmethod
    async def begin(cls, server: Server, serve: Serve, plain: bool = False) -> User:
        """Begin a flow with the question, and wait until the target read it, if it reads."""
        target = await Target.start(server.public, serve)
        user = cls(await connect(server, plain, server.secret), target, sealer(server.secret, target.address), plain)
        await user.say(QUESTION)
        async with asyncio.timeout(30):
            while target.saw == "nobody" or not (target.received or serve in {answer_and_reset, speak_long}):
                await asyncio.sleep(0.02)
        return user

    async def say(self, data: bytes) -> None:
        """Send some data, as one message."""
        sealed = seal(self.sealer, data)
        await self.watched.wire.send(sealed if self.plain else frame(BINARY, sealed))

    async def end(self, seconds: float = 64.0) -> str:
        """Watch to the end, and say what was seen."""
        return await watch(self.watched, self.target, seconds)

    async def close(self) -> None:
        """Give it up."""
        await self.watched.wire.close()
        await self.target.stop()


async def speak_long(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 8 MiB and end."""
    for _ in range(8):
        writer.write(PATTERN)
        await writer.drain()
    target.saw = "done"


def user(
    *parts: bytes, serve: Serve = answer_after_end, finish: bool = False, plain: bool = False, more: bool = False, seconds: float = 64.0
) -> Probe:
    """Return a probe that begins a flow, sends some bytes, and may end its direction, or send 5 B more to the target."""

    async def probe(server: Server) -> str:
        user = await User.begin(server, serve, plain)
        if serve is speak_first:
            await user.watched.until_plain(1000)
        if parts:
            await user.watched.wire.send(*parts)
        if more:
            await asyncio.sleep(0.2)
            await user.say(QUESTION)
        if finish:
            user.watched.wire.finish()
        return await user.end(seconds)

    return probe


def user_probes() -> Iterator[tuple[str, Probe]]:
    """Yield what users do, by name."""
    yield "Close 1000, then 100,000 B of answer", user(close_frame(1000), serve=answer_much_after_end)
    yield "TCP shutdown without Close, then 100,000 B of answer", user(finish=True, serve=answer_much_after_end)
    yield "Close 1000, then more data", user(close_frame(1000), more=True)
    yield "the target ends first", user(serve=end_first, seconds=8)
    yield "the target ends first, then 5 B, then Close 1000", target_ends_first
    yield "refused target", partial(no_target, public=True)
    yield "private target", partial(no_target, public=False)
    yield "target reset", user(serve=answer_and_reset)
    yield "reset by the client", reset_by_client
    yield "idle after an answer", user(serve=speak_first)
    yield "Ping", user(frame(PING, b"hello"), serve=speak_first, seconds=8)
    yield "three Pings at once", user(frame(PING, b"1") + frame(PING, b"2") + frame(PING), serve=speak_first, seconds=8)
    yield "fragments with Pings between them", fragments
    yield "half an address, then nothing", half_address
    yield "address of an unknown type", unknown_address
    yield "a damaged chunk", damaged
    yield "a damaged chunk, then the target speaks", partial(damaged, serve=speak_late)
    yield "a damaged chunk, then 17 B", partial(damaged, behind=17)
    yield "a damaged chunk, then 18 B", partial(damaged, behind=18)
    yield "a chunk with a damaged length", partial(damaged, place=0)
    yield "a damaged chunk, then Close 1000", partial(damaged, finish=True)
    yield "Close inside a chunk", close_inside_chunk
    yield "a message of 1 MiB", partial(big_message, size=1 << 20)
    yield "a message of 1.5 MiB", partial(big_message, size=3 << 19)
    yield "longest message of 8 MiB from the target", longest_message
    for name, data in {**malformed(), **closes()}.items():
        yield name, user(data, more=not name.startswith("Close") and name not in {"half a frame", "a message of 2 MiB begins"})


def plain_user_probes() -> Iterator[tuple[str, Probe]]:
    """Yield what users do with Shadowsocks without a WebSocket, by name."""
    yield "TCP shutdown, then 100,000 B of answer", user(finish=True, serve=answer_much_after_end, plain=True)
    yield "the target ends first", user(serve=end_first, seconds=8, plain=True)
    yield "refused target", partial(no_target, public=True, plain=True)
    yield "target reset", user(serve=answer_and_reset, plain=True)
    yield "a damaged chunk", partial(damaged, plain=True)
    yield "a damaged chunk, then the target speaks", partial(damaged, plain=True, serve=speak_late)
    yield "a damaged chunk, then 17 B", partial(damaged, plain=True, behind=17)
    yield "a damaged chunk, then 18 B", partial(damaged, plain=True, behind=18)
    yield "a chunk with a damaged length", partial(damaged, plain=True, place=0)
    yield "a damaged chunk, then TCP shutdown", partial(damaged, plain=True, finish=True)
    yield "half an address, then nothing", partial(half_address, plain=True)
    yield "address of an unknown type", partial(unknown_address, plain=True)


async def target_ends_first(server: Server) -> str:
    """Say something after the target's end."""
    user = await User.begin(server, end_first)
    await user.watched.wire.until(lambda: any(first & 15 == 8 for first, _, _ in user.watched.frames))
    await user.say(QUESTION)
    await user.watched.wire.send(close_frame(1000))
    return await user.end(8)


async def no_target(server: Server, public: bool, plain: bool = False) -> str:
    """Ask for a target where nobody listens, or that is private."""
    target = await Target.start(server.public if public else "127.0.0.1", speak_first)
    if public:
        await target.stop()
    if plain:
        watched = await connect(server, True, server.secret)
    else:
        watched = await upgrade(server.strict if not public else server.web, server.path, server.secret)
    begin = seal(sealer(server.secret, target.address), QUESTION)
    await watched.wire.send(begin if plain else frame(BINARY, begin))
    return await watch(watched, target)


async def reset_by_client(server: Server) -> str:
    """Say what the target hears when the client resets its connection."""
    user = await User.begin(server, speak_first)
    await user.watched.until_plain(1000)
    await user.watched.wire.reset()
    await user.target.until_end(10)
    await user.target.stop()
    return str(user.target)


async def fragments(server: Server) -> str:
    """Send one message in three fragments, with Pings between them."""
    user = await User.begin(server, answer_after_end)
    data = seal(user.sealer, PATTERN[:3000])
    await user.watched.wire.send(
        frame(BINARY, data[:1000], final=False),
        frame(PING, b"1"),
        frame(CONTINUATION, data[1000:2000], final=False),
        frame(PING, b"2"),
        frame(CONTINUATION, data[2000:]),
        close_frame(1000),
    )
    return await user.end()


async def half_address(server: Server, plain: bool = False) -> str:
    """Send the first bytes of an address."""
    watched = await connect(server, plain, server.secret)
    begin = seal(sealer(server.secret), b"\x01\x7f")
    await watched.wire.send(begin if plain else frame(BINARY, begin))
    return await watch(watched)


async def unknown_address(server: Server, plain: bool = False) -> str:
    """Send an address of a type that there is not."""
    watched = await connect(server, plain, server.secret)
    begin = seal(sealer(server.secret), b"\x09\x7f\x00\x00\x01\x00\x50")
    await watched.wire.send(begin if plain else frame(BINARY, begin))
    return await watch(watched)


async def damaged(
    server: Server, plain: bool = False, serve: Serve = answer_after_end, place: int = -1, behind: int = 0, finish: bool = False
) -> str:
    """Damage a byte of a chunk after the first, and perhaps send some more or end a little later."""
    user = await User.begin(server, serve, plain)
    data = bytearray(seal(user.sealer, PATTERN[:100]))
    data[place] ^= 1
    wire = user.watched.wire
    for part in (bytes(data), os.urandom(behind)) if behind else (bytes(data),):
        await wire.send(part if plain else frame(BINARY, part))
        await asyncio.sleep(0.2)
    if finish:
        await asyncio.sleep(0.5)
        if plain:
            wire.finish()
        else:
            await wire.send(close_frame(1000))
    return await user.end()


async def close_inside_chunk(server: Server) -> str:
    """End before a chunk is complete."""
    user = await User.begin(server, answer_after_end)
    await user.watched.wire.send(frame(BINARY, seal(user.sealer, PATTERN[:100])[:50]), close_frame(1000))
    return await user.end()


async def big_message(server: Server, size: int) -> str:
    """Send chunks in one message that has so many bytes or a little less, and end."""
    user = await User.begin(server, answer_after_end)
    data = seal(user.sealer, (PATTERN * 2)[: size // 16417 * 16383])
    await user.watched.wire.send(frame(BINARY, data), close_frame(1000))
    return await user.end()


async def longest_message(server: Server) -> str:
    """Say how long the messages are that the server sends."""
    user = await User.begin(server, speak_long)
    await user.watched.wire.until(lambda: user.watched.wire.received.endswith(b"\x88\x02\x03\xe8"))
    longest = max(len(payload) for _, payload, _ in user.watched.frames)
    received = len(user.watched.plain)
    await user.close()
    return f"{received:,} B, each message {'at most 16,449 B' if longest <= 16449 else 'longer than 16,449 B'}"


def probes(path: str) -> dict[str, Probe]:
    """Return all of them, by name."""
    return {
        **{f"HTTP: {name}": probe for name, probe in http_probes(path)},
        **{f"stranger: {name}": probe for name, probe in stranger_probes()},
        **{f"plain stranger: {name}": probe for name, probe in plain_probes()},
        **{f"user: {name}": probe for name, probe in user_probes()},
        **{f"plain user: {name}": probe for name, probe in plain_user_probes()},
    }
