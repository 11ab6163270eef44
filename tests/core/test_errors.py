from __future__ import annotations

import errno
import gc
import os
import socket
import ssl
import weakref

import pytest

from outline_lb.base.errors import (
    AbortedError,
    ConfigError,
    DialError,
    OutlineLBError,
    Problem,
    ProtocolError,
    Reason,
    StreamError,
    TargetError,
    TruncatedError,
    UpstreamError,
    describe,
    reason_of,
    without_frames,
)


def verification_error(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    error.verify_message = message
    return error


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("a sentence", "a sentence"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), os.strerror(errno.ECONNREFUSED)),
        (OSError(errno.ENETUNREACH, "x"), os.strerror(errno.ENETUNREACH)),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (verification_error("self-signed certificate"), "certificate refused: self-signed certificate"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "tlsv1 alert unknown ca"),
        (TimeoutError("no answer within 3 s"), "no answer within 3 s"),
        (TimeoutError(), "TimeoutError"),
        (TruncatedError("cut"), "cut"),
        (UpstreamError("tls", verification_error("expired")), "tls: certificate refused: expired"),
        (ValueError("odd"), "odd"),
    ],
)
def test_describe(cause: BaseException | str, text: str) -> None:
    assert describe(cause) == text


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("a sentence", Reason.FAILED),
        (OSError(errno.ENETUNREACH, ""), Reason.NETWORK_UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), Reason.HOST_UNREACHABLE),
        (OSError(errno.ECONNREFUSED, ""), Reason.REFUSED),
        (OSError(errno.ETIMEDOUT, ""), Reason.TIMEOUT),
        (OSError(errno.EACCES, ""), Reason.NOT_ALLOWED),
        (OSError(errno.EMFILE, ""), Reason.FAILED),
        (TimeoutError(), Reason.TIMEOUT),
        (socket.gaierror(socket.EAI_NONAME, "x"), Reason.HOST_UNREACHABLE),
        (verification_error("expired"), Reason.FAILED),  # its number 1 is not EPERM
        (ssl_error("WRONG_VERSION_NUMBER"), Reason.FAILED),
        (ProtocolError("x"), Reason.FAILED),
        (DialError("connect", OSError(errno.ECONNREFUSED, "")), Reason.REFUSED),
    ],
)
def test_reason_of(cause: BaseException | str, reason: Reason) -> None:
    assert reason_of(cause) is reason
    assert DialError("dial", cause).reason is reason


def test_a_given_reason_comes_first() -> None:
    assert TargetError("connect", TimeoutError(), reason=Reason.NOT_ALLOWED).reason is Reason.NOT_ALLOWED


def test_a_dial_error_says_what_was_tried() -> None:
    cause = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    error = UpstreamError("connect", cause)
    assert str(error) == f"connect: {os.strerror(errno.ECONNREFUSED)}"
    assert (error.operation, error.cause, error.sent) == ("connect", cause, False)


@pytest.mark.parametrize("kind", [ProtocolError, TruncatedError, AbortedError])
def test_what_ends_a_stream_is_a_connection_error_too(kind: type[StreamError]) -> None:
    assert issubclass(kind, ConnectionError)
    assert issubclass(kind, OutlineLBError)
    assert str(kind("why")) == "why"


def test_config_error_holds_all_problems_with_their_places() -> None:
    problems = Problem("no port", "/frontends/a/listen", "x.yaml", 3, 5), Problem("empty"), Problem("bad", file="y.yaml")
    error = ConfigError(*problems)
    assert error.problems == problems
    assert str(error) == "x.yaml:3:5: /frontends/a/listen: no port\nempty\ny.yaml: bad"


class Pile:
    """Keeps the error that it met."""

    def fail(self) -> None:
        try:
            try:
                raise OSError("inside")
            except OSError as exc:
                raise ProtocolError("outside") from exc
        except ProtocolError as exc:
            self.error = without_frames(exc)


def test_an_error_without_frames_makes_no_reference_circle() -> None:
    gc.collect()
    gc.disable()
    try:
        pile = Pile()
        pile.fail()
        assert str(pile.error) == "outside"
        assert str(pile.error.__cause__) == "inside"
        gone = weakref.ref(pile)
        del pile
        assert gone() is None
    finally:
        gc.enable()


def test_errors_that_follow_each_other_in_a_circle_end() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__context__, two.__context__ = two, one
    assert without_frames(one) is one
