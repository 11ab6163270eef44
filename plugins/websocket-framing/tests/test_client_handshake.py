from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb.api import ProtocolError
from outline_lb_websocket.client_handshake import MISCONFIGURED, RefusedError, build_request, check_response
from outline_lb_websocket.head import HeadError, split_head

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
FIELDS = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}


def response(status: str = "HTTP/1.1 101 Switching Protocols", **changes: str | None) -> bytes:
    """A good response, with fields replaced, added or (None) left out; an underscore stands for a dash."""
    fields: dict[str, str | None] = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return "\r\n".join([status, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]).encode()


def test_request_is_complete_and_nothing_is_offered() -> None:
    request = build_request("example.com:8080", "/path?query", KEY, [("User-Agent", "x"), ("X-Y", "z")])
    assert request == (
        b"GET /path?query HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: x\r\nX-Y: z\r\n\r\n"
    )
    assert split_head(request)


@pytest.mark.parametrize(
    "head",
    [
        response(),
        response("HTTP/1.1 101 whatever"),
        response("HTTP/1.1 101"),
        response(Upgrade="WebSocket", Connection="keep-alive, uPGRADE"),
        response(Server="x", Sec_WebSocket_Extensions=""),
    ],
)
def test_good_answers(head: bytes) -> None:
    check_response(head, KEY)


@pytest.mark.parametrize(
    "head",
    [
        response("HTTP/1.0 101 Switching Protocols"),
        response("HTTP/2 101"),
        response("HTTP/1.1 1010"),
        response("SSH-2.0-OpenSSH"),
        response(""),
        response(Upgrade=None),
        response(Upgrade="h2c"),
        response(Connection=None),
        response(Connection="keep-alive"),
        response(Sec_WebSocket_Accept=None),
        response(Sec_WebSocket_Accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        response(Sec_WebSocket_Accept="ÿ"),
        response(sec_websocket_accept=ACCEPT),
        response(Sec_WebSocket_Extensions="permessage-deflate"),
        response(Sec_WebSocket_Protocol="chat"),
        response() + b"\r\n folded",
    ],
)
def test_wrong_answers(head: bytes) -> None:
    with pytest.raises(HeadError):
        check_response(head, KEY)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "the server answered 404 Not Found: wrong path?"),
        (401, "the server answered 401 Unauthorized: it wants credentials"),
        (429, "the server answered 429 Too Many Requests: it is asked too often"),
        (301, "the server answered 301 Moved Permanently: it redirects; write the URL that it redirects to"),
        (200, "the server answered 200 OK"),
        (799, "the server answered 799"),
    ],
)
def test_refusals_say_the_status(status: int, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_response(response(f"HTTP/1.1 {status} \x1b[31mevil"), KEY)
    assert str(caught.value) == text
    assert caught.value.status == status


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda junk: response() + b"\r\n" + junk, st.binary(max_size=60)))
def test_any_answer_is_taken_or_refused(head: bytes) -> None:
    try:
        check_response(head, KEY)
    except ProtocolError:
        return
    assert ACCEPT.encode() in head


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 405, 407, 410, 426])
def test_where_only_a_person_can_mend_it_there_is_no_use_in_asking_soon(status: int) -> None:
    assert RefusedError(status).retry_after == MISCONFIGURED


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503])
def test_other_answers_may_change_at_any_time(status: int) -> None:
    assert RefusedError(status).retry_after is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("٣", None),
        ("Fri, 99 Zzz 1 x", None),
    ],
)
def test_the_server_may_say_itself_when(text: str, seconds: float | None) -> None:
    with pytest.raises(RefusedError) as caught:
        check_response(response("HTTP/1.1 503 Service Unavailable", Retry_After=text), KEY)
    assert caught.value.retry_after == seconds


def test_a_date_is_counted_from_now() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    assert RefusedError(429, date).retry_after == pytest.approx(120, abs=30)
