"""The server's half of the upgrade of an HTTP/1.1 connection (RFC 6455 section 4.2).

A request that cannot be served gets the status, header fields and body that Outline's own server, a Go program, would send.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from .head import Head, HeadError, HeadTooLargeError, is_token
from .key import accept_of, is_key

MAX_BODY: Final = 256 * 1024
"""Bytes of a body from which on the connection ends, instead of waiting for all of it."""

_SWITCHING: Final = 101
_VERSION = "Sec-Websocket-Version: 13\r\n"
_TARGET = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?\0-\x20\x7f]*))?(?P<path>/[^?\0-\x20\x7f]*)(?:\?[^\0-\x20\x7f]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[!$%&'()*+,.:;=\[\]_~0-9A-Za-z-]*")  # RFC 3986 section 3.2.2, the port too
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)


class HostError(HeadError):
    """The request does not name its host as it must (RFC 9112 section 3.2). The client is told the text, too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets.

    :param status: the HTTP status code
    :param response: the bytes to send
    :param body: bytes of the request's body, which come before the next request
    :param last: whether the connection ends after the response, unless the request was accepted
    :param path: which of the paths was accepted
    """

    status: int
    response: bytes
    body: int = 0
    last: bool = True
    path: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the connection is a WebSocket from now on."""
        return self.status == _SWITCHING


def answer(head: bytes, *paths: str) -> Answer:
    """Answer a request.

    :param head: what `split_head` returned
    :param paths: those that there are; the query of a request does not matter
    """
    try:
        request = Head.parse(head)
        method, authority, asked = parse_request_line(request.start)
        host = _host(request)
        body = _body(request)
    except HeadError as exc:
        return answer_malformed(exc)
    path = _find(asked, paths)
    if path is None:
        status, text, field = 404, "404 page not found\n", ""
    else:
        status = _check(request, method, host if authority is None else authority)
        text, field = f"{HTTPStatus(status).phrase}\n", _VERSION
    if status == _SWITCHING and path is not None:
        return _accept(request.single("sec-websocket-key"), path)
    last = body is None or "close" in request.tokens("connection")
    return Answer(status, _refusal(status, field, text, method, last), body or 0, last)


def answer_malformed(error: HeadError) -> Answer:
    """Answer a request whose head could not be read."""
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(error, HeadTooLargeError) else HTTPStatus.BAD_REQUEST
    line = f"{status.value} {status.phrase}{f': {error}' if isinstance(error, HostError) else ''}"
    response = f"HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{line}"
    return Answer(status.value, response.encode())


def parse_request_line(line: str) -> tuple[str, str | None, str]:
    """Read the first line of a request, whose target is a path or, as for a proxy, a whole URL (RFC 9112 section 3.2).

    :return: method, the URL's authority if there is one, and path without query
    :raises HeadError: if it is no request of HTTP/1.1 with such a target
    """
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not is_token(parts[0]):
        raise HeadError("no request line of HTTP/1.1")
    target = _TARGET.fullmatch(parts[1])
    if target is None or _BAD_ESCAPE.search(target["path"]):
        raise HeadError("a request target that is neither a path nor a URL")
    return parts[0], target["authority"], target["path"]


def _find(asked: str, paths: Sequence[str]) -> str | None:
    """Return the path that is meant. All are compared, and each in constant time, for they are secrets."""
    wanted = unquote_to_bytes(asked)
    found = [path for path in paths if hmac.compare_digest(wanted, unquote_to_bytes(path))]
    return found[0] if found else None


def _host(request: Head) -> str:
    """Return the value of Host, which has to be there for every kind of target."""
    if not request.values("host"):
        raise HostError("missing required Host header")
    host = request.single("host")
    if not _HOST.fullmatch(host):
        raise HostError("malformed Host header")
    return host


def _body(request: Head) -> int | None:
    """Return the size of the body (RFC 9112 section 6); None if it is not worth waiting for.

    Its end is not looked for in chunks, and nobody is told to go on who waits for that (RFC 9110 section 10.1.1).
    """
    if request.values("transfer-encoding"):
        return None
    sizes = set(request.values("content-length"))
    if not sizes:
        return 0
    if len(sizes) > 1 or not _SIZE.fullmatch(size := sizes.pop()):
        raise HeadError("no proper Content-Length")
    return None if int(size) >= MAX_BODY or "100-continue" in request.tokens("expect") else int(size)


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


def _accept(key: str, path: str) -> Answer:
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept_of(key)}")
    return Answer(_SWITCHING, ("\r\n".join(lines) + "\r\n\r\n").encode(), path=path)


def _refusal(status: int, field: str, text: str, method: str, last: bool) -> bytes:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    close = "Connection: close\r\n" if last else ""
    response = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n{field}X-Content-Type-Options: nosniff\r\n"
        f"Date: {date}\r\nContent-Length: {len(text)}\r\n{close}\r\n"
    )
    return (response if method == "HEAD" else response + text).encode()  # RFC 9110 section 9.3.2
