from __future__ import annotations

import asyncio
import base64
import datetime
import gc
import hashlib
import random
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat, load_pem_private_key

from outline_lb.base.errors import AbortedError, ProtocolError, StartError, StreamError, TruncatedError, describe
from outline_lb.base.stream import Buffer, Stream
from outline_lb.net.socket import SocketStream
from outline_lb.net.tls import ClientTls, TlsStream, server_context
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream, RecordingSink, wait_lost

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("example.com")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


def for_server(certificate: trustme.LeafCert = CERTIFICATE, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.minimum_version = context.maximum_version = version
    return context


def for_client(tls: ClientTls | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = (tls or ClientTls()).context([])
    CA.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


def pin_of(certificate: trustme.LeafCert) -> str:
    key = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return "sha256/" + base64.b64encode(digest).decode()


class Side:
    """One end of a link: TLS on a fake stream."""

    def __init__(self, context: ssl.SSLContext, server_side: bool) -> None:
        self.lower = FakeStream()
        self.tls = TlsStream(self.lower, context, None if server_side else "example.com", server_side)
        self.sink = RecordingSink()

    def attach(self) -> None:
        self.tls.set_sink(self.sink)
        self.tls.resume_reading()


class Link:
    """A client and a server; what they write is carried by `pump`, cut as the test wants."""

    def __init__(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self.client = Side(for_client(version=version), server_side=False)
        self.server = Side(for_server(version=version), server_side=True)

    def pump(self, cut: Callable[[bytes], Iterator[bytes]] = lambda data: iter([data])) -> None:
        while self.client.lower.written or self.server.lower.written:
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                if data := sender.lower.take():
                    for piece in cut(data):
                        receiver.lower.feed(piece)

    async def shake_hands(self, cut: Callable[[bytes], Iterator[bytes]] = lambda data: iter([data])) -> None:
        both = asyncio.gather(self.client.tls.handshake(), self.server.tls.handshake())
        while not both.done():
            await asyncio.sleep(0)
            self.pump(cut)
        await both

    @classmethod
    async def up(cls, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Link:
        link = cls(version)
        await link.shake_hands()
        link.client.attach()
        link.server.attach()
        await settle()
        return link


def every(size: int) -> Callable[[bytes], Iterator[bytes]]:
    return lambda data: (data[start : start + size] for start in range(0, len(data), size))


def once(position: int) -> Callable[[bytes], Iterator[bytes]]:
    return lambda data: (piece for piece in (data[: position % len(data)], data[position % len(data) :]) if piece)


# -- handshake


@both_versions
@pytest.mark.parametrize("cut", [every(1), every(2), every(3), every(7), every(100), *map(once, range(1, 1500, 53))])
async def test_a_handshake_in_pieces(version: ssl.TLSVersion, cut: Callable[[bytes], Iterator[bytes]]) -> None:
    link = Link(version)
    await link.shake_hands(cut)
    link.client.attach()
    link.server.attach()
    link.client.tls.write(b"question")
    link.server.tls.write(b"answer")
    await settle()
    link.pump(cut)
    assert bytes(link.server.sink.data) == b"question"
    assert bytes(link.client.sink.data) == b"answer"
    assert link.client.tls.version == link.server.tls.version == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]


@both_versions
async def test_data_behind_the_clients_last_flight(version: ssl.TLSVersion) -> None:
    link = Link(version)
    shaking = asyncio.gather(link.client.tls.handshake(), link.server.tls.handshake())
    while not shaking.done():
        await asyncio.sleep(0)
        flight = link.client.lower.take()
        if link.client.tls._ready is None and not link.client.tls._eof_sent:
            link.client.tls.write(b"early bird")
            link.client.tls.write_eof()
            flight += link.client.lower.take()
        link.server.lower.feed(flight)
        link.client.lower.feed(link.server.lower.take())
    await shaking
    assert link.server.lower.paused
    link.server.attach()
    assert link.server.sink.events == []
    await settle()
    assert bytes(link.server.sink.data) == b"early bird"
    assert link.server.sink.events == ["data", "eof"]


@both_versions
async def test_data_behind_the_servers_last_flight(version: ssl.TLSVersion) -> None:
    link = Link(version)
    shaking = asyncio.gather(link.client.tls.handshake(), link.server.tls.handshake())
    spoken = False
    while not shaking.done():
        await asyncio.sleep(0)
        link.server.lower.feed(link.client.lower.take())
        if link.server.tls._ready is None and not spoken:
            link.server.tls.write(b"welcome")
            spoken = True
        link.client.lower.feed(link.server.lower.take())
    await shaking
    link.client.attach()
    await settle()
    assert bytes(link.client.sink.data) == b"welcome"


async def test_what_is_written_right_after_the_handshake_leaves_with_the_last_flight() -> None:
    link = Link()

    async def ask() -> None:
        await link.client.tls.handshake()
        link.client.tls.write(b"question")

    both = asyncio.gather(ask(), link.server.tls.handshake())
    await settle()
    link.server.lower.feed(link.client.lower.take())
    link.client.lower.feed(link.server.lower.take())
    await settle()
    assert len(link.client.lower.writes) == 1
    link.server.lower.feed(link.client.lower.take())
    await both
    link.server.attach()
    await settle()
    assert bytes(link.server.sink.data) == b"question"


async def test_alpn() -> None:
    offered, known = for_client(), for_server()
    offered.set_alpn_protocols(["h2", "http/1.1"])
    known.set_alpn_protocols(["http/1.1"])
    link = Link()
    link.client = Side(offered, server_side=False)
    link.server = Side(known, server_side=True)
    await link.shake_hands()
    assert link.client.tls.alpn == link.server.tls.alpn == "http/1.1"


async def test_no_alpn() -> None:
    link = await Link.up()
    assert link.client.tls.alpn is None


def expired() -> trustme.LeafCert:
    return CA.issue_cert("example.com", not_before=datetime.datetime(2001, 1, 1), not_after=datetime.datetime(2002, 1, 1))


def not_yet_valid() -> trustme.LeafCert:
    return CA.issue_cert("example.com", not_before=datetime.datetime(2090, 1, 1), not_after=datetime.datetime(2091, 1, 1))


@both_versions
@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (CA.issue_cert("example.org"), "Hostname mismatch, certificate is not valid for 'example.com'"),
        (trustme.CA().issue_cert("example.com"), "unable to get local issuer certificate"),
        (expired(), "certificate has expired"),
        (not_yet_valid(), "certificate is not yet valid"),
    ],
    ids=["wrong name", "unknown issuer", "expired", "not yet valid"],
)
async def test_a_certificate_that_is_refused(version: ssl.TLSVersion, certificate: trustme.LeafCert, text: str) -> None:
    ours, theirs = await sockets()
    client = TlsStream(ours, for_client(version=version), "example.com")
    server = TlsStream(theirs, for_server(certificate, version), server_side=True)
    to_client, to_server = await asyncio.gather(client.handshake(), server.handshake(), return_exceptions=True)
    assert isinstance(to_client, ssl.SSLCertVerificationError)
    assert describe(to_client).startswith("certificate refused: ")
    assert text in describe(to_client)
    assert isinstance(to_server, ssl.SSLError)  # the alert came through
    assert "alert" in describe(to_server)
    for stream in (client, server):
        sink = RecordingSink()
        stream.set_sink(sink)
        await wait_lost(sink)


async def test_nothing_in_common() -> None:
    link = Link()
    link.server = Side(for_server(version=ssl.TLSVersion.TLSv1_2), server_side=True)
    with pytest.raises(ssl.SSLError):
        await link.shake_hands()


async def test_a_peer_that_does_not_speak_tls() -> None:
    side = Side(for_client(), server_side=False)
    shaking = asyncio.create_task(side.tls.handshake())
    await asyncio.sleep(0)
    side.lower.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        await shaking
    assert describe(caught.value) == "wrong version number"
    assert side.lower.calls[-1] == "close"


@pytest.mark.parametrize("spoken", [False, True])
async def test_the_peer_ends_during_the_handshake(spoken: bool) -> None:
    link = Link()
    shaking = asyncio.create_task(link.client.tls.handshake())
    await asyncio.sleep(0)
    if spoken:
        serving = asyncio.create_task(link.server.tls.handshake())
        await asyncio.sleep(0)
        link.server.lower.feed(link.client.lower.take())
        link.client.lower.feed(link.server.lower.take()[:-100])
        serving.cancel()
    link.client.lower.feed_eof()
    with pytest.raises(TruncatedError, match="during the TLS handshake"):
        await shaking
    assert link.client.lower.calls[-1] == "abort"


@pytest.mark.parametrize("lost", ["before", "during"])
@pytest.mark.parametrize(
    ("exc", "raised"), [(ConnectionResetError(104, "x"), StreamError), (ProtocolError("odd"), ProtocolError), (None, TruncatedError)]
)
async def test_the_connection_is_lost_during_the_handshake(lost: str, exc: Exception | None, raised: type[Exception]) -> None:
    side = Side(for_client(), server_side=False)
    if lost == "before":
        side.lower.lose(exc)
    shaking = asyncio.create_task(side.tls.handshake())
    await asyncio.sleep(0)
    if lost == "during":
        side.lower.lose(exc)
    with pytest.raises(raised) as caught:
        await shaking
    assert describe(caught.value) in {"Connection reset by peer", "odd", "the connection ended during the TLS handshake"}


async def test_closing_during_the_handshake_ends_it() -> None:
    side = Side(for_client(), server_side=False)
    shaking = asyncio.create_task(side.tls.handshake())
    await asyncio.sleep(0)
    side.tls.close()
    with pytest.raises(StreamError):
        await shaking


async def test_cancelling_the_handshake_resets_and_leaves_nothing() -> None:
    ours, theirs = await sockets()
    client = TlsStream(ours, for_client(), "example.com")
    seen = RecordingSink()
    theirs.set_sink(seen)
    theirs.resume_reading()
    tasks = asyncio.all_tasks()
    shaking = asyncio.create_task(client.handshake())
    await seen.received(1)
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    assert isinstance(await wait_lost(seen), ConnectionResetError)
    sink = RecordingSink()
    client.set_sink(sink)
    assert isinstance(await wait_lost(sink), AbortedError)
    assert asyncio.all_tasks() == tasks


# -- data


@both_versions
async def test_many_records_make_one_delivery(version: ssl.TLSVersion) -> None:
    link = await Link.up(version)
    for i in range(30):
        link.server.tls.write(bytes((i,)) * 5000)
    link.pump()
    assert link.client.sink.deliveries == [150_000]
    assert bytes(link.client.sink.data) == b"".join(bytes((i,)) * 5000 for i in range(30))


async def test_more_than_the_shared_buffer_holds() -> None:
    link = await Link.up()
    data = random.Random(1).randbytes(1_500_000)
    link.server.tls.write(data)
    link.pump()
    await settle()
    assert bytes(link.client.sink.data) == data
    assert link.client.sink.deliveries == [1_500_000]


async def test_data_that_comes_byte_by_byte() -> None:
    link = await Link.up()
    link.client.tls.write(b"hello")
    link.client.tls.write(b"world")
    link.pump(every(1))
    assert bytes(link.server.sink.data) == b"helloworld"
    assert link.server.sink.deliveries == [5, 5]


async def test_writing_borrows() -> None:
    link = await Link.up()
    data = bytearray(b"hello")
    link.client.tls.write(data)
    data[:] = b"xxxxx"
    link.client.tls.write(b"")
    link.client.tls.room[:5] = b"world"
    link.client.tls.commit(5)
    link.pump()
    assert bytes(link.server.sink.data) == b"helloworld"


async def test_what_comes_while_paused_waits() -> None:
    link = await Link.up()
    link.server.tls.write(b"one")
    record = link.server.lower.take()
    link.server.tls.write(b"two")
    more = link.server.lower.take()
    link.client.tls.pause_reading()
    link.client.lower.paused = False  # the delivery that was under way
    link.client.lower.feed(record)
    assert link.client.sink.events == []
    assert link.client.tls._kept == b"one"
    link.client.tls.resume_reading()
    assert link.client.sink.events == []  # never from inside
    link.client.lower.feed(more)  # before the loop comes to what was kept
    await settle()
    assert bytes(link.client.sink.data) == b"onetwo"
    assert link.client.sink.deliveries == [6]


async def test_pausing_between_data_and_end() -> None:
    class Shy(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            link.client.tls.pause_reading()

    link = await Link.up()
    sink = Shy()
    link.client.tls.set_sink(sink)
    link.server.tls.write(b"last words")
    link.server.tls.write_eof()
    link.pump()
    await settle()
    assert sink.events == ["data"]
    link.client.lower.paused = False
    link.client.lower.feed_eof()  # the connection below may end before we are asked to go on
    await settle()
    assert sink.events == ["data"]
    link.client.tls.resume_reading()
    link.client.tls.pause_reading()
    link.client.tls.resume_reading()
    await settle()
    assert sink.events == ["data", "eof"]


async def test_backpressure_goes_through() -> None:
    link = await Link.up()
    link.client.lower.fill()
    link.client.lower.drain()
    assert link.client.sink.events == ["pause", "resume"]
    link.client.lower.calls.clear()
    link.client.tls.pause_reading()
    link.client.tls.resume_reading()
    assert link.client.lower.calls == ["pause_reading", "resume_reading"]


@both_versions
async def test_tls_inside_tls(version: ssl.TLSVersion) -> None:
    link = await Link.up(version)
    inner = TlsStream(link.client.tls, for_client(), "example.com"), TlsStream(link.server.tls, for_server(), server_side=True)
    both = asyncio.gather(*(side.handshake() for side in inner))
    while not both.done():
        await asyncio.sleep(0)
        link.pump(every(1000))
    await both
    sinks = RecordingSink(), RecordingSink()
    for side, sink in zip(inner, sinks, strict=True):
        side.set_sink(sink)
        side.resume_reading()
    data = random.Random(3).randbytes(300_000)
    inner[0].write(data)
    inner[0].write_eof()
    inner[1].write(data[::-1])
    inner[1].write_eof()
    for _ in range(10):
        link.pump(every(20_000))
        await settle()
    assert (bytes(sinks[0].data), bytes(sinks[1].data)) == (data[::-1], data)
    for sink in sinks:
        assert sink.events[-2:] == ["eof", "lost"]
        assert sink.error is None


# -- ends


@both_versions
@pytest.mark.parametrize("first", ["client", "server"])
async def test_half_close(version: ssl.TLSVersion, first: str) -> None:
    link = await Link.up(version)
    one, other = (link.client, link.server) if first == "client" else (link.server, link.client)
    one.tls.write(b"request")
    one.tls.write_eof()
    one.tls.write_eof()
    one.tls.write(b"ignored")
    link.pump()
    assert bytes(other.sink.data) == b"request"
    assert other.sink.events == ["data", "eof"]
    for i in range(3):
        other.tls.write(b"answer %d " % i)
        link.pump()
    other.tls.write_eof()
    link.pump()
    await settle()
    assert bytes(one.sink.data) == b"answer 0 answer 1 answer 2 "
    assert one.sink.events == ["data", "eof", "lost"]
    assert one.sink.error is None
    assert other.sink.events == ["data", "eof", "lost"]
    assert one.lower.calls[-1] == other.lower.calls[-1] == "close"


@both_versions
async def test_ending_with_data_in_our_hands_loses_none_of_it(version: ssl.TLSVersion) -> None:
    link = await Link.up(version)
    link.server.tls.write(b"first ")
    link.server.tls.write(b"second ")
    whole = link.server.lower.take()
    link.server.tls.write(b"third")
    begun = link.server.lower.take()
    link.client.tls.pause_reading()
    link.client.lower.paused = False
    link.client.lower.feed(whole + begun[:-7])
    link.client.tls.write_eof()  # while that is not delivered, and half a record has come
    link.client.tls.resume_reading()
    await settle()
    link.client.lower.feed(begun[-7:])
    link.server.tls.write(b" fourth")
    link.server.tls.write_eof()
    link.pump()
    await settle()
    assert bytes(link.client.sink.data) == b"first second third fourth"
    assert link.client.sink.events == ["data", "eof", "lost"]
    assert link.client.sink.error is None
    assert link.server.sink.events == ["eof", "lost"]


@both_versions
async def test_a_cut_is_not_an_end(version: ssl.TLSVersion) -> None:
    link = await Link.up(version)
    link.server.tls.write(b"half of")
    link.pump()
    link.client.lower.feed_eof()
    await settle()
    assert bytes(link.client.sink.data) == b"half of"
    assert link.client.sink.events == ["data", "lost: TruncatedError"]
    assert link.client.lower.calls[-1] == "abort"


async def test_a_cut_inside_a_record_is_not_an_end() -> None:
    link = await Link.up()
    link.server.tls.write(b"x" * 1000)
    link.server.tls.write_eof()
    link.client.lower.feed(link.server.lower.take()[:-1])
    link.client.lower.feed_eof()
    await settle()
    assert link.client.sink.events == ["data", "lost: TruncatedError"]


async def test_a_loss_without_a_cause_is_not_an_end_either() -> None:
    link = await Link.up()
    link.client.lower.lose(None)
    assert link.client.sink.events == ["lost: TruncatedError"]


async def test_a_loss_tells_its_cause() -> None:
    link = await Link.up()
    cause = ConnectionResetError(104, "reset")
    link.client.lower.lose(cause)
    assert link.client.sink.error is cause


async def test_what_follows_close_notify_is_ignored() -> None:
    link = await Link.up()
    link.server.tls.write_eof()
    link.pump()
    before = link.client.tls._incoming.pending
    for _ in range(100):
        link.client.lower.feed(b"\x17\x03\x03\x00\x10 more, more, more")
    assert link.client.tls._incoming.pending == before
    assert link.client.sink.events == ["eof"]
    link.client.tls.write(b"still open")
    link.pump()
    assert bytes(link.server.sink.data) == b"still open"


async def test_a_damaged_record() -> None:
    link = await Link.up()
    link.server.tls.write(b"good")
    link.pump()
    link.server.tls.write(b"bad")
    record = bytearray(link.server.lower.take())
    record[-1] ^= 1
    link.client.lower.feed(bytes(record))
    link.client.tls.write(b"ignored")
    await settle()
    assert bytes(link.client.sink.data) == b"good"
    assert isinstance(link.client.sink.error, ProtocolError)
    assert str(link.client.sink.error) == "TLS: decryption failed or bad record mac"


async def test_close_says_so() -> None:
    link = await Link.up()
    link.client.tls.write(b"bye")
    link.client.tls.close()
    link.client.tls.close()
    link.client.tls.write(b"ignored")
    link.pump()
    await settle()
    assert bytes(link.server.sink.data) == b"bye"
    assert link.server.sink.events == ["data", "eof"]
    assert link.client.sink.events == ["lost"]
    assert link.client.sink.error is None


async def test_abort_says_nothing() -> None:
    link = await Link.up()
    link.client.tls.abort()
    link.client.tls.write(b"ignored")
    link.client.tls.write_eof()
    assert link.client.lower.take() == b""
    await settle()
    assert link.client.sink.events == ["lost: AbortedError"]


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_ending_inside_a_delivery(end: str) -> None:
    class Rude(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            getattr(link.client.tls, end)()

    link = await Link.up()
    sink = Rude()
    link.client.tls.set_sink(sink)
    link.server.tls.write(b"x")
    link.server.tls.write_eof()
    link.client.lower.feed(link.server.lower.take())
    await settle()
    assert sink.events == ["data", "lost: AbortedError" if end == "abort" else "lost"]


async def test_ending_with_something_kept() -> None:
    link = await Link.up()
    link.client.tls.pause_reading()
    link.client.lower.paused = False
    link.server.tls.write(b"x")
    link.server.tls.write_eof()
    link.client.lower.feed(link.server.lower.take())
    link.client.tls.resume_reading()
    link.client.tls.close()
    await settle()
    assert link.client.sink.events == ["lost"]


# -- over real sockets


async def sockets() -> tuple[SocketStream, SocketStream]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one = socket.socket()
        one.connect(listener.getsockname())
        two, _ = listener.accept()
    return SocketStream(one), SocketStream(two)


async def tls_pair(version: ssl.TLSVersion) -> tuple[TlsStream, TlsStream]:
    ours, theirs = await sockets()
    client = TlsStream(ours, for_client(version=version), "example.com")
    server = TlsStream(theirs, for_server(version=version), server_side=True)
    await asyncio.gather(client.handshake(), server.handshake())
    return client, server


@pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"loop_factory": uvloop.new_event_loop})], ids=["asyncio", "uvloop"])
@both_versions
async def test_five_megabytes_each_way_at_the_same_time(version: ssl.TLSVersion, anyio_backend: Any) -> None:
    class Pausing(RecordingSink):
        """Stops and goes, as a relay to a slower stream would have it."""

        def __init__(self, stream: Stream) -> None:
            super().__init__()
            self._stream = stream

        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            if len(self.deliveries) % 3 == 0:
                self._stream.pause_reading()
                asyncio.get_running_loop().call_soon(self._stream.resume_reading)

    client, server = await tls_pair(version)
    there, back = random.Random(1).randbytes(5_000_000), random.Random(2).randbytes(5_000_000)
    sinks = Pausing(client), Pausing(server)
    for side, sink, data in zip((client, server), sinks, (there, back), strict=True):
        side.set_sink(sink)
        side.resume_reading()
        for start in range(0, len(data), 131_064):
            side.write(data[start : start + 131_064])
        side.write_eof()
    assert [await wait_lost(sink) for sink in sinks] == [None, None]
    assert hashlib.sha256(sinks[0].data).digest() == hashlib.sha256(back).digest()
    assert hashlib.sha256(sinks[1].data).digest() == hashlib.sha256(there).digest()


@both_versions
async def test_a_connection_that_is_cut(version: ssl.TLSVersion) -> None:
    client, server = await tls_pair(version)
    sink, other = RecordingSink(), RecordingSink()
    client.set_sink(sink)
    client.resume_reading()
    server.set_sink(other)
    server.write(b"half of")
    server.lower.write_eof()  # TCP ends, TLS did not
    assert isinstance(await wait_lost(sink), TruncatedError)
    assert bytes(sink.data) == b"half of"
    server.resume_reading()
    assert isinstance(await wait_lost(other), ConnectionResetError)


class Watched(TlsStream):
    """Can be watched disappearing."""


class Holding(RecordingSink):
    """Holds the stream, as a hop does."""

    stream: Stream


@pytest.mark.parametrize("end", ["ends", "abort", "cut", "damage", "refused", "reset in the handshake"])
async def test_nothing_is_left_of_a_lost_stream(end: str) -> None:
    ours, theirs = await sockets()
    client = Watched(ours, for_client(), "example.org" if end == "refused" else "example.com")
    server = TlsStream(theirs, for_server(), server_side=True)
    sink, other = Holding(), RecordingSink()
    gc.collect()
    gc.disable()
    try:
        if end == "reset in the handshake":
            theirs.abort()
        for result in await asyncio.gather(client.handshake(), server.handshake(), return_exceptions=True):
            assert isinstance(result, BaseException) == (end in {"refused", "reset in the handshake"})
        result = None
        sink.stream = client
        client.set_sink(sink)
        server.set_sink(other)
        client.resume_reading()
        server.resume_reading()
        if end == "ends":
            client.write_eof()
            server.write_eof()
        elif end == "abort":
            client.abort()
        elif end == "cut":
            server.lower.write_eof()
        elif end == "damage":
            theirs.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await wait_lost(sink)
        await asyncio.sleep(0.01)
        gone = weakref.ref(client)
        del client, sink, ours
        assert gone() is None
        server.abort()
        await settle()
    finally:
        gc.enable()


# -- contexts and pins


async def shake_as(tls: ClientTls, certificate: trustme.LeafCert = CERTIFICATE, name: str = "example.com") -> TlsStream:
    """Connect as the plugins do, to a server with this certificate."""
    ours, theirs = await sockets()
    client = TlsStream(ours, tls.context([]), tls.server_name or name)
    server = TlsStream(theirs, for_server(certificate), server_side=True)
    try:
        result, _ = await asyncio.gather(client.handshake(), server.handshake(), return_exceptions=True)
        if result is not None:
            raise result
        if tls.pins:
            client.verify_pin(tls.pins)
        return client
    finally:
        client.abort()
        server.abort()


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


async def test_a_ca_of_our_own(ca_file: str) -> None:
    await shake_as(ClientTls(ca=ca_file))


async def test_the_system_does_not_know_our_ca() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_as(ClientTls())


async def test_a_server_name_of_its_own(ca_file: str) -> None:
    await shake_as(ClientTls(ca=ca_file, server_name="example.com"), name="front.example.net")
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_as(ClientTls(ca=ca_file, server_name="other.example"))


async def test_a_name_that_ends_with_a_dot(ca_file: str) -> None:
    await shake_as(ClientTls(ca=ca_file), name="example.com.")


async def test_insecure_accepts_any_certificate() -> None:
    await shake_as(ClientTls(insecure=True), trustme.CA().issue_cert("other.example"))


async def test_the_right_pin(ca_file: str) -> None:
    await shake_as(ClientTls(ca=ca_file, pins=["sha256/AAAA", pin_of(CERTIFICATE)]))


async def test_a_wrong_pin_names_the_right_one(ca_file: str) -> None:
    with pytest.raises(ProtocolError, match="not pinned") as caught:
        await shake_as(ClientTls(ca=ca_file, pins=["sha256/AAAA", "sha256/\u00e9"]))
    assert pin_of(CERTIFICATE) in str(caught.value)


async def test_a_pin_does_not_replace_verification() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_as(ClientTls(pins=[pin_of(CERTIFICATE)]))


async def test_insecure_with_a_pin_accepts_that_key_only() -> None:
    stranger = trustme.CA().issue_cert("other.example")
    await shake_as(ClientTls(insecure=True, pins=[pin_of(stranger)]), stranger)
    with pytest.raises(ProtocolError):
        await shake_as(ClientTls(insecure=True, pins=[pin_of(stranger)]))


async def test_a_pin_without_a_certificate() -> None:
    link = await Link.up()
    with pytest.raises(ProtocolError, match="no key that can be pinned"):
        link.server.tls.verify_pin(["sha256/AAAA"])  # clients show none


@pytest.mark.parametrize("content", [None, "", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_file_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StartError, match=r"cannot read the CA certificates in .*ca\.pem"):
        ClientTls(ca=str(file)).context(["h2"])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(pem.bytes() for pem in CERTIFICATE.cert_chain_pems))
    CERTIFICATE.private_key_pem.write_to_path(key)
    return certificate, key


def test_contexts_are_strict(files: tuple[Path, Path]) -> None:
    client, server = ClientTls().context(["h2"]), server_context(str(files[0]), str(files[1]), ["h2"])
    for context in (client, server):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname


async def test_server_context(files: tuple[Path, Path]) -> None:
    context = for_client()
    context.set_alpn_protocols(["h2"])
    link = Link()
    link.client = Side(context, server_side=False)
    link.server = Side(server_context(str(files[0]), str(files[1]), ["http/1.1", "h2"]), server_side=True)
    await link.shake_hands()
    assert link.client.tls.alpn == "h2"


def test_files_that_are_missing(files: tuple[Path, Path]) -> None:
    certificate, key = map(str, files)
    with pytest.raises(StartError, match=r"cannot read .*cert\.pem-not: No such file"):
        server_context(certificate + "-not", key, [])
    with pytest.raises(StartError, match=r"cannot read .*key\.pem-not: No such file"):
        server_context(certificate, key + "-not", [])


def test_files_that_do_not_fit(files: tuple[Path, Path]) -> None:
    certificate, key = files
    CA.issue_cert("example.com").private_key_pem.write_to_path(key)
    with pytest.raises(StartError, match=r"cannot use the certificate .*cert\.pem with the key .*key\.pem: key values mismatch"):
        server_context(str(certificate), str(key), [])
    key.write_text("not PEM")
    with pytest.raises(StartError, match="cannot use the certificate"):
        server_context(str(certificate), str(key), [])


def test_an_encrypted_key_is_refused(files: tuple[Path, Path]) -> None:
    certificate, key = files
    private = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
    with pytest.raises(StartError, match="cannot use the certificate"):
        server_context(str(certificate), str(key), [])
