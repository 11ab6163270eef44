from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import Address, Reason
from outline_lb_frontend_socks5.protocol import (
    MAX_UNAUTHENTICATED,
    REPS,
    Command,
    Credentials,
    Event,
    Handshake,
    RefusedError,
    Rep,
    Request,
    encode_reply,
)

GREETING = b"\5\1\0"
PASSWORD_GREETING = b"\5\1\2"
LOGIN = b"\1\5alice\6secret"
CONNECT = b"\5\1\0\3\x0bexample.com\x01\xbb"
TARGET = Address("example.com", 443)
FAILURES = [(Reason.FAILED, 1), (Reason.NOT_ALLOWED, 2), (Reason.NETWORK_UNREACHABLE, 3), (Reason.HOST_UNREACHABLE, 4)]
FAILURES += [(Reason.REFUSED, 5), (Reason.TIMEOUT, 6)]


def reply(rep: int) -> bytes:
    return bytes((5, rep, 0, 1, 0, 0, 0, 0, 0, 0))


def refused(handshake: Handshake, data: bytes) -> tuple[bytes, str]:
    """Feed what must be refused; return what the client is told, and the log."""
    with pytest.raises(RefusedError) as caught:
        handshake.feed(data)
    return handshake.take(), str(caught.value)


def greeted() -> Handshake:
    handshake = Handshake(authenticate=False)
    assert handshake.feed(GREETING) is None
    assert handshake.take() == b"\5\0"
    return handshake


def test_connect_step_by_step() -> None:
    handshake = greeted()
    assert handshake.feed(CONNECT) == Request(Command.CONNECT, TARGET, b"")
    assert handshake.take() == b""


def test_connect_with_name_and_password() -> None:
    handshake = Handshake(authenticate=True)
    assert handshake.feed(PASSWORD_GREETING) is None
    assert handshake.take() == b"\5\2"
    assert handshake.feed(LOGIN) == Credentials(b"alice", b"secret")
    assert handshake.take() == b""
    assert handshake.judge(True) is None
    assert handshake.take() == b"\1\0"
    assert handshake.feed(CONNECT) == Request(Command.CONNECT, TARGET, b"")


def test_everything_in_one_segment_with_payload_behind() -> None:
    handshake = Handshake(authenticate=False)
    assert handshake.feed(GREETING + CONNECT + b"GET / HTTP/1.1\r\n") == Request(Command.CONNECT, TARGET, b"GET / HTTP/1.1\r\n")
    assert handshake.take() == b"\5\0"


def test_everything_in_one_segment_with_password() -> None:
    handshake = Handshake(authenticate=True)
    assert handshake.feed(PASSWORD_GREETING + LOGIN + CONNECT + b"payload") == Credentials(b"alice", b"secret")
    assert handshake.judge(True) == Request(Command.CONNECT, TARGET, b"payload")
    assert handshake.take() == b"\5\2\1\0"


@pytest.mark.parametrize("target", [TARGET, Address("192.0.2.1", 80), Address("2001:db8::1", 65535), Address("x", 0)])
def test_every_type_of_address(target: Address) -> None:
    data = b"\5\1\0" + encode_reply(Rep.SUCCEEDED, target)[3:]
    assert greeted().feed(data) == Request(Command.CONNECT, target, b"")


@pytest.mark.parametrize("methods", [b"\2", b"\0\2\1", bytes(range(255))])
def test_picks_its_method_among_those_offered(methods: bytes) -> None:
    handshake = Handshake(authenticate=True)
    assert handshake.feed(bytes((5, len(methods))) + methods) is None
    assert handshake.take() == b"\5\2"


@pytest.mark.parametrize("authenticate", [False, True])
@pytest.mark.parametrize("methods", [b"", b"\1", b"\x80\xfe\xff"])
def test_no_method_that_fits(authenticate: bool, methods: bytes) -> None:
    told, _ = refused(Handshake(authenticate), bytes((5, len(methods))) + methods)
    assert told == b"\5\xff"


def test_who_must_authenticate_cannot_go_without() -> None:
    told, why = refused(Handshake(authenticate=True), GREETING + CONNECT)
    assert told == b"\5\xff"
    assert "password" in why


def test_who_needs_not_authenticate_must_not_want_to() -> None:
    assert refused(Handshake(authenticate=False), PASSWORD_GREETING)[0] == b"\5\xff"


@pytest.mark.parametrize("data", [b"\4\1\0\x50\x7f\0\0\1\0", b"CONNECT example.com:443 HTTP/1.1\r\n", b"\x16\x03\x01", b"\0"])
def test_other_protocols_get_no_answer(data: bytes) -> None:
    told, why = refused(Handshake(authenticate=False), data)
    assert told == b""
    assert "SOCKS5" in why


def test_a_wrong_password_is_told_and_nothing_follows() -> None:
    handshake = Handshake(authenticate=True)
    handshake.feed(PASSWORD_GREETING + LOGIN + CONNECT)
    with pytest.raises(RefusedError, match="password"):
        handshake.judge(False)
    assert handshake.take() == b"\5\2\1\1"
    assert handshake.feed(CONNECT) is None
    assert handshake.take() == b""


def test_another_version_of_authentication_is_a_failure() -> None:
    handshake = Handshake(authenticate=True)
    assert refused(handshake, PASSWORD_GREETING + b"\5" + LOGIN[1:])[0] == b"\5\2\1\1"


@pytest.mark.parametrize(("login", "name", "password"), [(b"\1\0\0", b"", b""), (b"\1\1\xff\1\0", b"\xff", b"\0")])
def test_odd_names_and_passwords_are_passed_as_they_are(login: bytes, name: bytes, password: bytes) -> None:
    assert Handshake(authenticate=True).feed(PASSWORD_GREETING + login) == Credentials(name, password)


def test_the_longest_name_and_password() -> None:
    assert Handshake(authenticate=True).feed(PASSWORD_GREETING + b"\1\xff" + b"n" * 255 + b"\xff" + b"p" * 255) == Credentials(b"n" * 255, b"p" * 255)


def test_little_is_kept_of_who_is_not_authenticated() -> None:
    handshake = Handshake(authenticate=True)
    assert handshake.feed(PASSWORD_GREETING + LOGIN + b"x" * MAX_UNAUTHENTICATED) == Credentials(b"alice", b"secret")
    assert "too much" in refused(Handshake(authenticate=True), PASSWORD_GREETING + LOGIN + b"x" * (MAX_UNAUTHENTICATED + 1))[1]


def test_packets_can_be_asked_for() -> None:
    assert greeted().feed(b"\5\3" + CONNECT[2:] + b"x") == Request(Command.UDP_ASSOCIATE, TARGET, b"x")


@pytest.mark.parametrize("command", [0, 2, 4, 255])
def test_other_commands_are_not_supported(command: int) -> None:
    assert refused(greeted(), bytes((5, command)) + CONNECT[2:])[0] == reply(7)


def test_an_unknown_type_of_address() -> None:
    assert refused(greeted(), b"\5\1\0\2\0\0\0\0\0\0")[0] == reply(8)


@pytest.mark.parametrize("name", [b"a\r\nX: y", b"a\0b", b"", b"\xff" * 255, b"a b", b"x" * 64, b".", b"\x1b[31mred"])
def test_a_name_that_is_no_host_name(name: bytes) -> None:
    told, why = refused(greeted(), b"\5\1\0\3" + bytes((len(name),)) + name + b"\0\x50")
    assert told == reply(4)
    assert why.isprintable()


def test_a_request_in_another_version() -> None:
    assert refused(greeted(), b"\4" + CONNECT[1:])[0] == reply(1)


@pytest.mark.parametrize(("reason", "rep"), FAILURES)
def test_every_reason_has_its_reply(reason: Reason, rep: int) -> None:
    assert encode_reply(REPS[reason]) == reply(rep)
    assert len(FAILURES) == len(Reason)


def test_replies_name_the_bound_address_in_its_own_type() -> None:
    assert encode_reply(Rep.SUCCEEDED) == reply(0)
    assert encode_reply(Rep.SUCCEEDED, Address("192.0.2.1", 258)) == b"\5\0\0\1\xc0\0\2\1\1\2"
    assert encode_reply(Rep.SUCCEEDED, Address("::1", 258)) == b"\5\0\0\4" + b"\0" * 15 + b"\1\1\2"


def converse(authenticate: bool, pieces: list[bytes]) -> tuple[bytes, list[Event], str]:
    """Feed the pieces, accept every password, and return what was said, decided and refused."""
    handshake = Handshake(authenticate)
    told = payload = b""
    events: list[Event] = []
    for piece in pieces:
        if events and isinstance(events[-1], Request):
            payload += piece  # what the frontend does after a request: it is the carrier's
            continue
        try:
            event = handshake.feed(memoryview(piece))
            while event is not None:
                events.append(event)
                event = handshake.judge(True) if isinstance(event, Credentials) else None
        except RefusedError as exc:
            return told + handshake.take(), events, str(exc)
        told += handshake.take()
    if events and isinstance(events[-1], Request):
        events[-1] = Request(events[-1].command, events[-1].target, events[-1].payload + payload)
    return told, events, ""


CONVERSATIONS = st.sampled_from(
    [
        (False, GREETING + CONNECT + b"payload"),
        (True, PASSWORD_GREETING + LOGIN + CONNECT + b"payload"),
        (True, b"\5\3\0\1\2" + LOGIN + b"\5\1\0\4" + bytes(16) + b"\1\2" + b"\5\1"),
        (False, GREETING + b"\5\3\0\1" + bytes(6)),
        (False, GREETING + b"\5\1\0\3\1\0\0\0"),
        (True, GREETING),
    ]
)


@given(CONVERSATIONS, st.lists(st.integers(0, 60), max_size=8))
@settings(deadline=None, max_examples=200)
def test_cuts_make_no_difference(conversation: tuple[bool, bytes], cuts: list[int]) -> None:
    authenticate, data = conversation
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(borders)]
    whole, cut = converse(authenticate, [data]), converse(authenticate, pieces)
    assert cut == whole


@given(st.booleans(), st.lists(st.binary(max_size=600) | st.sampled_from([GREETING, PASSWORD_GREETING, LOGIN, CONNECT, b"\5", b"\1"]), max_size=6))
@settings(deadline=None, max_examples=200)
def test_nonsense_is_refused_and_nothing_else(authenticate: bool, pieces: list[bytes]) -> None:
    told, events, _ = converse(authenticate, pieces)
    assert told[:1] in (b"", b"\5")
    assert len(events) <= 2
    for event in events:
        if isinstance(event, Request):
            assert Address.of(event.target.host, event.target.port) == event.target
