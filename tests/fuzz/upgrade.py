"""The head of an HTTP/1.1 message: the request for an upgrade, and the answer to it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fuzz.harness import Target, refusal, same_however_split

from outline_lb.base.errors import ProtocolError
from outline_lb_websocket.client_handshake import check_response
from outline_lb_websocket.head import MAX_HEAD, HeadError, split_head
from outline_lb_websocket.server_handshake import answer, answer_malformed

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
PATH = "/secret/p%C3%A4th"

_ANSWER = re.compile(rb"HTTP/1\.1 (101|400|403|404|405|431) [A-Za-z: ]+\r\n(?:[A-Za-z-]+: [^\r\n]+\r\n)+\r\n[^\0]*")
_DATE = re.compile(rb"Date: [^\r]+")


def request(data: bytes) -> None:
    """Answer a request: always one answer, of our own words, and 101 for what asks for it only."""
    outcome = same_however_split(data, _answer)
    if outcome is None:
        return
    status, response, rest = outcome
    assert _ANSWER.fullmatch(response), response
    assert len(response) < 500
    if status == 101:
        assert data.startswith(b"GET ")
        assert data.endswith(b"\r\n\r\n" + rest)
        assert b"sec-websocket-key" in data.lower()


def _answer(pieces: Sequence[bytes]) -> tuple[int, bytes, bytes] | None:
    try:
        found = _wait_for_head(pieces)
    except HeadError as error:
        refusal(error)
        reply, rest = answer_malformed(error), b""
    else:
        if found is None:
            return None
        head, rest = found
        reply = answer(head, PATH)
    assert reply.accepted == (reply.status == 101)
    return reply.status, _DATE.sub(b"Date: now", reply.response), rest


def _wait_for_head(pieces: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """As a connection does: ask again with each piece that comes."""
    data = bytearray()
    for index, piece in enumerate(pieces):
        data += piece
        found = split_head(data)
        if found is not None:
            return found[0], found[1] + b"".join(pieces[index + 1 :])
        assert len(data) < MAX_HEAD
    return None


def response(data: bytes) -> None:
    """Check the answer to a request: it is one, or a protocol error."""
    outcome = same_however_split(data, _check)
    if outcome == "accepted":
        assert data.startswith(b"HTTP/1.1 101")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data


def _check(pieces: Sequence[bytes]) -> str | None:
    try:
        found = _wait_for_head(pieces)
        if found is None:
            return None
        check_response(found[0], KEY)
    except ProtocolError as error:
        return refusal(error)
    return "accepted"


TARGETS = [Target("http-request", request, 20_000), Target("http-response", response, 20_000)]
