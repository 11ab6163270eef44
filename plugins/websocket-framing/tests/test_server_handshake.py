from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outline_lb_websocket.client_handshake import build_request, check_response
from outline_lb_websocket.head import Head, HeadError, HeadTooLargeError, split_head
from outline_lb_websocket.key import new_key
from outline_lb_websocket.server_handshake import MAX_BODY, Answer, answer, answer_malformed

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


def test_each_path_is_found_and_no_other() -> None:
    for path in ("/secret", "/s%65cret2"):
        reply = answer(request(f"GET {path} HTTP/1.1"), "/secret", "/secret2")
        assert reply.accepted
        assert reply.path == path.replace("%65", "e")
    for path in ("/secret3", "/secre", "/"):
        reply = answer(request(f"GET {path} HTTP/1.1"), "/secret", "/secret2")
        assert reply.status == 404
        assert reply.path == ""
    assert answer(request(), "/secret3", "/secret4").status == 404


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
        request("GET http://example.com/secret HTTP/1.1"),
        request("GET wss://other.example/secret?a=b HTTP/1.1", Origin="https://other.example"),  # RFC 9112 section 3.2.2: not what Host says
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
        (request("GET http://other.example/secret HTTP/1.1", Origin="https://example.com"), 403, b"Forbidden\n"),
        (request("GET http://example.com/other HTTP/1.1"), 404, b"404 page not found\n"),
        (request("GET /other HTTP/1.1", Host=""), 404, b"404 page not found\n"),
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
    assert response.values("connection") == []
    assert (reply.last, reply.body) == (False, 0)
    assert response.values("sec-websocket-version") == ([] if status == 404 else ["13"])


@pytest.mark.parametrize(
    "head",
    [
        request("GET /secret HTTP/1.0"),
        request("GET /secret HTTP/2.0"),
        request("GET example.com/secret HTTP/1.1"),
        request("GET http://example.com HTTP/1.1"),
        request("GET http:/secret HTTP/1.1"),
        request("GET /\x01 HTTP/1.1"),
        request("GET /secret?\x7f HTTP/1.1"),
        request("GET /%6 HTTP/1.1"),
        request("G(T /secret HTTP/1.1"),
        request("GET  /secret HTTP/1.1"),
        request("GET /secret"),
        request(""),
        request(host="again"),
        request(Content_Length="+5"),
        request(Content_Length="5, 5"),
        request(Content_Length="9" * 5000),
        request(Content_Length="5", content_length="6"),
        request() + b"\r\n folded: x",
        request() + b"\r\nbad name: x",
    ],
)
def test_malformed_requests(head: bytes) -> None:
    reply = answer(head, "/secret")
    assert reply.response == b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
    assert not reply.accepted


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (request(Host=None), b"missing required Host header"),
        (request("GET http://example.com/secret HTTP/1.1", Host=None), b"missing required Host header"),
        (request(Host="a b"), b"malformed Host header"),
        (request(Host="a/b"), b"malformed Host header"),
    ],
)
def test_who_does_not_name_the_host_is_told(head: bytes, what: bytes) -> None:
    reply = answer(head, "/secret")
    assert reply.last
    assert reply.response == (
        b"HTTP/1.1 400 Bad Request: %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request: %s" % (what, what)
    )


def test_the_answer_to_head_has_no_body() -> None:
    for path, status, size in (("/secret", 400, "12"), ("/other", 404, "19")):
        response, rest = parts(answer(request(f"HEAD {path} HTTP/1.1", Upgrade=None), "/secret"))
        assert response.start.split()[1] == str(status)
        assert response.single("content-length") == size
        assert rest == b""


@pytest.mark.parametrize("size", [0, 5, MAX_BODY - 1])
def test_a_body_comes_before_the_next_request(size: int) -> None:
    reply = answer(request("POST /other HTTP/1.1", Content_Length=str(size), content_length=str(size)), "/secret")
    assert (reply.status, reply.body, reply.last) == (404, size, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": "close"},
        {"Connection": "Upgrade, CLOSE", "Sec-WebSocket-Version": "8"},
        {"Content-Length": str(MAX_BODY)},
        {"Content-Length": "9" * 18},
        {"Content-Length": "5", "Expect": "100-Continue"},
        {"Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "chunked", "Content-Length": "5"},
    ],
)
def test_the_last_answer_says_so(changes: dict[str, str]) -> None:
    reply = answer(request("POST /secret HTTP/1.1", **changes), "/secret")
    response, rest = parts(reply)
    assert (reply.last, reply.body) == (True, 0)
    assert response.fields[-1] == ("connection", "close")
    assert rest in {b"Method Not Allowed\n", b"Bad Request\n"}


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
    assert reply.last or not reply.accepted
    assert not reply.accepted or head.startswith(b"GET /secret HTTP/1.1\r\n")
