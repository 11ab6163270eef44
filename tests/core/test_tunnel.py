from __future__ import annotations

import asyncio
import gc
import random
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.drops import Drops
from outline_lb.base.errors import ProtocolError, StreamError, TruncatedError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet, PacketChannel
from outline_lb.base.stream import ROOM, Buffer, Stream
from outline_lb.datapath.cipher import ClientCipher, Opener, PacketCodec, Sealer
from outline_lb.datapath.tunnel import HEADER_WAIT, Tunnel, TunnelChannel, TunnelStream
from outline_lb.testing.clock import ClockLoop, run_on_clock, settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink
from outline_lb.testing.streams import FakeStream, RecordingSink, wait_lost

TARGET = Address("example.com", 443)
FLOW = Flow("test", Network.TCP, None, "", TARGET, 0.0)
HEADER = b"[example.com:443]"
BATCH = 70_000
FLIP = bytes(range(255, -1, -1))


def seal(data: bytes) -> bytes:
    """Return one unit: a length and the bytes turned over; length 0 is damage."""
    return len(data).to_bytes(3, "big") + data.translate(FLIP)


class FakeSealer(Sealer):
    def __init__(self, header: bytes) -> None:
        self._header = header

    @property
    def batch(self) -> int:
        return BATCH

    def seal_into(self, data: Buffer, out: memoryview) -> int:
        assert len(data) <= BATCH
        assert data or self._header
        out[: len(self._header)] = self._header
        used = len(self._header)
        self._header = b""
        if not data:
            return used
        out[used : used + 3] = len(data).to_bytes(3, "big")
        for start in range(0, len(data), 1000):  # in portions, as ciphers do, so that a shared buffer would be damaged
            piece = bytes(data[start : start + 1000]).translate(FLIP)
            out[used + 3 + start : used + 3 + start + len(piece)] = piece
        return used + 3 + len(data)


class FakeOpener(Opener):
    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: Buffer) -> list[bytes]:
        self._kept += data
        pieces = []
        while len(self._kept) >= 3:
            size = int.from_bytes(self._kept[:3], "big")
            if not size:
                raise ProtocolError("damaged")
            if len(self._kept) < 3 + size:
                break
            pieces.append(self._kept[3 : 3 + size].translate(FLIP))
            self._kept = self._kept[3 + size :]
        return pieces

    @property
    def complete(self) -> bool:
        return not self._kept


class FakeCodec(PacketCodec):
    """An address in brackets, and the data turned over."""

    def seal(self, packets: list[Packet]) -> list[bytes]:
        return [f"[{address}]".encode() + data.translate(FLIP) for address, data in packets]

    def open(self, datagrams: list[bytes]) -> list[Packet]:
        opened = []
        for datagram in datagrams:
            address, end, data = datagram[1:].partition(b"]")
            if end:
                opened.append(Packet(Address.parse(address.decode()), data.translate(FLIP)))
        return opened


class FakeCipher(ClientCipher):
    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        return FakeSealer(f"[{target}]".encode()), FakeOpener()

    def packets(self) -> PacketCodec:
        return FakeCodec()


def tunnel() -> Tunnel:
    return Tunnel(FakeCipher(), Drops())


async def opened(first: bytes = b"") -> tuple[Stream, FakeStream, RecordingSink]:
    lower, sink = FakeStream(), RecordingSink()
    stream = tunnel().stream(lower, FLOW)
    stream.write(first)
    stream.set_sink(sink)
    stream.resume_reading()
    return stream, lower, sink


def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop


# -- the header


async def test_the_header_leaves_with_the_first_data() -> None:
    _, lower, _ = await opened(b"GET /")
    assert lower.writes == [HEADER + seal(b"GET /")]


@pytest.mark.fake_clock
async def test_the_header_waits_for_data() -> None:
    stream, lower, _ = await opened()
    clock().autojump = False
    await clock().advance(HEADER_WAIT * 0.9)
    assert lower.writes == []
    stream.write(b"GET /")
    assert lower.writes == [HEADER + seal(b"GET /")]
    await clock().advance(HEADER_WAIT * 2)
    stream.write(b"more")
    assert lower.writes == [HEADER + seal(b"GET /"), seal(b"more")]


@pytest.mark.fake_clock
async def test_the_header_goes_alone_when_no_data_comes() -> None:
    stream, lower, _ = await opened()
    clock().autojump = False
    await clock().advance(HEADER_WAIT)
    assert lower.writes == [HEADER]
    stream.write(b"late")
    await clock().advance(HEADER_WAIT)
    assert lower.writes == [HEADER, seal(b"late")]


async def test_an_end_sends_the_header() -> None:
    stream, lower, _ = await opened()
    stream.write_eof()
    stream.write(b"ignored")
    assert lower.writes == [HEADER]
    assert lower.calls[-1] == "write_eof"


@pytest.mark.fake_clock
@pytest.mark.parametrize("end", ["close", "abort", "lose"])
async def test_a_stream_that_is_over_before_it_began_sends_nothing(end: str) -> None:
    stream, lower, sink = await opened()
    getattr(lower if end == "lose" else stream, end)()
    await settle()
    assert lower.writes == []
    assert sink.lost.is_set()
    assert [handle for handle in clock()._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]


# -- data


async def test_data_is_sealed_and_opened() -> None:
    stream, lower, sink = await opened(b"1")
    lower.take()
    stream.write(bytearray(b"up"))
    stream.write(b"")
    assert lower.writes == [seal(b"up")]
    lower.feed(seal(b"do") + seal(b"wn"))
    assert bytes(sink.data) == b"down"
    assert sink.deliveries == [4]


async def test_a_unit_in_pieces() -> None:
    _, lower, sink = await opened()
    wire = seal(b"hello") + seal(b"world")
    for i in range(len(wire)):
        lower.feed(wire[i : i + 1])
    assert bytes(sink.data) == b"helloworld"
    assert sink.deliveries == [5, 5]  # never empty


@pytest.mark.parametrize("size", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 3 * BATCH + 5])
@pytest.mark.parametrize("by", ["write", "commit"])
async def test_more_than_a_batch(size: int, by: str) -> None:
    stream, lower, _ = await opened(b"1")
    lower.take()
    data = random.Random(size).randbytes(size)
    if by == "write":
        stream.write(data)
    elif size <= ROOM:
        stream.room[:size] = data
        stream.commit(size)
    else:
        return
    pieces = [data[start : start + BATCH] for start in range(0, size, BATCH)]
    assert lower.writes == [seal(piece) for piece in pieces]


async def test_a_tunnel_in_a_tunnel_in_a_tunnel() -> None:
    lower, sink = FakeStream(), RecordingSink()
    stream: Stream = lower
    for number in range(3):
        stream = tunnel().stream(stream, Flow("test", Network.TCP, None, "", Address("hop.example", number + 1), 0.0))
    stream.set_sink(sink)
    stream.resume_reading()
    data = random.Random(1).randbytes(60_000)
    stream.write(data)
    stream.room[: len(data)] = data[::-1]
    stream.commit(len(data))
    wire = lower.take()
    for number in range(3):
        header = f"[hop.example:{number + 1}]".encode()
        assert wire.startswith(header)
        wire = b"".join(FakeOpener().feed(wire[len(header) :]))
    assert wire == data + data[::-1]
    answer = b"answer" * 1000
    for _ in range(3):
        answer = seal(answer)
    lower.feed(answer)
    assert bytes(sink.data) == b"answer" * 1000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_however_it_is_cut_the_same_comes_out(units: list[bytes], cuts: list[int]) -> None:
    async def run() -> None:
        _, lower, sink = await opened()
        wire, index = b"".join(map(seal, units)), 0
        while wire:
            lower.feed(wire[: cuts[index % len(cuts)]])
            wire = wire[cuts[index % len(cuts)] :]
            index += 1
        lower.feed_eof()
        assert bytes(sink.data) == b"".join(units)
        assert sink.events[-1] == "eof"
        lower.lose()

    run_on_clock(run)


async def test_backpressure_goes_through() -> None:
    stream, lower, sink = await opened()
    lower.fill()
    lower.drain()
    assert sink.events == ["pause", "resume"]
    lower.calls.clear()
    stream.pause_reading()
    stream.resume_reading()
    assert lower.calls == ["pause_reading", "resume_reading"]


async def test_addresses_are_not_known() -> None:
    stream, _, _ = await opened()
    assert (stream.local_address, stream.peer_address) == (None, None)
    stream.abort()


# -- ends


async def test_an_end_between_units_is_an_end() -> None:
    stream, lower, sink = await opened(b"request")
    lower.feed(seal(b"answer"))
    lower.feed_eof()
    assert sink.events == ["data", "eof"]
    stream.write(b"more")
    stream.write_eof()
    assert lower.take() == HEADER + seal(b"request") + seal(b"more")
    lower.lose()
    assert sink.events == ["data", "eof", "lost"]


async def test_an_end_inside_a_unit_is_a_cut() -> None:
    _, lower, sink = await opened(b"request")
    lower.feed(seal(b"whole") + seal(b"part")[:-1])
    lower.feed_eof()
    assert sink.events == ["data"]
    assert isinstance(await wait_lost(sink), TruncatedError)
    assert bytes(sink.data) == b"whole"
    assert lower.calls[-1] == "abort"


async def test_damage_is_an_abort() -> None:
    stream, lower, sink = await opened(b"request")
    lower.take()
    lower.feed(bytes(3))
    stream.write(b"ignored")
    lower.feed(seal(b"ignored"))
    error = await wait_lost(sink)
    assert isinstance(error, ProtocolError)
    assert error.__traceback__ is None
    assert sink.events == ["lost: ProtocolError"]
    assert lower.calls[-1] == "abort"
    assert lower.take() == b""


async def test_a_loss_tells_its_cause() -> None:
    _, lower, sink = await opened()
    cause = StreamError("gone")
    lower.lose(cause)
    assert sink.error is cause


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_ending_inside_a_delivery(end: str) -> None:
    class Rude(RecordingSink):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            getattr(stream, end)()

    stream, lower, _ = await opened(b"1")
    sink = Rude()
    stream.set_sink(sink)
    lower.feed(seal(b"x"))
    lower.feed(seal(b"y"))
    lower.feed_eof()
    await settle()
    assert bytes(sink.data) == b"x"
    assert sink.events[1:] == ["lost: AbortedError" if end == "abort" else "lost"]


async def test_close_sends_what_was_written() -> None:
    stream, lower, sink = await opened()
    stream.write(b"bye")
    stream.close()
    stream.write(b"ignored")
    assert lower.take() == HEADER + seal(b"bye")
    assert await wait_lost(sink) is None


class Watched(TunnelStream):
    """Can be watched disappearing."""


@pytest.mark.parametrize("end", ["abort", "damage", "cut"])
async def test_nothing_is_left_of_a_lost_stream(end: str) -> None:
    gc.collect()
    gc.disable()
    try:
        lower = FakeStream()
        stream = Watched(lower, *FakeCipher().stream(TARGET))
        stream.expect_data()
        stream.write(b"x")
        stream.resume_reading()
        stream.set_sink(Watched(FakeStream(), *FakeCipher().stream(TARGET)))
        if end == "abort":
            stream.abort()
        else:
            lower.feed(bytes(3) if end == "damage" else b"\0")
            lower.feed_eof()
        await settle()
        assert stream.over
        gone = weakref.ref(stream)
        del stream, lower
        assert gone() is None
    finally:
        gc.enable()


# -- packets


def associated() -> tuple[PacketChannel[Packet], FakeChannel[bytes], RecordingPacketSink[Packet], Drops]:
    lower, sink, drops = FakeChannel[bytes](Address("192.0.2.1", 443)), RecordingPacketSink[Packet](), Drops(upstream="one")
    channel = Tunnel(FakeCipher(), drops).packets(lower, FLOW)
    channel.set_sink(sink)
    return channel, lower, sink, drops


def sealed(text: str, port: int = 53) -> bytes:
    return f"[192.0.2.9:{port}]".encode() + text.encode().translate(FLIP)


def packet(text: str, port: int = 53) -> Packet:
    return Packet(Address("192.0.2.9", port), text.encode())


async def test_packets_are_sealed_and_opened_in_batches() -> None:
    channel, lower, sink, drops = associated()
    channel.send([packet("one"), packet("two", 54), packet("")])
    channel.send([packet("three")])
    assert lower.batches == [[sealed("one"), sealed("two", 54), sealed("")], [sealed("three")]]
    lower.feed(sealed("eins"), sealed("", 54))
    lower.feed(sealed("zwei"))
    assert sink.batches == [[packet("eins"), packet("", 54)], [packet("zwei")]]
    assert not drops.counts


async def test_damaged_packets_are_counted_and_not_delivered() -> None:
    _, lower, sink, drops = associated()
    with capture_logs() as log:
        lower.feed(b"damaged", sealed("whole"), b"this too")
        lower.feed(b"and this")
    assert sink.batches == [[packet("whole")]], "and no empty batch"
    assert drops.counts == {"cannot be opened: damaged, or sealed with another secret": 3}
    assert [(line["event"], line["upstream"]) for line in log] == [("packets dropped", "one")]


@pytest.mark.parametrize("cause", [None, StreamError("gone")])
async def test_the_end_of_the_channel_below_is_passed_on_once(cause: Exception | None) -> None:
    channel, lower, sink, _ = associated()
    lower.lose(cause)
    assert sink.lost.is_set()
    assert sink.error is cause
    channel.close()
    await settle()


async def test_a_sink_that_comes_after_the_end_is_told() -> None:
    lower, sink, cause = FakeChannel[bytes](), RecordingPacketSink[Packet](), StreamError("gone")
    channel = tunnel().packets(lower, FLOW)
    lower.lose(cause)
    channel.set_sink(sink)
    await settle()
    assert sink.error is cause


async def test_what_the_tunnel_is_asked_the_channel_below_is_asked() -> None:
    channel, lower, sink, _ = associated()
    channel.keep_alive()
    channel.keep_alive(doubt=True)
    assert lower.kept_alive == [False, True]
    assert channel.peer_address == Address("192.0.2.1", 443)
    channel.close()
    assert lower.closed
    assert not sink.lost.is_set(), "only from the loop"
    await settle()
    assert sink.lost.is_set()


class WatchedChannel(TunnelChannel):
    """Can be watched disappearing."""

    __slots__ = ("__weakref__",)


async def test_nothing_is_left_of_a_lost_channel() -> None:
    gc.collect()
    gc.disable()
    try:
        lower = FakeChannel[bytes]()
        channel = WatchedChannel(lower, FakeCodec(), Drops())
        sink = RecordingPacketSink[Packet]()
        sink.channel = channel  # type: ignore[attr-defined]
        channel.set_sink(sink)
        channel.send([packet("x")])
        channel.close()
        await settle()
        gone = weakref.ref(channel)
        del channel, sink
        assert gone() is None
    finally:
        gc.enable()
