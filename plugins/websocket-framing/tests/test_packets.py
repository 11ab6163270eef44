from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import Drops, GoingAwayError, PacketChannel, ProtocolError, StreamError, TruncatedError
from outline_lb.testing.clock import run_on_clock, settle
from outline_lb.testing.packets import RecordingPacketSink
from outline_lb.testing.streams import FakeStream
from outline_lb_websocket.encoder import ClientEncoder, Encoder, ServerEncoder
from outline_lb_websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, UNSUPPORTED_DATA, FrameError, Role
from outline_lb_websocket.heartbeat import DEAD
from outline_lb_websocket.masking import apply_mask
from outline_lb_websocket.packets import CLOSE_TIMEOUT, CUT_PACKET_MESSAGE, MAX_PACKET_MESSAGE, WebSocketPackets

NORMAL_CLOSE = (CLOSE, b"\x03\xe8")
ROLES = pytest.mark.parametrize("role", list(Role))


class Calling(RecordingPacketSink[bytes]):
    """Calls the channel from inside a delivery.

    :param channel: the channel
    :param call: what
    """

    def __init__(self, channel: PacketChannel[bytes], call: str) -> None:
        super().__init__()
        self.channel = channel
        self.call = call

    def packets_received(self, packets: list[bytes]) -> None:
        super().packets_received(packets)
        if self.call == "send":
            self.channel.send(packets)
        else:
            self.channel.close()


class Rig:
    """A channel between a scripted peer and a recording sink."""

    def __init__(self, role: Role, leftover: bytes = b"", max_message: int = MAX_PACKET_MESSAGE) -> None:
        self.role = role
        self.lower = FakeStream()
        self.drops = Drops()
        self.peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
        self.channel = WebSocketPackets(self.lower, role, self.drops, leftover, max_message)
        self.sink: RecordingPacketSink[bytes] = RecordingPacketSink()
        self.channel.set_sink(self.sink)
        self.lower.calls.clear()

    def listen(self, call: str) -> None:
        """Have a sink that calls back."""
        self.sink = Calling(self.channel, call)
        self.channel.set_sink(self.sink)
        self.lower.calls.clear()

    def feed(self, *frames: tuple[int, bytes]) -> None:
        """The peer sends frames in one piece."""
        self.lower.feed(b"".join(self.peer.frame(opcode, payload) for opcode, payload in frames))

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames that were written since the last call."""
        data, found, pos = self.lower.take(), [], 0
        while pos < len(data):
            first, length, start = data[pos], data[pos + 1], pos + 2
            assert bool(length & 0x80) is (self.role is Role.CLIENT), "only a client masks"
            assert first & 0xF0 == 0x80, "no fragments, no extensions"
            length &= 0x7F
            if length > 125:
                size = 2 if length == 126 else 8
                length, start = int.from_bytes(data[start : start + size], "big"), start + size
            mask = bytes(4)
            if self.role is Role.CLIENT:
                mask, start = data[start : start + 4], start + 4
            pos = start + length
            found.append((first & 0x0F, apply_mask(data[start:pos], mask)))
        return found


# -- packets


@ROLES
async def test_a_batch_is_a_frame_for_each_packet_in_one_write(role: Role) -> None:
    rig = Rig(role)
    packets = [b"x", bytes(125), bytes(126), bytes(4088), bytes(4089), bytes(65_536)]
    rig.channel.send(packets)
    assert len(rig.lower.writes) == 1
    assert rig.sent() == [(BINARY, packet) for packet in packets]


async def test_each_frame_of_a_client_has_a_mask_of_its_own() -> None:
    rig = Rig(Role.CLIENT)
    rig.channel.send([bytes(10)] * 100)
    written = rig.lower.take()
    assert len({written[pos + 2 : pos + 6] for pos in range(0, len(written), 16)}) == 100


@ROLES
async def test_a_wake_up_is_one_delivery(role: Role) -> None:
    rig = Rig(role)
    rig.feed((BINARY, b"one"), (PING, b""), (PONG, b"any"), (BINARY, b"two"))
    assert rig.sink.batches == [[b"one", b"two"]]


@ROLES
@settings(max_examples=50)
@given(packets=st.lists(st.binary(min_size=1, max_size=5000), min_size=1, max_size=10), seed=st.integers())
def test_any_fragments_in_any_pieces_with_any_control_frames_between_give_the_packets(role: Role, packets: list[bytes], seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        rig = Rig(role)
        data, pings = b"", 0
        for packet in packets:
            cut = chance.randint(0, len(packet))
            parts = [(BINARY, packet[:cut], False), (CONTINUATION, packet[cut:], True)] if chance.random() < 0.5 else [(BINARY, packet, True)]
            for opcode, part, final in parts:
                frame = bytearray(rig.peer.frame(opcode, part))
                frame[0] = opcode | (0x80 if final else 0)
                data += frame
                if chance.random() < 0.3:
                    data += rig.peer.control(PING, b"%d" % pings)
                    pings += 1
        while data:
            size = chance.randint(1, min(len(data), 3000))
            rig.lower.feed(data[:size])
            data = data[size:]
        assert rig.sink.packets == packets
        assert rig.sent() == [(PONG, b"%d" % number) for number in range(pings)]

    run_on_clock(run)


@ROLES
async def test_what_came_behind_the_handshake_comes_first_and_not_before_there_is_a_sink(role: Role) -> None:
    peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
    lower, sink = FakeStream(), RecordingPacketSink[bytes]()
    channel = WebSocketPackets(lower, role, Drops(), leftover=peer.frame(BINARY, b"left"))
    lower.feed(peer.frame(BINARY, b"more"))
    await settle()
    channel.set_sink(sink)
    assert sink.packets == [], "never from inside the call"
    await settle()
    assert sink.packets == [b"left", b"more"]


@ROLES
async def test_an_empty_packet_is_never_sent(role: Role) -> None:
    rig = Rig(role)
    rig.channel.send([b"one", b"", b"two", b""])
    rig.channel.send([b""])
    assert rig.sent() == [(BINARY, b"one"), (BINARY, b"two")]
    assert rig.drops.counts == {"empty": 3}


async def test_a_client_ignores_an_empty_message() -> None:
    rig = Rig(Role.CLIENT)
    rig.feed((BINARY, b"one"), (BINARY, b""), (BINARY, b"two"))
    rig.feed((BINARY, b""))
    assert rig.sink.batches == [[b"one", b"two"]]
    assert rig.sent() == []


@pytest.mark.parametrize("before", [[], [b"one", b"two"]])
async def test_an_empty_message_ends_the_association_at_a_server(before: list[bytes]) -> None:
    rig = Rig(Role.SERVER)
    rig.feed(*[(BINARY, packet) for packet in before], (BINARY, b""), (BINARY, b"late"))
    assert rig.sink.packets == before
    assert rig.sent() == [NORMAL_CLOSE]
    rig.feed((CLOSE, b"\x03\xe8"))
    await settle()
    assert rig.sink.lost.is_set()
    assert rig.sink.error is None


async def test_what_is_larger_than_the_server_takes_is_dropped_and_the_log_says_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE)
    rig.channel.send([b"before", bytes(4089), b"", bytes(5000), b"after"])
    assert rig.sent() == [(BINARY, b"before"), (BINARY, b"after")]
    assert rig.drops.counts == {"too large": 2, "empty": 1}
    assert "packet_max_message" in capfd.readouterr().out


async def test_the_largest_message_that_the_server_takes_goes() -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE)
    rig.channel.send([bytes(4088)])
    assert len(rig.lower.written) == 4096 + 10
    assert [payload for opcode, payload in rig.sent() if opcode == BINARY] == [bytes(4088)]


@pytest.mark.fake_clock
async def test_to_a_server_that_cuts_a_burst_goes_in_portions_each_after_the_last_one_was_read() -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE)
    packets = [b"%03d" % number + bytes(1252) for number in range(10)]
    rig.channel.send(packets)
    for start in range(0, 9, 3):
        *portion, (opcode, payload) = rig.sent()
        assert portion == [(BINARY, packet) for packet in packets[start : start + 3]]
        assert opcode == PING
        assert rig.sent() == []
        rig.feed((PONG, payload))
    assert rig.sent() == [(BINARY, packets[9])]


async def test_a_burst_to_any_other_server_goes_at_once() -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE + 1)
    rig.channel.send([bytes(1255)] * 300)
    assert len(rig.lower.writes) == 1
    assert rig.sent() == [(BINARY, bytes(1255))] * 300


@ROLES
async def test_what_does_not_fit_into_the_connection_is_dropped(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    for _ in range(1000):
        rig.channel.send([bytes(1000)] * 10)
        rig.feed((PING, b"any"))
    assert rig.sent() == []
    assert rig.drops.counts == {"the connection is full": 10_000}
    rig.lower.drain()
    rig.channel.send([b"again"])
    assert rig.sent() == [(PONG, b"any"), (BINARY, b"again")]


@ROLES
async def test_an_answer_may_be_sent_from_inside_the_delivery(role: Role) -> None:
    rig = Rig(role)
    rig.listen("send")
    rig.feed((BINARY, b"one"), (PING, b""), (CLOSE, b""))
    assert rig.sent() == [(PONG, b""), (BINARY, b"one"), (CLOSE, b"")]


# -- the end


@ROLES
async def test_our_close_waits_for_that_of_the_peer_and_then_ends_the_connection(role: Role) -> None:
    rig = Rig(role)
    rig.channel.send([b"last"])
    rig.channel.close()
    rig.channel.close()
    rig.channel.send([b"late"])
    rig.feed((BINARY, b"on the way"), (PING, b""))
    assert rig.sent() == [(BINARY, b"last"), NORMAL_CLOSE]
    assert rig.lower.calls == ["resume_reading"]
    rig.feed((CLOSE, b"\x03\xe9"))
    assert rig.lower.calls == ["resume_reading", "close"]
    await settle()
    assert rig.sent() == []
    assert rig.sink.packets == []
    assert rig.sink.error is None
    assert rig.sink.lost.is_set()


@pytest.mark.fake_clock
@ROLES
async def test_our_close_waits_a_bounded_time_and_never_resets(role: Role) -> None:
    rig, started = Rig(role), asyncio.get_running_loop().time()
    rig.channel.close()
    await rig.sink.lost.wait()
    assert asyncio.get_running_loop().time() - started == pytest.approx(CLOSE_TIMEOUT)
    assert rig.sink.error is None
    assert rig.lower.calls == ["resume_reading", "close"]


@pytest.mark.fake_clock
@ROLES
async def test_who_does_not_read_is_cut_off(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.channel.close()
    await rig.sink.lost.wait()
    assert rig.lower.calls[-1] == "abort"
    assert rig.sink.error is None


async def test_a_channel_that_nobody_listens_to_closes_politely_too() -> None:
    lower = FakeStream()
    channel = WebSocketPackets(lower, Role.CLIENT, Drops())
    channel.close()
    assert not lower.paused
    lower.feed(ServerEncoder().control(CLOSE))
    assert lower.calls[-1] == "close"


@pytest.mark.fake_clock
async def test_close_sends_what_waits_for_its_turn() -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE)
    rig.channel.send([bytes(1255)] * 7)
    rig.channel.close()
    sent = []
    while (frames := rig.sent())[-1] != NORMAL_CLOSE:
        sent += frames[:-1]
        rig.feed((PONG, frames[-1][1]))
    assert sent + frames == [(BINARY, bytes(1255))] * 7 + [NORMAL_CLOSE]
    assert "close" not in rig.lower.calls


@pytest.mark.fake_clock
async def test_close_does_not_wait_for_ever_for_what_waits_for_its_turn() -> None:
    rig = Rig(Role.CLIENT, max_message=CUT_PACKET_MESSAGE)
    rig.channel.send([bytes(1255)] * 300)
    rig.lower.fill()
    rig.channel.close()
    await rig.sink.lost.wait()
    assert rig.drops.counts == {"closed before the server had taken it": 297}
    assert rig.sent()[-1] == NORMAL_CLOSE


@ROLES
@pytest.mark.parametrize(("said", "answered"), [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x03\xe8bye", b"\x03\xe8")])
async def test_a_close_is_answered_and_is_an_end_without_a_cause(role: Role, said: bytes, answered: bytes) -> None:
    rig = Rig(role)
    rig.feed((BINARY, b"last"), (CLOSE, said), (BINARY, b"late"))
    assert rig.sink.packets == [b"last"]
    assert rig.sink.lost.is_set(), "nobody waits until the connection is over"
    assert rig.sink.error is None
    assert rig.sent() == [(CLOSE, answered)]
    assert rig.lower.calls == ["close"]
    rig.channel.send([b"late"])
    rig.channel.keep_alive(doubt=True)
    rig.channel.close()
    await settle()
    assert rig.sent() == []


@pytest.mark.parametrize(("code", "kind"), [(1001, GoingAwayError), (1012, GoingAwayError), (1013, GoingAwayError), (1008, StreamError)])
async def test_other_closes_of_a_server_have_a_cause(code: int, kind: type[Exception]) -> None:
    rig = Rig(Role.CLIENT)
    rig.feed((CLOSE, code.to_bytes(2, "big") + b"why"))
    assert type(rig.sink.error) is kind
    assert f"{code} ('why')" in str(rig.sink.error)
    assert rig.sent() == [(CLOSE, code.to_bytes(2, "big"))]
    assert rig.lower.calls == ["close"]


@pytest.mark.parametrize("code", [1001, 1008, 4000])
async def test_any_close_of_a_client_is_its_end(code: int) -> None:
    rig = Rig(Role.SERVER)
    rig.feed((CLOSE, code.to_bytes(2, "big")))
    assert rig.sink.lost.is_set()
    assert rig.sink.error is None


@ROLES
@pytest.mark.parametrize("inside", [False, True])
async def test_an_end_without_a_close(role: Role, inside: bool) -> None:
    rig = Rig(role)
    if inside:
        rig.lower.feed(rig.peer.frame(BINARY, b"cut")[:5])
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.lost.is_set()
    assert rig.lower.calls == ["close"], "no reset"
    assert rig.sink.error is None if role is Role.SERVER else isinstance(rig.sink.error, TruncatedError)


@ROLES
async def test_a_reset(role: Role) -> None:
    rig = Rig(role)
    rig.lower.lose(reset := ConnectionResetError())
    assert rig.sink.lost.is_set()
    assert rig.sink.error is (None if role is Role.SERVER else reset)


@ROLES
async def test_after_our_close_however_the_connection_ends_is_no_cause(role: Role) -> None:
    for end in ("eof", "reset", "nonsense"):
        rig = Rig(role)
        rig.channel.close()
        if end == "eof":
            rig.lower.feed_eof()
        elif end == "reset":
            rig.lower.lose(ConnectionResetError())
        else:
            rig.feed((3, b""))
        await settle()
        assert rig.sink.lost.is_set()
        assert rig.sink.error is None


@ROLES
@pytest.mark.parametrize(("opcode", "payload", "code"), [(TEXT, b"text", UNSUPPORTED_DATA), (BINARY, bytes(70_000), 1009), (3, b"", 1002)])
async def test_what_the_peer_did_wrong_is_told_to_it_after_the_packets_before(role: Role, opcode: int, payload: bytes, code: int) -> None:
    rig = Rig(role)
    rig.feed((BINARY, b"good"), (opcode, payload), (BINARY, b"late"))
    assert rig.sent() == [(CLOSE, code.to_bytes(2, "big"))]
    assert rig.lower.calls == ["close"], "no reset"
    assert rig.sink.packets == [b"good"]
    assert isinstance(rig.sink.error, FrameError)
    assert isinstance(rig.sink.error, ProtocolError)


@ROLES
async def test_closing_from_inside_a_delivery(role: Role) -> None:
    rig = Rig(role)
    rig.listen("close")
    rig.feed((BINARY, b"one"), (CLOSE, b""))
    assert rig.sent() == [NORMAL_CLOSE]
    assert not rig.sink.lost.is_set()
    await settle()
    assert rig.sink.error is None
    assert rig.sink.lost.is_set()


@ROLES
async def test_the_next_sink_hears_of_the_end_too(role: Role) -> None:
    rig, late = Rig(role), RecordingPacketSink[bytes]()
    rig.feed((CLOSE, b""))
    rig.channel.set_sink(late)
    assert not late.lost.is_set()
    await settle()
    assert late.lost.is_set()
    assert late.error is None


@pytest.mark.fake_clock
@ROLES
async def test_no_timer_is_left_behind(role: Role) -> None:
    rig = Rig(role, max_message=CUT_PACKET_MESSAGE)
    rig.channel.send([bytes(1255)] * 10)
    rig.channel.close()
    rig.lower.lose(ConnectionResetError())
    rig.sent()
    await asyncio.sleep(10 * CLOSE_TIMEOUT)
    assert rig.sent() == []
    assert rig.lower.calls == ["resume_reading"]


# -- keep_alive


@pytest.mark.parametrize("max_message", [CUT_PACKET_MESSAGE, MAX_PACKET_MESSAGE])
async def test_a_silent_server_is_pinged_and_then_given_up(max_message: int) -> None:
    rig, sent = Rig(Role.CLIENT, max_message=max_message), []
    for _ in range(DEAD):
        rig.channel.keep_alive()
        sent.append(len(rig.sent()))
    assert sent == [0, 1, 1, 1, 0]
    await settle()
    assert isinstance(rig.sink.error, TimeoutError)


async def test_after_a_doubt_one_ping_decides() -> None:
    rig = Rig(Role.CLIENT)
    rig.channel.keep_alive(doubt=True)
    assert rig.sent() == [(PING, b"")]
    rig.feed((PONG, b""))
    for _ in range(DEAD - 1):
        rig.channel.keep_alive()
    rig.channel.keep_alive(doubt=True)
    assert not rig.lower.calls
    rig.channel.keep_alive()
    await settle()
    assert isinstance(rig.sink.error, TimeoutError)


async def test_a_server_does_not_ping_its_clients() -> None:
    rig = Rig(Role.SERVER)
    for _ in range(2 * DEAD):
        rig.channel.keep_alive()
    assert rig.sent() == []
    assert not rig.lower.calls


@ROLES
async def test_the_connection_below_is_asked_too(role: Role) -> None:
    class Asked(FakeStream):
        def keep_alive(self, doubt: bool = False) -> None:
            self.calls.append(f"keep_alive {doubt}")

    lower = Asked()
    channel = WebSocketPackets(lower, role, Drops())
    channel.keep_alive()
    channel.keep_alive(True)
    assert lower.calls == ["keep_alive False", "keep_alive True"]


async def test_any_sign_of_life_answers_a_ping() -> None:
    for frame in ((PONG, b""), (BINARY, b"data"), (PING, b"")):
        rig = Rig(Role.CLIENT)
        asking = asyncio.create_task(rig.channel.ping())
        await settle()
        assert rig.sent() == [(PING, b"")]
        assert not asking.done()
        rig.feed(frame)
        await asking


async def test_a_ping_fails_with_what_ends_the_channel() -> None:
    for reset in (False, True):
        rig = Rig(Role.CLIENT)
        asking = asyncio.create_task(rig.channel.ping())
        await settle()
        if reset:
            rig.lower.lose(ConnectionResetError())
        else:
            rig.lower.feed_eof()
        with pytest.raises(ConnectionResetError if reset else TruncatedError):
            await asking
