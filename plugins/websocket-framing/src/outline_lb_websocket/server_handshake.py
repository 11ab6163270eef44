"""The server's half of the upgrade of an HTTP/1.1 connection (RFC 6455 section 4.2).

A request that cannot be served gets the status, header fields and body that Outline's own server, a Go program, would send.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from .head import Head, HeadError, HeadTooLargeError
from .key import accept_of, is_key

_SWITCHING: Final = 101
_VERSION = "Sec-Websocket-Version: 13\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets.

    :param status: the HTTP status code
    :param response: the bytes to send; the connection ends after them unless the request was accepted
    """

    status: int
    response: bytes

    @property
    def accepted(self) -> bool:
        """Whether the connection is a WebSocket from now on."""
        return self.status == _SWITCHING


def answer(head: bytes, path: str) -> Answer:
    """Answer a request.

    :param head: what `split_head` returned
    :param path: the only one that there is; its query does not matter
    """
    try:
        request = Head.parse(head)
        method, target = _parse_request_line(request.start)
        host = request.single("host")
    except HeadError as exc:
        return answer_malformed(exc)
    if not hmac.compare_digest(unquote_to_bytes(target.partition("?")[0]), unquote_to_bytes(path)):
        return _answer(404, "404 page not found\n")
    status = _check(request, method, host)
    return _accept(request.single("sec-websocket-key")) if status == _SWITCHING else _answer(status, f"{HTTPStatus(status).phrase}\n", _VERSION)


def answer_malformed(error: HeadError) -> Answer:
    """Answer a request whose head could not be read."""
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(error, HeadTooLargeError) else HTTPStatus.BAD_REQUEST
    line = f"{status.value} {status.phrase}"
    response = f"HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{line}"
    return Answer(status.value, response.encode())


def _parse_request_line(line: str) -> tuple[str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        raise HeadError("no request line of HTTP/1.1")
    return parts[0], parts[1]


def _check(request: Head, method: str, host: str) -> int:
    """Return the status that a request for the right path deserves."""
    if "upgrade" not in request.tokens("connection") or "websocket" not in request.tokens("upgrade"):
        return 400
    if method != "GET":
        return 405
    if "13" not in request.tokens("sec-websocket-version"):
        return 400
    if not _same_origin(request, host):
        return 403
    keys = request.values("sec-websocket-key")
    return _SWITCHING if len(keys) == 1 and is_key(keys[0]) else 400


def _same_origin(request: Head, host: str) -> bool:
    """Whether no foreign web page is behind the request (section 10.2)."""
    origins = request.values("origin")
    if not origins:
        return True
    try:
        return urlsplit(origins[0]).netloc.lower() == host.lower()
    except ValueError:
        return False


def _accept(key: str) -> Answer:
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept_of(key)}")
    return Answer(_SWITCHING, ("\r\n".join(lines) + "\r\n\r\n").encode())


def _answer(status: int, body: str, field: str = "") -> Answer:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    response = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n{field}X-Content-Type-Options: nosniff\r\n"
        f"Date: {date}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    )
    return Answer(status, response.encode())
