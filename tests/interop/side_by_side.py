"""What an observer sees of the real outline-ss-server (v1.9.2), and of ours; and the page of the documentation that is made from it.

``PYTHONPATH=tests .venv/bin/python -m interop.side_by_side`` writes docs/explanation/beside-the-real-server.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interop.probes import CODES, WRONG_CODES

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "beside-the-real-server.md"
COMMAND: Final = "PYTHONPATH=tests .venv/bin/python -m interop.side_by_side"


@dataclass(frozen=True)
class Row:
    """Probes with the same outcome.

    :param kind: who does it
    :param names: what is done
    :param theirs: what the real server does; ``{}`` stands for the number in the name
    :param ours: what ours does; empty: the same
    :param why: they differ
    """

    kind: str
    names: tuple[str, ...]
    theirs: str
    ours: str = ""
    why: str = ""

    def expected(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield each probe with what is expected of the two servers."""
        for name in self.names:
            number = "".join(re.findall(r"\d+", name)[:1])
            yield f"{self.kind}: {name}", (self.theirs.replace("{}", number), (self.ours or self.theirs).replace("{}", number))


def _close(*codes: int, wrong: bool = False) -> tuple[str, ...]:
    return tuple(f"Close {code}{', which must not be sent' if wrong else ''}" for code in codes)


# -- words that come often

NOT_FOUND = '404 Not Found "404 page not found"'
BAD = '400 Bad Request "Bad Request"'
LAST_NOT_FOUND = '404 Not Found [..., Connection: close] "404 page not found"'
TOO_LARGE = (
    "at once: 431 Request Header Fields Too Large [Content-Type: text/plain; charset=utf-8, Connection: close] "
    '"431 Request Header Fields Too Large", FIN'
)
OPENED = "at once: 101; open"
TARPIT = "after 59 s: Close 1000, FIN"
ENDED = "at once: Close 1000, FIN"
ANSWERED = "at once: 32 B, Close 1000, FIN; target: FIN after 5 B"
CUT = "at once: RST; target: RST after 5 B"
REFUSED = "at once: Close 1002, FIN"


def _malformed(what: str = "") -> str:
    status = f"400 Bad Request{what and ': '}{what}"
    return f'at once: {status} [Content-Type: text/plain; charset=utf-8, Connection: close] "{status}", FIN'


MALFORMED = _malformed()


def _redirect(to: str) -> str:
    head = f"307 Temporary Redirect [Content-Type: text/html; charset=utf-8, Location: {to}, Date, Content-Length]"
    return f'at once: {head} "<a href="{to}">Temporary Redirect</a>."; open'


FRONT = "We refuse what no WebSocket client sends. A front answers such requests itself."
SAME_KEY = "Whoever knows the path has the access key, since both stand in the same key; so nothing is learned."
ONE_PATH = "Go's router leads to the path without what is superfluous. Our router has one path, so there is nothing to clean."
BOUND = "Memory and descriptors of a server are bounded, whatever strangers do."
PATIENCE = f"{BOUND} `handshake_timeout` says how long, for all requests together."
CUT_IS_CUT = "A stream that was cut must not look complete (promise 1): we pass on the reset, the real server makes a clean end of it."
DAMAGED = "The target got less than was sent, so it sees a reset (promise 1); an answer is of no use then."
BROKEN = "Who broke the protocol has not ended: the target sees a reset (promise 1), where the real server makes a clean end of it."

TABLE: Final = (
    # -- HTTP
    Row(
        "HTTP",
        ("the path with a query", "Origin of the same site", "Connection: keep-alive, Upgrade", "subprotocol and extension offered"),
        OPENED,
    ),
    Row("HTTP", ("the path as a whole URL",), OPENED),
    Row(
        "HTTP",
        (
            "no HTTP",
            "a header field without a colon",
            "two Hosts",
            "a greeting of SSH",
            "noise with an LF",
            "an end behind half a request",
            "an end behind a TLS greeting",
        ),
        MALFORMED,
    ),
    Row("HTTP", ("no Host",), _malformed("missing required Host header")),
    Row("HTTP", ("a Host that cannot be",), _malformed("malformed Host header")),
    Row("HTTP", ("a TLS greeting", "POST whose body does not come"), "open"),
    Row("HTTP", ("early data behind the request", "an end, and nothing else"), "at once: FIN"),
    Row(
        "HTTP",
        (
            "wrong path",
            "wrong path, no upgrade",
            "wrong path as a whole URL",
            "the path with a slash behind it",
            "the path in capitals",
            "POST without upgrade to a wrong path",
        ),
        f"at once: {NOT_FOUND}; open",
    ),
    Row("HTTP", ("an end behind a request",), f"at once: {NOT_FOUND}, FIN"),
    Row(
        "HTTP",
        ("Connection: close to a wrong path", "POST of 500,000 B", "POST that waits for 100 Continue"),
        f"at once: {LAST_NOT_FOUND}, FIN",
    ),
    Row("HTTP", ("HEAD to a wrong path",), "at once: 404 Not Found; open"),
    Row("HTTP", ("a request to a wrong path, then the right one",), f"at once: {NOT_FOUND}; 101; open"),
    Row(
        "HTTP",
        (
            "GET without upgrade",
            "POST without upgrade",
            "no version of WebSocket",
            "version 8 of WebSocket",
            "no key",
            "key of 15 bytes",
        ),
        f"at once: {BAD}; open",
    ),
    Row("HTTP", ("HEAD without upgrade",), "at once: 400 Bad Request; open"),
    Row("HTTP", ("POST with upgrade",), 'at once: 405 Method Not Allowed "Method Not Allowed"; open'),
    Row("HTTP", ("Origin of another site", "Origin null"), 'at once: 403 Forbidden "Forbidden"; open'),
    Row("HTTP", ("three requests on one connection", "three requests at once"), f"at once: {BAD}; {NOT_FOUND}; {BAD}; open"),
    Row("HTTP", ("wrong path with two slashes",), _redirect("/other"), f"at once: {NOT_FOUND}; open", ONE_PATH),
    Row(
        "HTTP",
        ("the path with another before it", "the path with two slashes"),
        _redirect("/SECRET_PATH/tcp"),
        f"at once: {NOT_FOUND}; open",
        ONE_PATH,
    ),
    Row(
        "HTTP",
        ("POST in chunks",),
        f"at once: {NOT_FOUND}; open",
        f"at once: {LAST_NOT_FOUND}, FIN",
        "We do not look for the end of a body in chunks, so no request can follow it.",
    ),
    Row(
        "HTTP",
        ("the path, percent-encoded",),
        f"at once: {NOT_FOUND}; open",
        OPENED,
        "To us an encoded character is the same as the character (RFC 3986 section 6.2.2.2). Only for who knows the path.",
    ),
    Row("HTTP", ("OPTIONS *",), "at once: 200 OK [Content-Length, Date]; open", MALFORMED, FRONT),
    Row("HTTP", ("CONNECT",), f"at once: {NOT_FOUND}; open", MALFORMED, FRONT),
    Row("HTTP", ("HTTP/1.0",), OPENED, MALFORMED, "RFC 6455 section 4.2.1 wants HTTP/1.1."),
    Row("HTTP", ("HTTP/1.0 without upgrade",), f"at once: HTTP/1.0 {BAD}, FIN", MALFORMED, FRONT),
    Row("HTTP", ("HTTP/2 preface",), "at once: 400 Bad Request [Connection: close, Date, Content-Length], FIN", MALFORMED, FRONT),
    Row(
        "HTTP",
        ("lines that end with LF",),
        f"at once: {BAD}; open",
        MALFORMED,
        "What could be read in two ways, we refuse: requests were smuggled so.",
    ),
    Row("HTTP", ("a header of 20 KB", "150 header fields"), OPENED, TOO_LARGE, f"{BOUND} Go's limit is 1 MB."),
    Row("HTTP", ("nothing behind an answer",), f"at once: {NOT_FOUND}; open", f"at once: {NOT_FOUND}; after 10 s: FIN", PATIENCE),
    Row("HTTP", ("half a request", "a request that never comes"), "open", "after 10 s: RST", PATIENCE),
    # -- strangers with a WebSocket
    Row(
        "stranger",
        (
            "idle",
            *(f"{size:,} random bytes" for size in (20, 49, 50, 51, 1000, 100_000)),
            "wrong key",
            "empty message",
            "Pong that nobody asked for",
            "half a frame",
            "server's salt reflected",
        ),
        TARPIT,
    ),
    Row("stranger", ("replayed salt",), f"{TARPIT}; target: FIN after 5 B"),
    Row("stranger", ("Ping", "100 random bytes, then Ping"), f'at once: Pong "hello"; {TARPIT}'),
    Row(
        "stranger",
        (
            "20 random bytes, then TCP shutdown",
            "100 random bytes, then TCP shutdown",
            "100 random bytes, then Close 1000",
            "TCP shutdown",
            *_close(*(code for code in CODES if code != 1014)),
            'Close 1000 "bye"',
            "Close empty",
        ),
        ENDED,
    ),
    Row("stranger", ("TCP shutdown inside a frame",), ENDED, "at once: RST", SAME_KEY),
    Row("stranger", ("text message",), TARPIT, "at once: Close 1003, FIN", SAME_KEY),
    Row(
        "stranger",
        ("100 random bytes, then a text message",),
        ENDED,
        "at once: Close 1003, FIN",
        SAME_KEY,
    ),
    *(
        Row("stranger", names, f'at once: Close 1002 "{reason}", FIN', REFUSED, SAME_KEY)
        for names, reason in (
            (("unmasked frame", "100 random bytes, then an unmasked frame"), "bad MASK"),
            (("reserved bit",), "RSV1 set"),
            (("unknown opcode 3", "unknown opcode 11"), "bad opcode {}"),
            (("continuation of nothing",), "continuation after FIN"),
            (("a message inside a message",), "data before FIN"),
            (("fragmented Ping",), "FIN not set on control"),
            (("Ping of 126 bytes",), "len > 125 for control"),
            (_close(*WRONG_CODES, wrong=True), "bad close code {}"),
        )
    ),
    Row("stranger", ("length of 64 bits with the first one set",), ENDED, REFUSED, SAME_KEY),
    Row("stranger", ("length that is not minimal",), TARPIT, REFUSED, SAME_KEY),
    Row(
        "stranger",
        ("a message of 2 MiB begins",),
        TARPIT,
        "at once: Close 1009, FIN",
        SAME_KEY,
    ),
    Row("stranger", _close(1014), 'at once: Close 1002 "bad close code 1014", FIN', ENDED, SAME_KEY),
    Row("stranger", ("Close of 1 byte",), ENDED, REFUSED, SAME_KEY),
    Row(
        "stranger",
        ("Close 1000 with a reason that is not UTF-8",),
        'at once: Close 1002 "invalid utf8 payload in close frame", FIN',
        "at once: Close 1007, FIN",
        SAME_KEY,
    ),
    # -- strangers without a WebSocket
    Row(
        "plain stranger",
        (
            "idle",
            *(f"{size:,} random bytes" for size in (1, 49, 50, 51, 1000, 100_000)),
            "a request of HTTP",
            "server's salt reflected",
        ),
        "after 59 s: FIN",
    ),
    Row("plain stranger", ("replayed salt",), "after 59 s: FIN; target: FIN after 5 B"),
    Row("plain stranger", ("20 random bytes, then TCP shutdown", "100 random bytes, then TCP shutdown", "TCP shutdown"), "at once: FIN"),
    # -- users
    Row(
        "user",
        ("Close 1000, then 100,000 B of answer", "TCP shutdown without Close, then 100,000 B of answer"),
        "at once: 100,000 B, Close 1000, FIN; target: FIN after 5 B",
    ),
    Row("user", ("the target ends first",), "at once: 1,000 B, Close 1000; open; target: open"),
    Row("user", ("the target ends first, then 5 B, then Close 1000",), "at once: 1,000 B, Close 1000, FIN; target: FIN after 10 B"),
    Row("user", ("refused target", "private target"), f"{ENDED}; target: nobody"),
    Row("user", ("idle after an answer",), "at once: 1,000 B; open; target: open"),
    Row("user", ("Ping",), 'at once: 1,000 B, Pong "hello"; open; target: open'),
    Row("user", ("three Pings at once",), 'at once: 1,000 B, Pong "1", Pong "2", Pong ""; open; target: open'),
    Row("user", ("fragments with Pings between them",), 'at once: Pong "1", Pong "2", 32 B, Close 1000, FIN; target: FIN after 3,005 B'),
    Row("user", ("half an address, then nothing",), TARPIT),
    Row("user", ("a message of 1 MiB",), "at once: 32 B, Close 1000, FIN; target: FIN after 1,032,134 B"),
    Row("user", ("Pong that nobody asked for",), "open; target: open"),
    Row(
        "user",
        ("Close 1000, then more data", *_close(*(code for code in CODES if code != 1014)), 'Close 1000 "bye"', "Close empty"),
        ANSWERED,
    ),
    Row("user", ("target reset",), "at once: 1,000 B, Close 1000; open; target: reset it", "at once: 1,000 B, RST; target: reset it", CUT_IS_CUT),
    Row("user", ("reset by the client",), "target: FIN after 5 B", "target: RST after 5 B", CUT_IS_CUT),
    Row("user", ("Close inside a chunk",), ANSWERED, CUT, CUT_IS_CUT),
    Row("user", ("a damaged chunk", "a damaged chunk, then 17 B"), "open; target: open"),
    Row("user", ("a damaged chunk, then the target speaks",), "at once: 1,000 B; open; target: open"),
    Row(
        "user",
        ("a damaged chunk, then Close 1000", "a damaged chunk, then 18 B", "a chunk with a damaged length", "half a frame"),
        ANSWERED,
        f"{ENDED}; target: RST after 5 B",
        DAMAGED,
    ),
    Row("user", ("address of an unknown type",), "open", TARPIT, BOUND),
    Row(
        "user",
        ("empty message",),
        ANSWERED,
        "open; target: open",
        "Nothing is nothing (RFC 6455 knows no other meaning); to Go's reader it is an end.",
    ),
    Row(
        "user",
        ("a message of 1.5 MiB",),
        "at once: 32 B, Close 1000, FIN; target: FIN after 1,556,390 B",
        "at once: Close 1009, FIN; target: RST after 5 B",
        "We have a limit of 1 MiB. Outline's clients send a message for each chunk.",
    ),
    Row(
        "user",
        ("longest message of 8 MiB from the target",),
        "8,388,608 B, each message at most 16,449 B",
        "8,388,608 B, each message longer than 16,449 B",
        "Up to eight chunks share a message, which costs less. Inside TLS nobody sees where messages end.",
    ),
    Row("user", ("text message",), "open; target: open", "at once: Close 1003, FIN; target: RST after 5 B", BROKEN),
    *(
        Row("user", names, f'at once: Close 1002 "{reason}", FIN; target: FIN after 5 B', f"{REFUSED}; target: RST after 5 B", BROKEN)
        for names, reason in (
            (("unmasked frame",), "bad MASK"),
            (("reserved bit",), "RSV1 set"),
            (("unknown opcode 3", "unknown opcode 11"), "bad opcode {}"),
            (("continuation of nothing",), "continuation after FIN"),
            (("a message inside a message",), "data before FIN"),
            (("fragmented Ping",), "FIN not set on control"),
            (("Ping of 126 bytes",), "len > 125 for control"),
            (_close(*WRONG_CODES, wrong=True), "bad close code {}"),
        )
    ),
    Row(
        "user",
        ("length of 64 bits with the first one set", "length that is not minimal", "Close of 1 byte"),
        ANSWERED,
        f"{REFUSED}; target: RST after 5 B",
        BROKEN,
    ),
    Row("user", ("a message of 2 MiB begins",), ANSWERED, "at once: Close 1009, FIN; target: RST after 5 B", BROKEN),
    Row("user", _close(1014), 'at once: Close 1002 "bad close code 1014", FIN; target: FIN after 5 B', ANSWERED, SAME_KEY),
    Row(
        "user",
        ("Close 1000 with a reason that is not UTF-8",),
        'at once: Close 1002 "invalid utf8 payload in close frame", FIN; target: FIN after 5 B',
        "at once: Close 1007, FIN; target: RST after 5 B",
        BROKEN,
    ),
    # -- users without a WebSocket
    Row("plain user", ("TCP shutdown, then 100,000 B of answer",), "at once: 100,000 B, FIN; target: FIN after 5 B"),
    Row("plain user", ("the target ends first",), "at once: 1,000 B, FIN; target: open"),
    Row("plain user", ("refused target",), "at once: FIN; target: nobody"),
    Row("plain user", ("target reset",), "at once: 1,000 B, FIN; target: reset it", "at once: 1,000 B, RST; target: reset it", CUT_IS_CUT),
    Row("plain user", ("a damaged chunk", "a damaged chunk, then 17 B"), "open; target: open"),
    Row("plain user", ("a damaged chunk, then the target speaks",), "at once: 1,000 B; open; target: open"),
    Row(
        "plain user",
        ("a damaged chunk, then TCP shutdown", "a damaged chunk, then 18 B", "a chunk with a damaged length"),
        "at once: 32 B, FIN; target: FIN after 5 B",
        "at once: FIN; target: RST after 5 B",
        DAMAGED,
    ),
    Row("plain user", ("half an address, then nothing", "address of an unknown type"), "open", "after 59 s: FIN", BOUND),
)

EXPECTED: Final = {name: both for row in TABLE for name, both in row.expected()}
"""Every probe, with what is expected of the real server and of ours."""

_INTRODUCTION: Final = f"""<!-- Made by `{COMMAND}`: change tests/interop/side_by_side.py instead. -->

# Beside the real server

Outline's own server is `outline-ss-server`, a Go program. Ours speaks the same protocol, and who does not know the key should not be able
to tell which one is there. So one observer, a client by hand that is neither theirs nor ours, tries everything below on both at the same time: the
real server in version 1.9.2, and a frontend `outline-server` with a listener `ws-h1` without TLS.
`tests/interop/test_side_by_side.py` fails if either does anything else than what stands here.

"At once" is within 5 s; "open" means that after more than a minute (6 s for HTTP, 8 s where nothing could still happen) the connection was
open, and nothing more had come. FIN and RST are how the server's end of the TCP connection ended; "target" is what the target saw. `[...]` stands
for the header fields that an error of Go has, too. Targets answer with 32 B after the end of the question, unless something else is said.
"""

_KINDS: Final = {
    "HTTP": ("Requests", "To the listener itself; a front with TLS, as there usually is one, answers most of these by itself."),
    "stranger": ("Strangers", "They know the path, but no key. All of this comes behind the upgrade."),
    "plain stranger": ("Strangers without a WebSocket", "The same on a listener of plain Shadowsocks."),
    "user": ("Users", "They have a key, and a target that got 5 B."),
    "plain user": ("Users without a WebSocket", "The same on a listener of plain Shadowsocks."),
}


def page() -> str:
    """Return the page of the documentation."""
    lines = [_INTRODUCTION]
    for kind, (title, text) in _KINDS.items():
        rows = [row for row in TABLE if row.kind == kind]
        lines += [f"## {title}", "", text, "", "| what | the real server | ours | why |", "|---|---|---|---|"]
        for row in sorted(rows, key=lambda row: bool(row.ours)):
            cells = ("; ".join(row.names), row.theirs.replace("{}", "N"), row.ours.replace("{}", "N") or "the same", row.why)
            lines.append(f"| {' | '.join(cell.replace('<', '&lt;').replace('|', '&#124;') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
