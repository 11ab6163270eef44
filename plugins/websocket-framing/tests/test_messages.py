from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from outline_lb.api import AbortedError, StreamError, TruncatedError
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream
from outline_lb_websocket.encoder import ClientEncoder, Encoder, ServerEncoder
from outline_lb_websocket.frames import BINARY, CLOSE, MESSAGE_TOO_BIG, PING, PONG, PROTOCOL_ERROR, TEXT, Close, FrameError, Role
from outline_lb_websocket.masking import apply_mask
from outline_lb_websocket.message_decoder import Message
from outline_lb_websocket.messages import CLOSE_TIMEOUT, MessageSink, WebSocketMessages

NORMAL_CLOSE: Final = (CLOSE, b"\x03\xe8")
ROLES = pytest.mark.parametrize("role", list(Role))


class Recorder(MessageSink):
    """Keeps what it hears; calls back from inside if a test wants it to.

    :param reactions: what to do at an event, by its name
    """

    def __init__(self, **reactions: Callable[[], None]) -> None:
        self.reactions = reactions
        self.events: list[object] = []
        self.error: Exception | None = None

    def _heard(self, name: str, event: object) -> None:
        assert not any(str(heard).startswith("lost") for heard in self.events), "nothing after the end"
        self.events.append(event)
        self.reactions.get(name, lambda: None)()

    def messages_received(self, messages: list[Message]) -> None:
        assert messages
        self._heard("messages", messages)

    def close_received(self, close: Close) -> None:
        self._heard("close", close)

    def pause_writing(self) -> None:
        self._heard("pause", "pause")

    def resume_writing(self) -> None:
        self._heard("resume", "resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self._heard("lost", "lost" if exc is None else f"lost: {type(exc).__name__}")


class Rig:
    """A WebSocket between a scripted peer and a recording sink, reading."""

    def __init__(self, role: Role, leftover: bytes = b"", max_message: int = 1000) -> None:
        self.role = role
        self.lower = FakeStream()
        self.peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
        self.websocket = WebSocketMessages(self.lower, role, leftover, max_message)
        self.sink = Recorder()
        self.websocket.set_sink(self.sink)
        self.websocket.resume_reading()
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
            assert first & 0x80, "no fragments"
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


# -- messages


@ROLES
async def test_a_wake_up_is_one_delivery(role: Role) -> None:
    rig = Rig(role)
    rig.feed((TEXT, b"one"), (BINARY, b"two"), (PING, b""), (BINARY, b""))
    assert rig.sink.events == [[Message(b"one", text=True), Message(b"two"), Message(b"")]]


@ROLES
async def test_a_batch_is_one_write(role: Role) -> None:
    rig = Rig(role)
    rig.websocket.send([Message(b"one", text=True), Message(b""), Message(bytes(70_000))])
    assert len(rig.lower.writes) == 1
    assert rig.sent() == [(TEXT, b"one"), (BINARY, b""), (BINARY, bytes(70_000))]
    rig.websocket.send([])
    assert rig.sent() == []


@ROLES
async def test_born_paused_and_leftover_comes_first_after_the_first_resume(role: Role) -> None:
    peer: Encoder = ServerEncoder() if role is Role.CLIENT else ClientEncoder()
    lower, sink = FakeStream(), Recorder()
    websocket = WebSocketMessages(lower, role, leftover=peer.frame(BINARY, b"left"))
    websocket.set_sink(sink)
    lower.feed(peer.frame(BINARY, b"more"))
    await settle()
    assert sink.events == []
    websocket.resume_reading()
    websocket.resume_reading()
    assert sink.events == [], "never from inside the call"
    await settle()
    assert [message for messages in sink.events for message in messages] == [Message(b"left"), Message(b"more")]  # type: ignore[attr-defined]


async def test_leftover_waits_while_paused() -> None:
    rig = Rig(Role.CLIENT, leftover=ServerEncoder().frame(BINARY, b"left"))
    rig.websocket.pause_reading()
    await settle()
    assert rig.sink.events == []
    rig.websocket.resume_reading()
    await settle()
    assert rig.sink.events == [[Message(b"left")]]


@ROLES
async def test_backpressure_travels_unchanged(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.lower.drain()
    rig.websocket.pause_reading()
    rig.websocket.resume_reading()
    assert rig.sink.events == ["pause", "resume"]
    assert rig.lower.calls == ["pause_reading", "resume_reading"]


async def test_addresses_are_those_of_the_connection() -> None:
    rig = Rig(Role.CLIENT)
    assert rig.websocket.local_address == rig.lower.local_address
    assert rig.websocket.peer_address == rig.lower.peer_address


# -- pings


@ROLES
async def test_pings_are_answered_in_order_by_one_write_before_the_messages_are(role: Role) -> None:
    rig = Rig(role)
    rig.sink.reactions["messages"] = lambda: rig.websocket.send([Message(b"echo")])
    rig.feed((PING, b"one"), (BINARY, b"data"), (PING, b"two"))
    assert len(rig.lower.writes) == 2
    assert rig.sent() == [(PONG, b"one"), (PONG, b"two"), (BINARY, b"echo")]


@ROLES
async def test_while_full_only_the_last_ping_is_kept(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    for index in range(1000):
        rig.feed((PING, b"%d" % index), (PING, b"%d again" % index))
    assert rig.sent() == []
    rig.lower.drain()
    assert rig.sent() == [(PONG, b"999 again")]
    rig.lower.drain()
    assert rig.sent() == []


# -- the closing handshake


@ROLES
@pytest.mark.parametrize(("said", "answered"), [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x03\xe9bye", b"\x03\xe9"), (b"\x0f\xa0why", b"\x0f\xa0")])
async def test_a_close_is_answered_at_once_with_its_code(role: Role, said: bytes, answered: bytes) -> None:
    rig = Rig(role)
    rig.sink.reactions["messages"] = lambda: rig.websocket.send([Message(b"echo")])
    rig.feed((BINARY, b"last"), (CLOSE, said), (BINARY, b"late"), (PING, b"late"))
    assert rig.sent() == [(BINARY, b"echo"), (CLOSE, answered)]
    assert rig.sink.events == [[Message(b"last")], Close.parse(said)]
    rig.websocket.send([Message(b"late")])
    rig.websocket.close()
    assert rig.sent() == []


async def test_a_server_ends_the_connection_when_both_have_closed() -> None:
    rig = Rig(Role.SERVER)
    rig.feed((CLOSE, b""))
    assert rig.lower.calls == ["close"]
    await settle()
    assert rig.sink.events == [Close(None), "lost"]


async def test_a_client_waits_for_the_server_to_end_the_connection() -> None:
    rig = Rig(Role.CLIENT)
    rig.feed((CLOSE, b"\x03\xe8"))
    assert "close" not in rig.lower.calls
    rig.lower.feed_eof()
    assert rig.lower.calls[-1] == "close"
    await settle()
    assert rig.sink.events == [Close(1000), "lost"]


@pytest.mark.fake_clock
@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_client_waits_a_bounded_time_for_the_server_to_end_the_connection(ours_first: bool) -> None:
    rig = Rig(Role.CLIENT)
    started = asyncio.get_running_loop().time()
    if ours_first:
        rig.websocket.close()
    rig.feed((CLOSE, b"\x03\xe8"))
    while rig.sink.events[-1:] != ["lost"]:
        await asyncio.sleep(0.5)
    assert asyncio.get_running_loop().time() - started == pytest.approx(CLOSE_TIMEOUT, abs=1)


@ROLES
async def test_our_close_ends_after_the_peer_s_answer(role: Role) -> None:
    rig = Rig(role)
    rig.websocket.send([Message(b"last")])
    rig.websocket.close(1001, "moving")
    rig.websocket.close(1002)
    rig.websocket.send([Message(b"late")])
    rig.feed((BINARY, b"on the way"), (PING, b""))
    assert rig.sent() == [(BINARY, b"last"), (CLOSE, b"\x03\xe9moving")]
    assert "close" not in rig.lower.calls
    rig.feed((CLOSE, b"\x03\xe9"))
    if role is Role.CLIENT:
        rig.lower.feed_eof()
    await settle()
    assert rig.sent() == []
    assert rig.lower.calls[-1] == "close"
    assert rig.sink.events == ["lost"]


@pytest.mark.fake_clock
@ROLES
async def test_our_close_waits_a_bounded_time_for_the_peer_s(role: Role) -> None:
    rig = Rig(role)
    started = asyncio.get_running_loop().time()
    rig.websocket.close()
    while not rig.sink.events:
        await asyncio.sleep(0.5)
    assert asyncio.get_running_loop().time() - started == pytest.approx(CLOSE_TIMEOUT, abs=1)
    assert rig.sink.events == ["lost: StreamError"]
    assert rig.lower.calls[-1] == "close"


@ROLES
async def test_the_answer_is_seen_although_reading_was_paused(role: Role) -> None:
    rig = Rig(role)
    rig.websocket.pause_reading()
    rig.websocket.close()
    rig.websocket.pause_reading()
    rig.feed((BINARY, b"on the way"), (CLOSE, b"\x03\xe8"))
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == ["lost"]


async def test_a_server_that_ends_is_seen_although_reading_was_paused() -> None:
    rig = Rig(Role.CLIENT)
    rig.sink.reactions["messages"] = rig.websocket.pause_reading
    rig.feed((BINARY, b"data"), (CLOSE, b"\x03\xe8"))
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == [[Message(b"data")], Close(1000), "lost"]


@ROLES
async def test_closing_from_inside_a_delivery_sends_one_close(role: Role) -> None:
    rig = Rig(role)
    rig.sink.reactions["messages"] = lambda: rig.websocket.close(1001)
    rig.feed((BINARY, b"data"), (CLOSE, b"\x03\xe8"))
    assert rig.sent() == [(CLOSE, b"\x03\xe9")]
    rig.lower.feed_eof()
    await settle()
    assert rig.sink.events == [[Message(b"data")], "lost"]


@ROLES
async def test_a_reset_after_both_closes_is_clean(role: Role) -> None:
    rig = Rig(role)
    rig.lower.over = True  # the connection is being lost while we answer
    rig.lower.sink.data_received(rig.peer.control(CLOSE))
    rig.websocket.connection_lost(ConnectionResetError())
    assert rig.sink.events == [Close(None), "lost"]


@ROLES
async def test_a_reset_before_our_answer_left_is_an_error(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.lower.over = True
    rig.lower.sink.data_received(rig.peer.control(CLOSE))
    rig.websocket.connection_lost(ConnectionResetError())
    assert rig.sink.events == ["pause", Close(None), "lost: ConnectionResetError"]


@ROLES
async def test_nothing_but_the_end_is_told_after_our_close(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.feed((PING, b""))
    rig.websocket.close()
    rig.sent()
    rig.lower.fill()
    rig.lower.drain()
    assert rig.sent() == []
    assert rig.sink.events == ["pause"]


# -- other ends


@ROLES
async def test_an_end_without_a_close_is_no_end(role: Role) -> None:
    for close in (False, True):
        rig = Rig(role)
        if close:
            rig.websocket.close()
        rig.feed((BINARY, b"data"))
        rig.lower.feed_eof()
        await settle()
        assert rig.lower.calls[-1] == "abort"
        assert rig.sink.events[-1] == f"lost: {TruncatedError.__name__}"


@ROLES
@pytest.mark.parametrize(
    ("frame", "code"),
    [((BINARY, bytes(1001)), MESSAGE_TOO_BIG), ((TEXT, b"\xff"), 1007), ((3, b""), PROTOCOL_ERROR), ((CLOSE, b"\0"), PROTOCOL_ERROR)],
)
async def test_a_violation_is_told_to_the_peer_after_the_messages_before_it(role: Role, frame: tuple[int, bytes], code: int) -> None:
    rig = Rig(role)
    rig.feed((BINARY, b"good"), frame)
    assert rig.sent() == [(CLOSE, code.to_bytes(2, "big"))]
    assert rig.lower.calls == ["close"]
    rig.websocket.send([Message(b"late")])
    await settle()
    assert rig.sink.events == [[Message(b"good")], "lost: FrameError"]
    assert isinstance(rig.sink.error, FrameError)
    assert rig.sink.error.code == code


@pytest.mark.fake_clock
@ROLES
async def test_the_violation_stays_the_cause_however_long_the_connection_takes_to_end(role: Role) -> None:
    rig = Rig(role)
    rig.lower.over = True  # it is still sending what was written when it is told to end
    rig.websocket.data_received(rig.peer.frame(3, b""))
    await asyncio.sleep(2 * CLOSE_TIMEOUT)
    rig.websocket.connection_lost(None)
    assert rig.sink.events == ["lost: FrameError"]


@ROLES
async def test_who_breaks_the_protocol_and_does_not_read_is_cut_off(role: Role) -> None:
    rig = Rig(role)
    rig.lower.fill()
    rig.feed((3, b""))
    await settle()
    assert rig.sent() == []
    assert rig.lower.calls == ["abort"]
    assert rig.sink.events == ["pause", "lost: FrameError"]


@ROLES
async def test_abort_tells_its_cause(role: Role) -> None:
    for cause in (None, StreamError("because")):
        rig = Rig(role)
        rig.websocket.abort(cause)
        rig.websocket.abort(StreamError("another"))
        rig.websocket.send([Message(b"late")])
        rig.websocket.close()
        rig.websocket.data_received(rig.peer.frame(BINARY, b"late"))
        rig.websocket.eof_received()
        await settle()
        assert rig.sent() == []
        assert rig.lower.calls == ["abort"]
        assert isinstance(rig.sink.error, AbortedError) if cause is None else rig.sink.error is cause


@ROLES
async def test_aborting_from_inside_a_delivery_is_the_end(role: Role) -> None:
    rig = Rig(role)
    rig.sink.reactions["messages"] = rig.websocket.abort
    rig.feed((BINARY, b"data"), (CLOSE, b"\x03\xe8"))
    await settle()
    assert rig.sent() == []
    assert rig.sink.events == [[Message(b"data")], "lost: AbortedError"]


@pytest.mark.fake_clock
@ROLES
async def test_no_timer_is_left_behind(role: Role) -> None:
    rig = Rig(role)
    rig.websocket.close()
    rig.websocket.abort()
    await asyncio.sleep(2 * CLOSE_TIMEOUT)
    assert rig.lower.calls[-1] == "abort"
    assert rig.sink.events == ["lost: AbortedError"]


@ROLES
async def test_a_sink_that_comes_late_hears_the_end(role: Role) -> None:
    rig, sink = Rig(role), Recorder()
    rig.lower.lose(ConnectionResetError())
    rig.websocket.set_sink(sink)
    assert sink.events == []
    await settle()
    assert sink.events == ["lost: ConnectionResetError"]
