"""The client's half of the upgrade of an HTTP/1.1 connection (RFC 6455 section 4.1)."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from outline_lb.api import ProtocolError

from .head import Head, HeadError
from .key import accept_of

_STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-9][0-9]{2})(?: .*)?", re.ASCII)
MISCONFIGURED: Final = 300.0
"""Seconds before a server is asked again that does not know the path, or wants credentials."""

_FINAL = (401, 403, 404, 405, 407, 410, 426)
_REDIRECTED = ": it redirects; write the URL that it redirects to"
_ADVICE = {401: ": it wants credentials", 404: ": wrong path?", 407: ": it wants credentials", 429: ": it is asked too often"}


class RefusedError(ProtocolError):
    """The server answered, but not with an upgrade.

    :param status: its HTTP status code
    :param retry_after: its Retry-After, as it was sent
    """

    def __init__(self, status: int, retry_after: str = "") -> None:
        advice = _REDIRECTED if 300 <= status < 400 else _ADVICE.get(status, "")
        super().__init__(f"the server answered {status}{_phrase(status)}{advice}")
        self.status = status
        self._retry_after = retry_after

    @property
    def retry_after(self) -> float | None:
        """Seconds in which it is no use to ask again: those of Retry-After (RFC 9110 section 10.2.3), or `MISCONFIGURED` where the answer will be the
        same until somebody mends something; None where neither is so.
        """
        if self._retry_after:
            return _seconds(self._retry_after)
        return MISCONFIGURED if self.status in _FINAL or 300 <= self.status < 400 else None


def _seconds(retry_after: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}", retry_after, re.ASCII):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _phrase(status: int) -> str:
    try:
        return " " + HTTPStatus(status).phrase  # not the server's own, which may be anything
    except ValueError:
        return ""


def build_request(host: str, target: str, key: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the request for an upgrade. No subprotocol and no extension is offered.

    :param host: host of the URL, and its port unless that is the scheme's own
    :param target: path and query
    :param key: a fresh one for each connection
    :param headers: further header fields
    """
    fields = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
        *headers,
    ]
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def check_response(head: bytes, key: str) -> None:
    """Check the answer to a request (section 4.1, the last list).

    :param head: what `split_head` returned
    :param key: the one that was sent
    :raises RefusedError: if it is another one than 101
    :raises HeadError: if it is malformed, or no answer to our request
    """
    response = Head.parse(head)
    status = _STATUS_LINE.fullmatch(response.start)
    if status is None:
        raise HeadError("the server does not speak HTTP/1.1")
    if status[1] != "101":
        raise RefusedError(int(status[1]), next(iter(response.values("retry-after")), ""))
    if "websocket" not in response.tokens("upgrade") or "upgrade" not in response.tokens("connection"):
        raise HeadError("the server upgraded to something else than WebSocket")
    if not hmac.compare_digest(response.single("sec-websocket-accept").encode("latin-1"), accept_of(key).encode()):
        raise HeadError("the server's Sec-WebSocket-Accept does not fit our key")
    if response.tokens("sec-websocket-extensions") or response.tokens("sec-websocket-protocol"):
        raise HeadError("the server chose an extension or a subprotocol that was not offered")
