from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from unittest import mock

import anyio
import pytest
from structlog.testing import capture_logs

from outline_lb.api import (
    Address,
    Carrier,
    DialError,
    FrontendDeps,
    Network,
    Reason,
    Secret,
    SocketListener,
    StartError,
    TargetError,
    UdpSocket,
    UpstreamError,
    encode_address,
)
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.streams import FakeStream
from outline_lb_frontend_socks5.associations import Associations
from outline_lb_frontend_socks5.connection import DEADLINE, Connection
from outline_lb_frontend_socks5.options import UdpOptions
from outline_lb_frontend_socks5.users import DELAY, MAX_FAILURES, Brake, Users

GREETING = b"\5\1\0"
PASSWORD_GREETING = b"\5\1\2"
LOGIN = b"\1\5alice\6secret"
WRONG = b"\1\5alice\5wrong"
ASSOCIATE = b"\5\3\0\1" + bytes(6)
CONNECT = b"\5\1\0\3\x0bexample.com\x01\xbb"

pytestmark = pytest.mark.fake_clock


class Desk:
    """Takes clients in, and shows what became of them."""

    def __init__(self, deps: FrontendDeps, dialer: FakeDialer) -> None:
        self.deps = deps
        self.dialer = dialer
        self.brake = Brake()
        self.associations: Associations | None = Associations(UdpOptions(300.0, max_associations=10, max_targets=10), deps)
        self.done: list[Connection] = []
        self.connection: Connection

    def client(self, users: Users | None = None) -> FakeStream:
        stream = FakeStream()
        self.connection = Connection(stream, self.deps, users, self.brake, self.associations, self.done.append)
        return stream


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with anyio.create_task_group() as tasks:
        dialer = FakeDialer()
        desk = Desk(FrontendDeps("local", dialer, Carrier(tasks), SocketListener, UdpSocket.bind), dialer)
        yield desk
        if desk.associations:
            desk.associations.close()
        desk.deps.carrier.abort_all()
        tasks.cancel_scope.cancel()


@pytest.fixture
def users() -> Users:
    return Users({"alice": Secret("secret")})


@pytest.fixture
async def clock() -> ClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    return loop


async def test_a_flow_is_carried_with_what_is_known_about_it(desk: Desk, clock: ClockLoop, users: Users) -> None:
    client, accepted = desk.client(users), clock.now
    client.feed(PASSWORD_GREETING)
    await clock.advance(3)
    client.feed(LOGIN + CONNECT + b"GET /")
    await settle()
    [dial] = desk.dialer.dials
    flow = dial.flow
    assert (flow.frontend, flow.network, flow.client, flow.user) == ("local", Network.TCP, client.peer_address, "alice")
    assert (flow.target, flow.started, flow.public_only) == (Address("example.com", 443), accepted, False)
    assert dial.first == b"GET /"
    assert desk.done == [desk.connection]
    assert client.take() == b"\5\2\1\0"


async def test_the_reply_comes_when_the_stream_is_there_and_names_our_end_of_it(desk: Desk) -> None:
    client, far = desk.client(), FakeStream()
    client.feed(GREETING + CONNECT)
    await settle()
    assert client.take() == b"\5\0"
    far.feed(b"hello")
    desk.dialer.dials[0].answer.set_result(far)
    await settle()
    assert client.take() == b"\5\0\0\1\x7f\0\0\1\0\1hello"


@pytest.mark.parametrize(
    ("error", "rep"),
    [
        (UpstreamError("dial", "no upstream could be reached"), 1),
        (TargetError("connect", ConnectionRefusedError(111, "refused")), 5),
        (TargetError("check", "not public", reason=Reason.NOT_ALLOWED), 2),
        (UpstreamError("connect", TimeoutError()), 6),
    ],
)
async def test_a_failure_is_told_and_the_client_closed_politely(desk: Desk, error: DialError, rep: int) -> None:
    client = desk.client()
    client.feed(GREETING + CONNECT)
    await settle()
    desk.dialer.dials[0].answer.set_exception(error)
    await settle()
    assert client.take() == b"\5\0" + bytes((5, rep, 0, 1, 0, 0, 0, 0, 0, 0))
    assert client.calls[-1] == "close"


async def test_what_a_client_sends_early_goes_in_order(desk: Desk) -> None:
    client, far = desk.client(), FakeStream()
    client.feed(GREETING + CONNECT + b"1")
    client.feed(b"2")
    await settle()
    client.feed(b"3")
    [dial] = desk.dialer.dials
    assert dial.first == b"1"
    dial.answer.set_result(far)
    await settle()
    assert far.take() == b"23"


async def test_refusals_are_answered_logged_once_and_escaped(desk: Desk) -> None:
    client = desk.client()
    with capture_logs() as logs:
        client.feed(GREETING + b"\5\1\0\3\7a\r\nX: y\0\x50")
        await settle()
    assert client.take() == b"\5\0" + b"\5\4\0\1" + bytes(6)
    assert client.calls[-1] == "close"
    [line] = logs
    assert line["event"] == "handshake refused"
    assert "a\\r\\nX: y" in line["reason"]
    assert line["reason"].isprintable()
    assert desk.dialer.dials == []


@pytest.mark.parametrize("silence_after", [b"", GREETING, GREETING + CONNECT[:-1]])
async def test_the_deadline_holds_for_the_whole_handshake(desk: Desk, clock: ClockLoop, silence_after: bytes) -> None:
    client = desk.client()
    await clock.advance(DEADLINE / 2)
    if silence_after:
        client.feed(silence_after)
    await clock.advance(DEADLINE / 2 - 0.001)
    assert not client.over
    await clock.advance(0.001)
    assert client.calls[-1] == "close"
    assert desk.done


async def test_a_dribble_is_no_way_around_the_deadline(desk: Desk, clock: ClockLoop) -> None:
    client, begun = desk.client(), clock.now
    for byte in GREETING + CONNECT:
        client.feed(bytes((byte,)))
        await clock.advance(1)
    assert client.over
    assert clock.now - begun > DEADLINE
    assert desk.dialer.dials == []


async def test_a_dial_may_take_longer_than_the_handshake(desk: Desk, clock: ClockLoop) -> None:
    client = desk.client()
    client.feed(GREETING + CONNECT)
    await clock.advance(DEADLINE * 3)
    assert not client.over
    assert not desk.dialer.dials[0].answer.done()


@pytest.mark.parametrize("how", ["end", "loss"])
async def test_a_client_that_leaves_during_the_handshake_is_forgotten(desk: Desk, clock: ClockLoop, how: str) -> None:
    client = desk.client()
    client.feed(GREETING)
    if how == "end":
        client.feed_eof()
        assert client.calls[-1] == "close"
    else:
        client.lose(ConnectionResetError())
    assert desk.done
    with capture_logs() as logs:
        await clock.advance(DEADLINE * 2)
    assert logs == []


async def test_a_wrong_password_is_answered_and_the_client_closed(desk: Desk, users: Users) -> None:
    client = desk.client(users)
    with capture_logs() as logs:
        client.feed(PASSWORD_GREETING + WRONG + CONNECT)
        await settle()
    assert client.take() == b"\5\2\1\1"
    assert client.calls[-1] == "close"
    assert "wrong" not in repr(logs).replace("wrong user name or password", "")
    assert desk.dialer.dials == []


async def fail(desk: Desk, users: Users, times: int) -> None:
    for _ in range(times):
        client = desk.client(users)
        client.feed(PASSWORD_GREETING + WRONG)
        assert client.take() == b"\5\2\1\1"


@pytest.mark.parametrize(("login", "answer"), [(WRONG, b"\1\1"), (LOGIN, b"\1\0")])
async def test_who_guesses_waits_for_each_answer(desk: Desk, users: Users, clock: ClockLoop, login: bytes, answer: bytes) -> None:
    await fail(desk, users, MAX_FAILURES)
    client = desk.client(users)
    client.feed(PASSWORD_GREETING + login)
    client.feed(CONNECT)
    await clock.advance(DELAY - 0.001)
    assert client.paused
    assert client.take() in (b"", b"\5\2")
    await clock.advance(0.001)
    assert client.written.endswith(answer)
    assert len(desk.dialer.dials) == (login == LOGIN)


async def test_who_waits_for_an_answer_may_leave(desk: Desk, users: Users, clock: ClockLoop) -> None:
    await fail(desk, users, MAX_FAILURES)
    client = desk.client(users)
    client.feed(PASSWORD_GREETING + LOGIN + CONNECT)
    client.lose(ConnectionResetError())
    await clock.advance(DELAY * 2)
    assert desk.dialer.dials == []


async def test_giving_up_is_a_reset_and_the_deadline_is_off(desk: Desk, clock: ClockLoop) -> None:
    client = desk.client()
    desk.connection.abort()
    assert client.calls[-1] == "abort"
    assert desk.done
    with capture_logs() as logs:
        await clock.advance(DEADLINE * 2)
    assert logs == []


async def send(answer: bytes, *packets: tuple[Address, bytes]) -> None:
    """Send datagrams to the relay that an answer names."""
    assert answer[:8] == b"\5\0\0\1\x7f\0\0\1", "the address that the client came to"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for target, data in packets:
            sock.sendto(bytes(3) + encode_address(target) + data, ("127.0.0.1", int.from_bytes(answer[8:], "big")))
    await settle()


async def test_a_client_that_wants_packets_gets_a_relay_at_once(desk: Desk, clock: ClockLoop, users: Users) -> None:
    client = desk.client(users)
    client.feed(PASSWORD_GREETING + LOGIN + ASSOCIATE + b"ignored")
    answer = client.take().removeprefix(b"\5\2\1\0")
    assert len(answer) == 10
    assert desk.done == [desk.connection]
    assert desk.dialer.flows == []
    await clock.advance(DEADLINE * 2)
    assert not client.over
    target = Address("example.com", 443)
    await send(answer, (target, b"hello"))
    [flow] = desk.dialer.flows
    assert (flow.frontend, flow.network, flow.user, flow.target) == ("local", Network.UDP, "alice", target)
    assert desk.dialer.channels[0].sent == [(target, b"hello")]


@pytest.mark.parametrize("where", [Address("0.0.0.0", 0), Address("127.0.0.1", 9), Address("::", 0), Address("localhost", 9)], ids=str)
async def test_a_client_may_say_where_it_sends_from_and_be_wrong(desk: Desk, where: Address) -> None:
    client = desk.client()
    client.feed(GREETING + b"\5\3\0" + encode_address(where))
    await send(client.take()[2:], (Address("192.0.2.1", 53), b"hello"))
    assert len(desk.dialer.flows) == 1


@pytest.mark.parametrize("why", ["udp: false", "no upstream carries any"])
async def test_packets_that_nobody_carries_are_refused_with_the_reason(desk: Desk, why: str) -> None:
    if "false" in why:
        desk.associations = None
    else:
        desk.dialer.networks = frozenset({Network.TCP})
    client = desk.client()
    with capture_logs() as logs:
        client.feed(GREETING + ASSOCIATE)
        await settle()
    assert client.take() == b"\5\0" + b"\5\7\0\1" + bytes(6)
    assert client.calls[-1] == "close"
    assert desk.done
    [line] = logs
    assert why in line["reason"]


async def test_without_a_socket_the_client_hears_of_a_failure(desk: Desk) -> None:
    client = desk.client()
    with capture_logs() as logs, mock.patch.object(UdpSocket, "bind", side_effect=StartError("too many open files")):
        client.feed(GREETING + ASSOCIATE)
        await settle()
    assert client.take() == b"\5\0" + b"\5\1\0\1" + bytes(6)
    assert client.calls[-1] == "close"
    assert desk.done
    [line] = logs
    assert line["reason"] == "too many open files"


async def test_bind_is_refused(desk: Desk) -> None:
    client = desk.client()
    client.feed(GREETING + b"\5\2\0" + CONNECT[3:])
    assert client.take() == b"\5\0" + b"\5\7\0\1" + bytes(6)
