from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.client_handshake import build_request, check_response
from outline_lb_websocket.head import Head, HeadError, HeadTooLargeError, split_head
from outline_lb_websocket.key import new_key
from outline_lb_websocket.server_handshake import Answer, answer, answer_malformed

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = {"Host": "example.com", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}


def request(line: str = "GET /secret HTTP/1.1", **changes: str | None) -> bytes:
    """A good request, with fields replaced, added or (None) left out; an underscore stands for a dash."""
    fields: dict[str, str | None] = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]).encode()


def parts(reply: Answer) -> tuple[Head, bytes]:
    split = split_head(reply.response)
    assert split
    return Head.parse(split[0]), split[1]


def test_accepts_with_four_lines() -> None:
    reply = answer(request(), "/secret")
    assert reply.accepted
    assert reply.response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_both_halves_understand_each_other() -> None:
    key = new_key()
    split = split_head(build_request("[::1]:1", "/a?b=c", key, [("User-Agent", "x")]))
    assert split
    reply = split_head(answer(split[0], "/a").response)
    assert reply
    check_response(reply[0], key)


@pytest.mark.parametrize(
    "head",
    [
        request("GET /secret?ed=2048 HTTP/1.1"),
        request("GET /s%65cret HTTP/1.1"),
        request(Connection="keep-alive, Upgrade", Upgrade="WebSocket"),
        request(Origin="https://EXAMPLE.com"),
        request(Sec_WebSocket_Protocol="chat", Sec_WebSocket_Extensions="permessage-deflate"),
    ],
)
def test_other_good_requests(head: bytes) -> None:
    assert answer(head, "/secret").accepted


@pytest.mark.parametrize(
    ("head", "status", "body"),
    [
        (request("GET / HTTP/1.1"), 404, b"404 page not found\n"),
        (request("GET /secret/ HTTP/1.1"), 404, b"404 page not found\n"),
        (request("GET /Secret HTTP/1.1"), 404, b"404 page not found\n"),
        (request("POST /other HTTP/1.1", Upgrade=None), 404, b"404 page not found\n"),
        (request(Upgrade=None), 400, b"Bad Request\n"),
        (request(Connection=None), 400, b"Bad Request\n"),
        (request("POST /secret HTTP/1.1", Upgrade=None), 400, b"Bad Request\n"),
        (request(Upgrade="h2c"), 400, b"Bad Request\n"),
        (request(Sec_WebSocket_Version="8"), 400, b"Bad Request\n"),
        (request(Sec_WebSocket_Version=None), 400, b"Bad Request\n"),
        (request(Sec_WebSocket_Key=None), 400, b"Bad Request\n"),
        (request(Sec_WebSocket_Key="AAAA"), 400, b"Bad Request\n"),
        (request(sec_websocket_key=KEY), 400, b"Bad Request\n"),
        (request("POST /secret HTTP/1.1"), 405, b"Method Not Allowed\n"),
        (request(Origin="https://evil.example"), 403, b"Forbidden\n"),
        (request(Origin="https://example.com:444"), 403, b"Forbidden\n"),
        (request(Origin="null"), 403, b"Forbidden\n"),
        (request(Origin="https://[x"), 403, b"Forbidden\n"),
    ],
)
def test_refusals(head: bytes, status: int, body: bytes) -> None:
    reply = answer(head, "/secret")
    assert not reply.accepted
    assert reply.status == status
    response, rest = parts(reply)
    assert response.start.startswith(f"HTTP/1.1 {status} ")
    assert rest == body
    assert response.single("content-type") == "text/plain; charset=utf-8"
    assert response.single("content-length") == str(len(body))
    assert response.single("connection") == "close"
    assert response.values("sec-websocket-version") == ([] if status == 404 else ["13"])


@pytest.mark.parametrize(
    "head",
    [
        request("GET /secret HTTP/1.0"),
        request("GET /secret HTTP/2.0"),
        request("GET http://example.com/secret HTTP/1.1"),
        request("GET  /secret HTTP/1.1"),
        request("GET /secret"),
        request(""),
        request(Host=None),
        request(host="again"),
        request() + b"\r\n folded: x",
        request() + b"\r\nbad name: x",
    ],
)
def test_malformed_requests(head: bytes) -> None:
    reply = answer(head, "/secret")
    assert reply.response == b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
    assert not reply.accepted


def test_head_that_could_not_be_read() -> None:
    assert answer_malformed(HeadError("x")).status == 400
    reply = answer_malformed(HeadTooLargeError("x"))
    assert reply.status == 431
    assert parts(reply)[1] == b"431 Request Header Fields Too Large"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda junk: request() + b"\r\n" + junk, st.binary(max_size=60)))
def test_any_request_gets_an_answer(head: bytes) -> None:
    reply = answer(head, "/secret")
    assert split_head(reply.response)
    assert not reply.accepted or head.startswith(b"GET /secret HTTP/1.1\r\n")
