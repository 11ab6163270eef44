from __future__ import annotations

import asyncio
from collections import deque

import anyio
import pytest

from outline_lb.api import Buffer, Drops
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream
from outline_lb_websocket.encoder import ClientEncoder
from outline_lb_websocket.frames import BINARY, PING, PONG
from outline_lb_websocket.masking import apply_mask
from outline_lb_websocket.pacing import BORDER, FAR, FAR_RATE, FAR_SAMPLES, MAX_BYTES, MAX_FRAMES, PATIENCE, SAMPLES, SEGMENT, Pacer

pytestmark = pytest.mark.fake_clock
ENCODER = ClientEncoder()


def numbered(count: int, size: int) -> list[bytes]:
    """Frames of so many bytes in all, with their numbers."""
    header = 6 if size < 126 + 6 else 8
    return ENCODER.binary_frames([b"%06d" % number + bytes(size - header - 6) for number in range(count)])


def split(data: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of masked frames."""
    found, pos = [], 0
    while pos < len(data):
        length, start = data[pos + 1] & 0x7F, pos + 2
        if length == 126:
            length, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        mask, start = data[start : start + 4], start + 4
        pos = start + length
        found.append((data[start - (8 if length > 125 else 6)] & 0x0F, apply_mask(data[start:pos], mask)))
    return found


class CuttingServer(FakeStream):
    """Outline's server, as far as its reading goes: it takes what one read of its buffer returns for a packet, if that begins with a frame.

    :param round_trip: seconds to it and back
    """

    def __init__(self, round_trip: float) -> None:
        super().__init__()
        self.pacer: Pacer | None = None
        self.answers = True
        self.arrived: list[bytes] = []
        self.lost = 0
        self.pings = 0
        self.most = 0
        """Bytes of frames with payload that waited at once."""
        self._half = round_trip / 2
        self._loop = asyncio.get_running_loop()
        self._sent: deque[bytes] = deque()
        self._waiting = b""
        self._stalled = False
        self.came = asyncio.Event()

    def write(self, data: Buffer) -> None:
        super().write(data)
        self._sent.append(bytes(data))
        self._loop.call_later(self._half, self._arrive)

    def stall(self, seconds: float) -> None:
        """Read nothing for some time."""
        self._stalled = True
        self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._stalled = False
        self._read()

    def _arrive(self) -> None:
        self._waiting += self._sent.popleft()
        if not self._stalled:
            self._read()

    def _read(self) -> None:
        data, self._waiting = self._waiting, b""
        start = 0
        for opcode, payload in split(data):
            end = start + len(payload) + (8 if len(payload) > 125 else 6)
            if opcode == BINARY:
                self.most = max(self.most, end)
                if start // BORDER != (end - 1) // BORDER:
                    self.lost += 1
                else:
                    self.arrived.append(payload)
                    self.came.set()
            elif opcode == PING:
                self.pings += 1
                if self.answers:
                    assert self.pacer is not None
                    self._loop.call_later(self._half, self.pacer.confirmed, payload)
            start = end


class Rig:
    """A pacer and the server that it writes to."""

    def __init__(self, round_trip: float = 0.0004) -> None:
        self.lower = CuttingServer(round_trip)
        self.drops = Drops()
        self.lower.pacer = self.pacer = Pacer(self.lower, ENCODER, self.drops)

    async def numbers(self, count: int) -> list[int]:
        """Wait until so many arrived, and return their numbers."""
        with anyio.move_on_after(100):
            while len(self.lower.arrived) < count:
                self.lower.came.clear()
                await self.lower.came.wait()
        return [int(payload[:6]) for payload in self.lower.arrived]


@pytest.mark.parametrize(("size", "count"), [(24, 1000), (163, 300), (1263, 100), (BORDER, 20)])
@pytest.mark.parametrize("round_trip", [0.0002, 0.05])
async def test_a_burst_arrives_whole_and_in_order(size: int, count: int, round_trip: float) -> None:
    rig = Rig(round_trip)
    rig.pacer.send(numbered(count, size))
    assert await rig.numbers(count) == list(range(count))
    assert rig.lower.lost == 0
    assert not rig.drops.counts


@pytest.mark.parametrize("seconds", [0.004, 0.3])
async def test_a_near_server_that_stands_still_finds_everything_whole(seconds: float) -> None:
    rig = Rig()
    rig.pacer.send(numbered(90, 1263))
    for _ in range(5):
        await asyncio.sleep(0.003)
        rig.lower.stall(seconds)
    assert await rig.numbers(90) == list(range(90))
    assert rig.lower.lost == 0
    assert rig.lower.most <= BORDER


async def test_a_server_that_is_near_but_busy_at_first_gets_no_more_at_once() -> None:
    rig = Rig()
    rig.lower.stall(3 * FAR)
    rig.pacer.send(numbered(90, 1263))
    for _ in range(SAMPLES):
        await asyncio.sleep(3 * FAR + 0.001)
        rig.lower.stall(FAR / 2)
    assert await rig.numbers(90) == list(range(90))
    assert rig.lower.most <= BORDER


async def test_a_near_server_that_did_not_answer_for_long_is_near_again() -> None:
    rig = Rig()
    rig.lower.stall(2.5 * PATIENCE)
    rig.pacer.send(numbered(9, 1263))
    await asyncio.sleep(3 * PATIENCE)
    rig.pacer.send(numbered(4, 1263))
    await asyncio.sleep(1)
    before, rig.lower.most = len(rig.lower.arrived), 0
    rig.pacer.send(numbered(90, 1263))
    rig.lower.stall(0.005)
    await rig.numbers(before + 90)
    assert rig.lower.most <= BORDER


async def test_a_far_server_gets_half_a_portion_in_each_millisecond() -> None:
    rig, loop = Rig(0.1), asyncio.get_running_loop()
    rig.pacer.send(numbered(4, 2500))
    await rig.numbers(4)  # the round trip is known now
    started = loop.time()
    rig.pacer.send(numbered(90, 1263))
    await rig.numbers(94)
    assert loop.time() - started < 0.1 + 90 * 1263 / FAR_RATE * 1.2
    assert rig.lower.lost == 0


async def test_a_server_of_the_neighbourhood_soon_gets_half_a_portion_in_each_millisecond() -> None:
    rig, loop = Rig(0.005), asyncio.get_running_loop()
    rig.pacer.send(numbered(150, 1263))
    await rig.numbers(3 * (SAMPLES + 5))
    started = loop.time()
    await rig.numbers(150)
    assert loop.time() - started < (150 - 3 * (SAMPLES + 5)) * 1263 / FAR_RATE * 2


async def test_what_meets_on_its_way_to_a_far_server_is_whole_if_it_is_little() -> None:
    rig = Rig(0.1)
    rig.pacer.send(numbered(4, 2500))
    await rig.numbers(4)
    await asyncio.sleep(1)
    rig.pacer.send(numbered(90, 630))
    for _ in range(20):
        await asyncio.sleep(0.0042)
        rig.lower.stall(0.0009)
    assert len(await rig.numbers(94)) == 94
    assert rig.lower.lost == 0
    assert rig.lower.most > 3 * 630, "something met"


async def test_who_sends_slowly_waits_for_nothing() -> None:
    rig = Rig(0.05)
    for frame in numbered(60, 800):
        rig.pacer.send([frame])
        assert split(rig.lower.take())[0] == (BINARY, split(frame)[0][1])
        await asyncio.sleep(0.025)
    assert 0 < rig.lower.pings <= 60 * 800 / (BORDER / 2)
    assert len(await rig.numbers(60)) == 60


async def test_a_packet_now_and_then_needs_no_ping() -> None:
    rig = Rig(0.05)
    for frame in numbered(60, 400):
        rig.pacer.send([frame])
        await asyncio.sleep(0.1)
    assert rig.lower.pings == 0
    assert len(await rig.numbers(60)) == 60


async def test_a_server_that_answers_no_ping_gets_everything_too() -> None:
    rig, loop = Rig(), asyncio.get_running_loop()
    rig.lower.answers = False
    started = loop.time()
    rig.pacer.send(numbered(90, 1263))
    assert await rig.numbers(90) == list(range(90))
    assert loop.time() - started < FAR_SAMPLES * PATIENCE + 0.3


async def test_pongs_to_other_pings_confirm_nothing() -> None:
    rig = Rig()
    rig.lower.answers = False
    rig.pacer.send(numbered(10, 1263))
    for payload in (b"", b"\0\0\0\0", b"\0\0\0\2", b"any", b"\xff" * 4, b"\0\0\0\0\1"):
        rig.pacer.confirmed(payload)
    await asyncio.sleep(PATIENCE / 2)
    assert len(rig.lower.arrived) == 3
    rig.pacer.confirmed(b"\0\0\0\1")
    assert len(await rig.numbers(6)) == 6


async def test_pings_take_their_part_of_the_buffer() -> None:
    rig = Rig()
    rig.lower.stall(0.1)
    rig.pacer.send(numbered(2, 1100))
    rig.pacer.send(numbered(1, BORDER - 2 * 1100))  # would fit, if there were no Ping before it
    assert [opcode for opcode, _ in split(rig.lower.take())] == [BINARY, BINARY, PING, PING]
    assert len(await rig.numbers(3)) == 3
    assert rig.lower.lost == 0


async def test_small_frames_share_a_write_and_large_ones_do_not() -> None:
    rig = Rig()
    rig.pacer.send(numbered(24, 163))
    assert [len(write) for write in rig.lower.writes] == [SEGMENT // 163 * 163] * 3 + [3 * 163 + 10]
    rig = Rig()
    rig.pacer.send(numbered(2, 1000))
    assert [len(write) for write in rig.lower.writes] == [1000, 1000]


async def test_what_waits_is_bounded_in_bytes() -> None:
    rig = Rig()
    rig.pacer.send(numbered(1000, 1263))
    kept = 1000 - rig.drops.counts["more at once than the server takes"]
    assert MAX_BYTES - 2 * 1263 < kept * 1263 <= MAX_BYTES
    assert await rig.numbers(kept) == list(range(kept))


async def test_what_waits_is_bounded_in_packets() -> None:
    rig = Rig()
    rig.pacer.send(numbered(3000, 20))
    assert rig.drops.counts["more at once than the server takes"] == 3000 - MAX_FRAMES
    rig.pacer.send(numbered(10, 20))
    assert len(await rig.numbers(MAX_FRAMES + 10)) == MAX_FRAMES + 10


async def test_nothing_is_written_while_the_stream_is_full() -> None:
    rig = Rig()
    rig.pacer.send(numbered(10, 1263))
    rig.pacer.pause()
    await asyncio.sleep(10 * PATIENCE)
    assert len(rig.lower.arrived) == 3
    rig.pacer.resume()
    assert await rig.numbers(10) == list(range(10))


async def test_the_last_frame_is_never_dropped() -> None:
    rig = Rig()
    rig.pacer.send(numbered(3000, 20))
    rig.pacer.send_last(ENCODER.control(PONG, b"last"))
    await rig.numbers(MAX_FRAMES)
    assert split(rig.lower.take())[-1] == (PONG, b"last")


async def test_after_stop_nothing_is_written() -> None:
    rig = Rig()
    rig.pacer.send(numbered(10, 1263))
    assert rig.pacer.stop() == 7
    await asyncio.sleep(2 * PATIENCE)
    await settle()
    assert len(rig.lower.arrived) == 3
