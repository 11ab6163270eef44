from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import (
    AcceptedPackets,
    Address,
    Carrier,
    Cipher,
    ComponentSpec,
    FrontendDeps,
    Network,
    ProtocolError,
    Reason,
    RejectedError,
    Secret,
    ServerCipher,
    SocketListener,
    TargetError,
    UdpSocket,
    UpstreamError,
)
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.streams import FakeStream
from outline_lb_frontend_outline_server.connection import DEADLINE, MAX_HEADER, Connection

TARGET = Address("example.com", 443)
CipherSpec = Callable[[int], ComponentSpec[None, Cipher]]

pytestmark = pytest.mark.fake_clock


class Desk:
    """Takes streams in, and shows what became of them. Alice has the secret "x" with the mark 1, Bob has "yy" with the mark 2."""

    def __init__(self, deps: FrontendDeps, dialer: FakeDialer, specs: dict[int, Cipher]) -> None:
        self.deps = deps
        self.dialer = dialer
        self.specs = specs
        self.ciphers: list[ServerCipher] = [specs[1].server({"alice": Secret("x")}), specs[2].server({"bob": Secret("yy")})]
        self.done: list[Connection] = []
        self.connection: Connection

    def stream(self, public_only: bool = True) -> FakeStream:
        stream = FakeStream()
        self.connection = Connection(stream, self.deps, self.ciphers, public_only, self.done.append)
        return stream

    def sealed(self, payload: bytes = b"", mark: int = 1, secret: str = "x", target: Address = TARGET) -> bytes:
        """Return the beginning of a client's stream."""
        room = memoryview(bytearray(200_000))
        sealer, _ = self.specs[mark].client(Secret(secret), b"").stream(target)
        return bytes(room[: sealer.seal_into(payload, room)])


def flip(data: bytes, mark: int = 1) -> bytes:
    return bytes(byte ^ mark for byte in data)


@pytest.fixture
async def desk(cipher: CipherSpec) -> AsyncIterator[Desk]:
    async with anyio.create_task_group() as tasks:
        dialer = FakeDialer()
        yield Desk(
            FrontendDeps("server", dialer, Carrier(tasks), SocketListener, UdpSocket.bind),
            dialer,
            {mark: cipher(mark).build(None) for mark in (1, 2)},
        )
        tasks.cancel_scope.cancel()


async def test_a_flow_is_carried_with_what_is_known_about_it(desk: Desk, clock: ClockLoop) -> None:
    stream, accepted = desk.stream(), clock.now
    await clock.advance(2)
    stream.feed(desk.sealed(b"GET /", mark=2, secret="yy"))
    await settle()
    [dial] = desk.dialer.dials
    flow = dial.flow
    assert (flow.frontend, flow.network, flow.client, flow.user) == ("server", Network.TCP, stream.peer_address, "bob")
    assert (flow.target, flow.started, flow.public_only) == (TARGET, accepted, True)
    assert dial.first == b"GET /"
    assert desk.done == [desk.connection]


async def test_private_targets_can_be_allowed(desk: Desk) -> None:
    desk.stream(public_only=False).feed(desk.sealed())
    await settle()
    assert not desk.dialer.dials[0].flow.public_only


async def test_a_header_may_come_in_any_parts(desk: Desk) -> None:
    stream = desk.stream()
    for byte in desk.sealed(b"p"):
        stream.feed(bytes((byte,)))
    await settle()
    assert [(dial.flow.user, dial.first) for dial in desk.dialer.dials] == [("alice", b"")]
    stream.feed(flip(b"q"))
    far = FakeStream()
    desk.dialer.dials[0].answer.set_result(far)
    await settle()
    stream.feed(flip(b"r"))
    assert far.take() == b"pqr"
    far.feed(b"answer")
    assert stream.take() == flip(b"answer")


async def test_ends_cross_both_ways(desk: Desk) -> None:
    stream, far = desk.stream(), FakeStream()
    stream.feed(desk.sealed(b"request"))
    stream.feed_eof()  # before the dial is done
    await settle()
    desk.dialer.dials[0].answer.set_result(far)
    await settle()
    assert "write_eof" in far.calls
    far.feed(b"a long answer")
    far.feed_eof()
    await settle()
    assert stream.take() == flip(b"a long answer")
    assert stream.calls[-2:] == ["write_eof", "close"]


@pytest.mark.parametrize(
    "error", [UpstreamError("dial", "nobody there"), TargetError("connect", "refused", reason=Reason.REFUSED), TargetError("check", "private")]
)
async def test_a_dial_that_fails_ends_the_stream_at_once_without_a_byte(desk: Desk, error: TargetError) -> None:
    stream = desk.stream()
    stream.feed(desk.sealed(b"request"))
    await settle()
    desk.dialer.dials[0].answer.set_exception(error)
    await settle()
    assert stream.take() == b""
    assert stream.calls[-1] == "close"


async def carried(desk: Desk) -> tuple[FakeStream, FakeStream]:
    """Return a user's stream and the target's, with a flow between them."""
    stream, far = desk.stream(), FakeStream()
    stream.feed(desk.sealed(b"request"))
    await settle()
    desk.dialer.dials[0].answer.set_result(far)
    await settle()
    return stream, far


async def test_who_damages_a_stream_learns_nothing(desk: Desk, clock: ClockLoop) -> None:
    stream, far = await carried(desk)
    with capture_logs() as logs:
        for data in (b"damaged", b"more", b"x" * 100_000):
            stream.feed(flip(data))
            await clock.advance(100)
    assert [(entry["event"], entry["user"]) for entry in logs] == [("stream damaged on its way", "alice")]
    assert far.take() == b""
    assert not far.over
    assert not stream.over
    assert not stream.paused
    assert "write_eof" not in far.calls + stream.calls
    far.feed(b"answer")
    assert stream.take() == flip(b"answer")
    stream.feed_eof()
    await settle()
    assert stream.calls[-1] == "close"
    assert far.calls[-1] == "abort"
    assert isinstance(far.cause, ProtocolError)
    assert desk.deps.carrier.active == 0


async def test_a_damaged_stream_outlives_the_end_of_the_target(desk: Desk) -> None:
    stream, far = await carried(desk)
    stream.feed(flip(b"damaged"))
    far.feed(b"answer")
    far.feed_eof()
    await settle()
    assert stream.take() == flip(b"answer")
    assert stream.calls[-1] == "write_eof"
    stream.feed(flip(b"more"))
    stream.feed_eof()
    await settle()
    assert (stream.calls[-1], far.calls[-1]) == ("close", "abort")


@pytest.mark.parametrize("parts", [(b"damaged", b"damaged"), (b"damaged, and damaged",), (b"damaged", b"more", b"damaged and more", b"more")])
async def test_the_second_damage_ends_a_stream_cleanly_and_resets_the_target(desk: Desk, parts: Iterable[bytes]) -> None:
    stream, far = await carried(desk)
    far.take()
    far.feed(b"answer")
    for part in parts:
        stream.feed(flip(part))
    await settle()
    assert stream.take() == flip(b"answer")
    assert stream.calls[-1] == "close"
    assert far.take() == b""
    assert far.calls[-1] == "abort"


@pytest.mark.parametrize("lost", ["client", "target"])
async def test_a_reset_is_passed_on_from_and_to_a_damaged_stream(desk: Desk, lost: str) -> None:
    stream, far = await carried(desk)
    stream.feed(flip(b"damaged"))
    gone, left = (stream, far) if lost == "client" else (far, stream)
    gone.lose(ConnectionResetError())
    await settle()
    assert left.calls[-1] == "abort"


async def test_a_stream_may_be_damaged_before_its_target_is_reached(desk: Desk) -> None:
    stream, far = desk.stream(), FakeStream()
    stream.feed(desk.sealed(b"request"))
    await settle()
    stream.feed(flip(b"damaged"))
    desk.dialer.dials[0].answer.set_result(far)
    await settle()
    stream.feed(flip(b"more"))
    assert not stream.over
    assert not far.over
    stream.feed_eof()
    await settle()
    assert (stream.calls[-1], far.calls[-1]) == ("close", "abort")


PROBES = [
    [],  # silence
    [b"\1"],
    [b"\1" + flip(b"\1x") + flip(b"\3\xff")],  # a key, but half an address
    [b"\7" * 50],
    [b"\1" * 3000, b"\1" * 3000],
    [b"\1" + flip(b"\1x\7")],  # an unknown type of address
    [b"\1" + flip(b"\1x\3\4a\r\nb\0\x50"), b"more"],  # no host name
    [b"\2" + flip(b"\1x\1\1\1\1\1\0\x50", 2)],  # the secret of one cipher in another
    [b"\1" + flip(b"\xff"), b"\1" * 100, b"\1" * 300],
]


@pytest.mark.parametrize("probe", PROBES)
async def test_nobody_without_a_key_learns_anything(desk: Desk, clock: ClockLoop, probe: Iterable[bytes]) -> None:
    stream = desk.stream()
    for data in probe:
        stream.feed(data)
        await clock.advance(1)
    await clock.advance(1000.0 + DEADLINE - clock.now - 0.001)
    assert not stream.paused
    assert stream.calls == ["resume_reading"]
    await clock.advance(0.001)
    assert stream.calls == ["resume_reading", "close"]
    assert stream.take() == b""
    assert desk.dialer.dials == []


async def test_a_key_that_comes_late_is_no_key(desk: Desk, clock: ClockLoop) -> None:
    stream = desk.stream()
    stream.feed(b"\7")
    stream.feed(desk.sealed())
    await clock.advance(1)
    assert desk.dialer.dials == []


async def test_the_deadline_is_off_once_a_key_was_shown(desk: Desk, clock: ClockLoop) -> None:
    stream = desk.stream()
    stream.feed(desk.sealed())
    await clock.advance(DEADLINE * 2)
    assert not stream.over


async def test_little_is_kept_of_who_has_shown_no_key(desk: Desk) -> None:
    class Patient(ServerCipher):
        def accept(self, data: bytes) -> None:
            sizes.append(len(data))

        def accept_packets(self, datagram: bytes) -> AcceptedPackets:
            raise RejectedError

    sizes: list[int] = []
    desk.ciphers = [Patient()]
    stream = desk.stream()
    for _ in range(MAX_HEADER // 1000 + 10):
        stream.feed(b"x" * 1000)
    assert MAX_HEADER < sizes[-1] <= MAX_HEADER + 1000  # and after that nobody is asked any more
    assert stream.calls == ["resume_reading"]


@pytest.mark.parametrize("how", ["end", "loss"])
async def test_who_leaves_is_forgotten(desk: Desk, clock: ClockLoop, how: str) -> None:
    stream = desk.stream()
    stream.feed(b"\7" * 60)
    if how == "end":
        stream.feed_eof()
        assert stream.calls[-1] == "close"
    else:
        stream.lose(ConnectionResetError())
    assert desk.done
    calls = list(stream.calls)
    await clock.advance(DEADLINE * 2)
    assert stream.calls == calls


@pytest.mark.parametrize(("begin", "reason"), [(b"\7" * 50, "mark"), (b"\1" + flip(b"\1x\3\4a\r\nb\0\x50"), "a\\r\\nb")])
async def test_a_stream_that_is_not_served_is_logged_once(desk: Desk, begin: bytes, reason: str) -> None:
    with capture_logs() as logs:
        stream = desk.stream()
        stream.feed(begin)
        stream.feed(b"and more")
    [line] = logs
    assert line["event"] == "stream not served"
    assert line["client"] == str(stream.peer_address)
    assert reason in line["reason"]
    assert line["reason"].isprintable()


async def test_giving_up_is_a_reset(desk: Desk) -> None:
    stream = desk.stream()
    desk.connection.abort()
    assert stream.calls[-1] == "abort"
    assert desk.done


async def test_after_this_process_slept_through_the_deadline_what_came_meanwhile_is_seen_first(desk: Desk, clock: ClockLoop) -> None:
    asleep, stranger = desk.stream(), desk.stream()
    clock.autojump = False
    clock.now += DEADLINE + 15
    await settle()
    assert (asleep.over, stranger.over) == (False, False)
    asleep.feed(desk.sealed())
    await clock.advance(2)
    assert len(desk.dialer.dials) == 1
    assert (asleep.over, stranger.calls[-1]) == (False, "close")
