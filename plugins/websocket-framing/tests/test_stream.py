from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import ROOM, AbortedError, Buffer, Stream, StreamError, TruncatedError
from outline_lb.testing.clock import ClockLoop, run_on_clock, settle
from outline_lb.testing.streams import FakeStream, RecordingSink
from outline_lb_websocket.encoder import ClientEncoder, Encoder, ServerEncoder
from outline_lb_websocket.frames import CLOSE, PING, PONG, FrameError, Role
from outline_lb_websocket.heartbeat import DEAD
from outline_lb_websocket.masking import apply_mask
from outline_lb_websocket.stream import UNREAD, WebSocketStream

NORMAL_CLOSE: Final = (CLOSE, b"\x03\xe8")
ROLES = pytest.mark.parametrize("role", list(Role))


def frames(data: Buffer, role: Role) -> list[tuple[int, bytes]]:
    """What `role` wrote: opcodes and payloads."""
    found, pos = [], 0
    while pos < len(data):
        first, length, start = data[pos], data[pos + 1], pos + 2
        assert bool(length & 0x80) is (role is Role.CLIENT), "only a client masks"
        length &= 0x7F
        if length > 125:
            size = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
        mask = bytes(4)
        if role is Role.CLIENT:
            mask, start = bytes(data[start : start + 4]), start + 4
        pos = start + length
        assert first & 0x80, "no fragments"
        found.append((first & 0x0F, apply_mask(data[start:pos], mask)))
    return found


class Rig:
    """A stream between a scripted peer and a recording sink, reading."""

    def __init__(self, role: Role, leftover: bytes = b"", defer_eof_timeout: float | None = None, sink: RecordingSink | None = None) -> None:
        self.role = role
        self.lower = FakeStream()
        self.peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
        self.stream = WebSocketStream(self.lower, role, leftover, defer_eof_timeout)
        self.sink = sink or RecordingSink()
        self.stream.set_sink(self.sink)
        self.stream.resume_reading()
        self.lower.calls.clear()

    def frame(self, data: bytes) -> bytes:
        return bytes(self.peer.message(data))

    def close_frame(self, payload: bytes = b"\x03\xe8") -> bytes:
        return self.peer.control(CLOSE, payload)

    def sent(self) -> list[tuple[int, bytes]]:
        return frames(self.lower.take(), self.role)


class CallingBack(RecordingSink):
    """Calls the stream from inside what it hears."""

    def __init__(self, on: str, call: str) -> None:
        super().__init__()
        self.on = on
        self.call = call
        self.stream: Stream | None = None

    def _call(self, event: str) -> None:
        if event == self.on and self.stream is not None:
            getattr(self.stream, self.call)()

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self._call("data")

    def eof_received(self) -> None:
        super().eof_received()
        self._call("eof")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._call("pause")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._call("resume")


# -- reading


@ROLES
async def test_a_wake_up_is_one_delivery(role: Role) -> None:
    rig = Rig(role)
    rig.lower.feed(rig.frame(b"one") + rig.frame(b"two") + rig.peer.control(PING) + rig.frame(b"three"))
    assert rig.sink.data == b"onetwothree"
    assert rig.sink.deliveries == [11]


@ROLES
async def test_frames_may_be_cut_anywhere(role: Role) -> None:
    rig = Rig(role)
    data = os.urandom(300)
    for byte in rig.frame(data[:200]) + rig.frame(data[200:]):
        rig.lower.feed(bytes((byte,)))
    assert rig.sink.data == data


@ROLES
async def test_born_paused_and_leftover_comes_first_after_the_first_resume(role: Role) -> None:
    lower, sink = FakeStream(), RecordingSink()
    peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
    stream = WebSocketStream(lower, role, leftover=bytes(peer.message(b"left")))
    stream.set_sink(sink)
    lower.feed(bytes(peer.message(b"more")))
    await settle()
    assert sink.events == []
    stream.resume_reading()
    assert sink.events == [], "never from inside the call"
    await settle()
    assert sink.data == b"leftmore"


async def test_leftover_waits_while_paused() -> None:
    rig = Rig(Role.CLIENT, leftover=bytes(ServerEncoder().message(b"left")))
    rig.stream.pause_reading()
    await settle()
    assert rig.sink.events == []
    rig.stream.resume_reading()
    rig.stream.resume_reading()
    await settle()
    assert rig.sink.deliveries == [4]


async def test_leftover_may_hold_the_end() -> None:
    rig = Rig(Role.CLIENT, leftover=bytes(ServerEncoder().message(b"bye")) + ServerEncoder().control(CLOSE))
    await settle()
    assert rig.sink.events == ["data", "eof"]


@ROLES
async def test_end_waits_while_paused(role: Role) -> None:
    sink = CallingBack("data", "pause_reading")
    rig = Rig(role, sink=sink)
    sink.stream = rig.stream
    rig.lower.feed(rig.frame(b"data") + rig.close_frame())
    await settle()
    assert sink.events == ["data"]
    rig.stream.resume_reading()
    rig.stream.resume_reading()
    assert sink.events == ["data"], "never from inside the call"
    await settle()
    assert sink.events == ["data", "eof"]


async def test_leftover_is_not_delivered_after_an_abort() -> None:
    rig = Rig(Role.CLIENT, leftover=bytes(ServerEncoder().message(b"left")))
    rig.stream.abort()
    await settle()
    assert rig.sink.events == ["lost: AbortedError"]


# -- writing


@ROLES
@pytest.mark.parametrize("size", [1, 100, 5000, 70_000, ROOM])
async def test_each_write_is_one_binary_message(role: Role, size: int) -> None:
    rig = Rig(role)
    data = os.urandom(size)
    rig.stream.write(data)
    rig.stream.room[:size] = data
    rig.stream.commit(size)
    assert rig.sent() == [(2, data), (2, data)]


@ROLES
async def test_long_writes_become_several_messages(role: Role) -> None:
    rig = Rig(role)
    data = os.urandom(2 * ROOM + 1)
    rig.stream.write(memoryview(bytearray(data)))
    sent = rig.sent()
    assert [len(payload) for _, payload in sent] == [ROOM, ROOM, 1]
    assert b"".join(payload for _, payload in sent) == data


@ROLES
async def test_never_an_empty_message(role: Role) -> None:
    rig = Rig(role)
    rig.stream.write(b"")
    rig.stream.commit(0)
    assert rig.sent() == []


@ROLES
async def test_room_is_as_large_as_promised(role: Role) -> None:
    assert len(Rig(role).stream.room) >= ROOM


@ROLES
async def test_nothing_leaves_after_the_end(role: Role) -> None:
    rig = Rig(role)
    rig.stream.write(b"data")
    rig.stream.write_eof()
    rig.stream.write_eof()
    rig.stream.write(b"late")
    rig.stream.commit(4)
    rig.lower.feed(rig.peer.control(PING))
    rig.lower.fill()
    rig.lower.feed(rig.peer.control(PING))
    rig.lower.drain()
    assert rig.sent() == [(2, b"data"), NORMAL_CLOSE]
    assert "write_eof" not in rig.lower.calls, "the connection below stays whole"


# -- pings


@ROLES
async def test_pings_are_answered_in_order_by_one_write(role: Role) -> None:
    rig = Rig(role)
    rig.lower.feed(rig.peer.control(PING, b"one") + rig.frame(b"data") + rig.peer.control(PING, b"two"))
    assert len(rig.lower.writes) == 1
    assert rig.sent() == [(PONG, b"one"), (PONG, b"two")]
    assert rig.sink.events == ["data"]


@ROLES
async def test_while_full_only_the_last_ping_is_kept(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    for index in range(1000):
        rig.lower.feed(rig.peer.control(PING, b"%d" % index) + rig.peer.control(PING, b"%d again" % index))
    assert rig.sent() == []
    rig.lower.drain()
    assert rig.sent() == [(PONG, b"999 again")]
    assert rig.sink.events == ["pause", "resume"]


# -- ends


@ROLES
async def test_close_frame_is_the_end_of_one_direction_and_is_not_echoed(role: Role) -> None:
    rig = Rig(role)
    rig.lower.feed(rig.frame(b"last") + rig.close_frame() + rig.frame(b"after"))
    rig.lower.feed(rig.frame(b"after"))
    await settle()
    assert rig.sink.events == ["data", "eof"]
    assert rig.sink.data == b"last"
    assert rig.lower.calls == []
    rig.stream.write(b"answer")
    assert rig.sent() == [(2, b"answer")]


@ROLES
@pytest.mark.parametrize("ours_first", [True, False])
async def test_both_closes_end_the_stream(role: Role, ours_first: bool) -> None:
    rig = Rig(role)
    if ours_first:
        rig.stream.write_eof()
        rig.lower.feed(rig.frame(b"answer"))
        assert rig.sink.data == b"answer", "reading goes on"
    rig.lower.feed(rig.close_frame())
    if not ours_first:
        assert rig.lower.calls == []
        rig.stream.write_eof()
    assert rig.sent() == [NORMAL_CLOSE]
    assert rig.lower.calls == ["close"]
    await settle()
    assert rig.sink.events[-2:] == ["eof", "lost"]


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye"])
async def test_client_takes_an_empty_close_and_1000_as_the_end(payload: bytes) -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(rig.close_frame(payload))
    assert rig.sink.events == ["eof"]


@pytest.mark.parametrize("payload", [b"\x03\xeb", b"\x03\xf3out of memory", b"\x0f\xa0"])
async def test_client_takes_any_other_close_as_an_abort(payload: bytes) -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(rig.frame(b"data") + rig.close_frame(payload))
    assert rig.lower.calls == ["abort"]
    await settle()
    assert rig.sink.events == ["data", "lost: StreamError"]
    assert str(int.from_bytes(payload[:2], "big")) in str(rig.sink.error)
    assert payload[2:].decode() in str(rig.sink.error)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9", b"\x03\xf3"])
async def test_server_takes_any_close_as_the_end(payload: bytes) -> None:
    rig = Rig(Role.SERVER)
    rig.lower.feed(rig.close_frame(payload))
    assert rig.sink.events == ["eof"]
    assert rig.lower.calls == []


@pytest.mark.parametrize("ended", [False, True])
async def test_client_aborts_when_the_connection_ends_without_a_close(ended: bool) -> None:
    rig = Rig(Role.CLIENT)
    if ended:
        rig.stream.write_eof()
    rig.lower.feed(rig.frame(b"data"))
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == ["data", "lost: TruncatedError"]


async def test_server_takes_the_end_of_the_connection_as_the_client_s() -> None:
    rig = Rig(Role.SERVER)
    rig.lower.feed(rig.frame(b"data"))
    rig.lower.feed_eof()
    assert rig.sink.events == ["data", "eof"]
    rig.stream.write(b"answer")
    rig.stream.write_eof()
    assert rig.sent() == [(2, b"answer"), NORMAL_CLOSE]
    await settle()
    assert rig.sink.events == ["data", "eof", "lost"]


async def test_server_aborts_when_the_connection_ends_inside_a_message() -> None:
    rig = Rig(Role.SERVER)
    rig.lower.feed(rig.frame(b"data")[:-1])
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == ["data", "lost: TruncatedError"]


async def test_client_loses_its_direction_when_the_connection_ends_after_the_server_s_close() -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(rig.close_frame())
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == ["eof", "lost: TruncatedError"]


async def test_server_may_go_on_when_the_connection_ends_after_the_client_s_close() -> None:
    rig = Rig(Role.SERVER)
    rig.lower.feed(rig.close_frame())
    rig.lower.feed_eof()
    rig.stream.write(b"answer")
    rig.stream.write_eof()
    await settle()
    assert rig.sent() == [(2, b"answer"), NORMAL_CLOSE]
    assert rig.sink.events == ["eof", "lost"]


@ROLES
async def test_loss_with_our_direction_open_is_an_error_even_after_the_peer_s_close(role: Role) -> None:
    rig = Rig(role)
    rig.lower.feed(rig.close_frame())
    rig.lower.lose(ConnectionResetError())
    assert rig.sink.events == ["eof", "lost: ConnectionResetError"]


@ROLES
async def test_loss_before_the_peer_s_close_is_an_error(role: Role) -> None:
    rig = Rig(role)
    rig.stream.write_eof()
    rig.lower.lose(ConnectionResetError())
    assert rig.sink.events == ["lost: ConnectionResetError"]


@ROLES
async def test_loss_after_both_closes_is_clean(role: Role) -> None:
    rig = Rig(role)
    rig.lower.feed(rig.close_frame())
    rig.lower.over = True  # the connection is being lost while we write our Close
    rig.stream.write_eof()
    rig.stream.connection_lost(ConnectionResetError())
    assert rig.sink.events == ["eof", "lost"]


@ROLES
async def test_loss_of_what_had_not_left_yet_is_an_error(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.stream.write_eof()
    rig.lower.feed(rig.close_frame())
    rig.stream.connection_lost(ConnectionResetError())
    assert rig.sink.events == ["pause", "eof", "lost: ConnectionResetError"]


@ROLES
async def test_close_sends_a_close_frame_and_delivers_nothing_more(role: Role) -> None:
    rig = Rig(role)
    rig.stream.write(b"last")
    rig.stream.close()
    rig.stream.close()
    rig.stream.data_received(rig.frame(b"late") + rig.peer.control(PING))
    rig.stream.eof_received()
    assert rig.sent() == [(2, b"last"), NORMAL_CLOSE]
    assert rig.lower.calls == ["close"]
    await settle()
    assert rig.sink.events == ["lost"]


@ROLES
async def test_close_after_the_end_sends_no_second_one(role: Role) -> None:
    rig = Rig(role)
    rig.stream.write_eof()
    rig.stream.close()
    assert rig.sent() == [NORMAL_CLOSE]


@ROLES
async def test_abort_tells_its_cause(role: Role) -> None:
    for cause in (None, StreamError("because")):
        rig = Rig(role)
        rig.stream.abort(cause)
        rig.stream.write(b"late")
        rig.stream.write_eof()
        rig.stream.close()
        await settle()
        assert rig.sent() == []
        assert rig.lower.calls == ["abort"]
        assert rig.sink.error is cause or isinstance(rig.sink.error, AbortedError)


async def test_abort_counts_even_after_both_closes() -> None:
    rig = Rig(Role.CLIENT)
    rig.stream.write_eof()
    rig.lower.feed(rig.close_frame())
    rig.stream.abort()
    await settle()
    assert rig.sink.events == ["eof", "lost: AbortedError"]


async def test_lost_before_it_had_a_sink() -> None:
    lower, sink = FakeStream(), RecordingSink()
    stream = WebSocketStream(lower, Role.CLIENT)
    lower.lose(ConnectionResetError())
    stream.set_sink(sink)
    assert sink.events == []
    await settle()
    assert sink.events == ["lost: ConnectionResetError"]


# -- the end that waits


@pytest.mark.fake_clock
@pytest.mark.parametrize(
    ("seconds", "heard", "role", "end"),
    [
        (1, False, Role.CLIENT, "eof"),
        (UNREAD[0] + 1, False, Role.CLIENT, "lost: TruncatedError"),
        (UNREAD[0] + 1, True, Role.CLIENT, "eof"),
        (UNREAD[0] + 1, False, Role.SERVER, "eof"),
        (UNREAD[1] + 1, False, Role.CLIENT, "eof"),
    ],
)
async def test_a_close_when_outline_servers_give_up_and_before_any_byte_does_not_count_as_the_end(
    seconds: float, heard: bool, role: Role, end: str
) -> None:
    rig = Rig(role)
    if heard:
        rig.lower.feed(rig.frame(b"x"))
    await asyncio.sleep(seconds)
    rig.lower.feed(rig.close_frame())
    await settle()
    assert rig.sink.events[-1] == end


@pytest.mark.fake_clock
async def test_deferred_end_waits_for_the_peer_s_close() -> None:
    rig = Rig(Role.CLIENT, defer_eof_timeout=60)
    rig.stream.write(b"question")
    rig.stream.write_eof()
    rig.stream.write(b"late")
    assert rig.sent() == [(2, b"question")]
    rig.lower.feed(rig.peer.control(PING, b"alive?") + rig.frame(b"answer"))
    assert rig.sent() == [(PONG, b"alive?")]
    rig.lower.feed(rig.close_frame())
    assert rig.sent() == [NORMAL_CLOSE]
    await settle()
    assert rig.sink.events == ["data", "eof", "lost"]


@pytest.mark.fake_clock
async def test_deferred_end_does_not_wait_for_ever() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    rig = Rig(Role.CLIENT, defer_eof_timeout=60)
    rig.stream.write_eof()
    await loop.advance(59.9)
    assert rig.sent() == []
    await loop.advance(0.2)
    assert rig.sent() == [NORMAL_CLOSE]
    rig.lower.feed(rig.frame(b"answer") + rig.close_frame())
    await settle()
    assert rig.sink.events == ["data", "eof", "lost"]
    assert rig.sent() == []


@pytest.mark.fake_clock
async def test_deferred_end_is_not_deferred_after_the_peer_s_close() -> None:
    rig = Rig(Role.CLIENT, defer_eof_timeout=60)
    rig.lower.feed(rig.close_frame())
    rig.stream.write_eof()
    assert rig.sent() == [NORMAL_CLOSE]


@pytest.mark.fake_clock
@pytest.mark.parametrize("end", ["close", "abort", "lost"])
async def test_deferred_end_is_forgotten_once_the_stream_is_over(end: str) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    rig = Rig(Role.CLIENT, defer_eof_timeout=60)
    rig.stream.write_eof()
    if end == "lost":
        rig.lower.lose(ConnectionResetError())
    else:
        getattr(rig.stream, end)()
    expected = [NORMAL_CLOSE] if end == "close" else []
    assert rig.sent() == expected
    await loop.advance(61)
    assert rig.sent() == []


# -- violations


@ROLES
@pytest.mark.parametrize(
    ("header", "payload", "code"),
    [
        (b"\xf2\x00", b"", 1002),
        (b"\x81\x00", b"", 1003),
        (b"\x88\x03", b"\x03\xe8\xff", 1007),
        (b"\x82\x7f" + (1 << 21).to_bytes(8, "big"), b"", 1009),
    ],
)
async def test_peer_is_told_what_it_did_wrong(role: Role, header: bytes, payload: bytes, code: int) -> None:
    rig = Rig(role)
    no_mask = bytes(4)
    bad = header + payload if role is Role.CLIENT else bytes((header[0], header[1] | 0x80)) + header[2:] + no_mask + payload
    rig.lower.feed(rig.frame(b"before"))
    rig.lower.feed(bad)
    assert rig.sent() == [(CLOSE, code.to_bytes(2, "big"))]
    assert rig.lower.calls == ["close"]
    rig.stream.data_received(rig.frame(b"late"))
    rig.stream.write(b"late")
    await settle()
    assert rig.sink.events == ["data", "lost: FrameError"]
    assert isinstance(rig.sink.error, FrameError)
    assert rig.sink.error.code == code


async def test_violation_after_our_close_is_not_answered() -> None:
    rig = Rig(Role.CLIENT)
    rig.stream.write_eof()
    rig.lower.feed(b"\xff\x00")
    await settle()
    assert rig.sent() == [NORMAL_CLOSE]
    assert rig.sink.events == ["lost: FrameError"]


async def test_first_cause_is_the_one_that_is_told() -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(b"\xff\x00")
    rig.stream.abort()
    await settle()
    assert rig.sink.events == ["lost: FrameError"]


async def test_violation_by_a_peer_that_does_not_read_is_not_waited_for() -> None:
    rig = Rig(Role.SERVER)
    rig.lower.fill()
    rig.lower.feed(b"\xff\x00")
    assert rig.lower.calls == ["abort"]
    await settle()
    assert rig.sink.events == ["pause", "lost: FrameError"]


# -- calls that come back


@ROLES
@pytest.mark.parametrize("on", ["data", "eof", "pause", "resume"])
@pytest.mark.parametrize("call", ["abort", "close"])
async def test_over_inside_any_call_means_silence(role: Role, on: str, call: str) -> None:
    sink = CallingBack(on, call)
    rig = Rig(role, sink=sink)
    sink.stream = rig.stream
    rig.lower.fill()
    rig.lower.drain()
    everything = rig.frame(b"data") + rig.peer.control(PING) + rig.close_frame() + rig.frame(b"late")
    rig.stream.data_received(everything)
    rig.stream.data_received(everything)
    rig.stream.pause_writing()
    rig.stream.resume_writing()
    await settle()
    order = {"pause": ["pause"], "resume": ["pause", "resume"], "data": ["pause", "resume", "data"], "eof": ["pause", "resume", "data", "eof"]}
    assert sink.events[:-1] == order[on]
    assert sink.events[-1] in ("lost", "lost: AbortedError")


async def test_closing_inside_a_delivery_is_not_undone_by_what_came_with_it() -> None:
    sink = CallingBack("data", "close")
    rig = Rig(Role.CLIENT, sink=sink)
    sink.stream = rig.stream
    rig.lower.feed(rig.frame(b"data") + rig.close_frame(b"\x03\xf3"))
    await settle()
    assert sink.events == ["data", "lost"]


async def test_abort_while_the_deferred_end_leaves() -> None:
    class FullAtOnce(FakeStream):
        def write(self, data: Buffer) -> None:
            super().write(data)
            self.fill()

    sink, lower = CallingBack("pause", "abort"), FullAtOnce()
    sink.stream = stream = WebSocketStream(lower, Role.CLIENT, defer_eof_timeout=60)
    stream.set_sink(sink)
    stream.resume_reading()
    stream.write_eof()
    lower.feed(ServerEncoder().control(CLOSE))
    await settle()
    assert sink.events == ["pause", "lost: AbortedError"]


@ROLES
async def test_end_inside_the_peer_s_end(role: Role) -> None:
    sink = CallingBack("eof", "write_eof")
    rig = Rig(role, sink=sink)
    sink.stream = rig.stream
    rig.lower.feed(rig.frame(b"data") + rig.close_frame())
    await settle()
    assert rig.sent() == [NORMAL_CLOSE]
    assert sink.events == ["data", "eof", "lost"]


# -- both roles against each other


@settings(max_examples=100, deadline=None)
@given(writes=st.lists(st.tuples(st.sampled_from(list(Role)), st.integers(1, 5000)), max_size=20), cut=st.integers(1, 3000))
def test_both_roles_understand_each_other(writes: list[tuple[Role, int]], cut: int) -> None:
    async def converse() -> None:
        rigs = {role: Rig(role) for role in Role}
        sent = {role: bytearray() for role in Role}

        def carry() -> None:
            for role, other in zip(Role, reversed(Role), strict=True):
                wire = rigs[role].lower.take()
                for start in range(0, len(wire), cut):
                    rigs[other].lower.feed(wire[start : start + cut])

        for index, (role, size) in enumerate(writes):
            data = bytes((index,)) * size
            rigs[role].stream.write(data)
            sent[role] += data
            carry()
        for rig in rigs.values():
            rig.stream.write_eof()
            carry()
        await settle()
        assert rigs[Role.SERVER].sink.data == sent[Role.CLIENT]
        assert rigs[Role.CLIENT].sink.data == sent[Role.SERVER]
        assert all(rig.sink.events[-2:] == ["eof", "lost"] for rig in rigs.values())

    run_on_clock(converse)


# -- keep_alive


PING_FRAME = (PING, b"")


def pings(rig: Rig) -> int:
    return frames(rig.lower.take(), rig.role).count(PING_FRAME)


async def test_a_silent_server_is_pinged_and_then_given_up() -> None:
    rig, sent = Rig(Role.CLIENT), []
    for _ in range(DEAD):
        rig.stream.keep_alive()
        sent.append(pings(rig))
    assert sent == [0, 1, 1, 1, 0]
    assert rig.lower.calls == ["abort"]
    await settle()
    assert rig.sink.events == ["lost: TimeoutError"]


async def test_anything_from_the_server_shows_that_it_is_there() -> None:
    rig = Rig(Role.CLIENT)
    for answer in (rig.peer.control(PONG, b""), rig.frame(b"x")) * 3:
        for _ in range(DEAD - 1):
            rig.stream.keep_alive()
        rig.lower.feed(answer)
    assert rig.lower.calls == []


async def test_after_a_doubt_one_ping_decides() -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(rig.frame(b"x"))
    rig.stream.keep_alive(doubt=True)
    assert pings(rig) == 1
    rig.stream.keep_alive(doubt=True)
    assert pings(rig) == 1, "a second doubt waits again"
    rig.stream.keep_alive()
    assert rig.lower.calls == ["abort"]
    await settle()


async def test_a_server_that_cannot_be_heard_or_asked_is_left_alone() -> None:
    situations: list[Callable[[Rig], None]] = [
        lambda rig: rig.stream.pause_reading(),
        lambda rig: rig.lower.fill(),
        lambda rig: rig.lower.feed(rig.close_frame()),
        lambda rig: rig.stream.write_eof(),
    ]
    for prepare in situations:
        rig = Rig(Role.CLIENT)
        prepare(rig)
        rig.lower.take()
        for _ in range(2 * DEAD):
            rig.stream.keep_alive()
        assert pings(rig) == 0
        assert "abort" not in rig.lower.calls


async def test_a_server_does_not_ping_its_clients() -> None:
    rig = Rig(Role.SERVER)
    for _ in range(2 * DEAD):
        rig.stream.keep_alive()
    assert (rig.lower.take(), rig.lower.calls) == (b"", [])


async def test_the_streams_below_are_asked_too() -> None:
    asked: list[bool] = []

    class Below(FakeStream):
        def keep_alive(self, doubt: bool = False) -> None:
            asked.append(doubt)

    stream = WebSocketStream(Below(), Role.CLIENT)
    stream.keep_alive()
    stream.keep_alive(True)
    assert asked == [False, True]


@pytest.mark.parametrize("code", [1001, 1012, 1013])
async def test_client_takes_some_codes_as_a_wish_to_be_left_alone(code: int) -> None:
    rig = Rig(Role.CLIENT)
    rig.lower.feed(rig.close_frame(code.to_bytes(2, "big")))
    assert rig.lower.calls == ["abort"]
    await settle()
    assert rig.sink.events == ["lost: GoingAwayError"]


async def test_any_sign_of_life_answers_a_ping() -> None:
    for answer in (PONG, PING):
        rig = Rig(Role.CLIENT)
        asking = asyncio.create_task(rig.stream.ping())
        await settle()
        assert frames(rig.lower.take(), Role.CLIENT) == [PING_FRAME]
        assert not asking.done()
        rig.lower.feed(rig.peer.control(answer, b""))
        await settle()
        assert asking.done()
        await asking


async def test_a_ping_fails_with_what_ends_the_stream() -> None:
    for end, error in ((ConnectionResetError("x"), ConnectionResetError), (None, TruncatedError)):
        rig = Rig(Role.CLIENT)
        asking = asyncio.create_task(rig.stream.ping())
        await settle()
        rig.lower.lose(end)
        with pytest.raises(error):
            await asking


async def test_a_ping_that_nobody_waits_for_any_more_harms_nothing() -> None:
    rig = Rig(Role.CLIENT)
    asking = asyncio.create_task(rig.stream.ping())
    await settle()
    asking.cancel()
    await settle()
    rig.lower.feed(rig.peer.control(PONG, b"") + rig.frame(b"data"))
    assert rig.sink.data == b"data"
