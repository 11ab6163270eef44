"""Writes the inputs that the corpus began with: ``python -m fuzz.seeds`` in `tests`. Files that are there already, and findings, stay.

What our own encoders make, the examples of the RFCs, and the edges of what is allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fuzz.shadowsocks import FOREIGN, NAMES, SECRET
from fuzz.targets import CORPUS
from fuzz.upgrade import KEY, PATH

from outline_lb.base.address import Address, encode_address
from outline_lb_cipher_aead.chunks import ChunkSealer
from outline_lb_cipher_aead.key import SaltMark, master_key
from outline_lb_cipher_aead.method import METHODS
from outline_lb_websocket.client_handshake import build_request
from outline_lb_websocket.server_handshake import answer

ROOT = Path(__file__).resolve().parents[2]
Seeds = Mapping[str, bytes]

NAME = encode_address(Address("example.com", 443))
IPV4 = encode_address(Address("192.0.2.1", 80))
IPV6 = encode_address(Address(str(ipaddress.IPv6Address("2001:db8::1")), 65535))
ADDRESSES = {
    "name": NAME,
    "ipv4": IPV4,
    "ipv6": IPV6,
    "name-of-1": b"\x03\x01a\0\0",
    "name-of-253": b"\x03\xfd" + b".".join([b"a" * 63] * 3 + [b"b" * 61]) + b"\0\x50",
    "name-of-255": b"\x03\xff" + b"a." * 127 + b"a\0\x50",
    "name-empty": b"\x03\0\0\x50",
    "name-with-line-end": b"\x03\x07a\r\nX: y\0\x50",
    "name-with-nul": b"\x03\x03a\0b\0\x50",
    "name-not-ascii": b"\x03\x05\xff\xfe\xc3\xa4b\0\x50",
    "name-is-ipv4": b"\x03\x09127.0.0.1\0\x50",
    "name-is-ipv6-zone": b"\x03\x08fe80::1%e\0\x50",
    "name-is-number": b"\x03\x0a2130706433\0\x50",
    "ipv4-mapped": b"\x04" + bytes(10) + b"\xff\xff\x7f\0\0\x01\0\x50",
    "type-unknown": b"\x02abcd\0\x50",
    "cut": NAME[:-1],
    "with-more": IPV4 + b"GET / HTTP/1.1\r\n\r\n",
}


def socks5() -> Seeds:
    """Greetings, credentials and requests (RFC 1928, RFC 1929)."""
    greeting, request = b"\x05\x01\x00", b"\x05\x01\x00"
    login = b"\x05\x01\x02" + b"\x01\x03ann\x06secret"
    seeds = {f"request-{name}": b"\0" + greeting + request + address for name, address in ADDRESSES.items()}
    seeds |= {
        "greeting": b"\0" + greeting,
        "greeting-of-no-method": b"\0\x05\0",
        "greeting-of-255-methods": b"\0\x05\xff" + bytes(range(255)),
        "greeting-of-socks4": b"\0\x04\x01\0\x50\x7f\0\0\x01\0",
        "greeting-of-http": b"\0GET / HTTP/1.1\r\n\r\n",
        "greeting-of-tls": b"\0\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        "command-bind": b"\0" + greeting + b"\x05\x02\0" + IPV4,
        "command-udp": b"\0" + greeting + b"\x05\x03\0" + IPV4,
        "reserved": b"\0" + greeting + b"\x05\x01\xff" + IPV4,
        "request-version-4": b"\0" + greeting + b"\x04\x01\0" + IPV4,
        "login-right": b"\x03" + login + request + NAME + b"payload",
        "login-wrong": b"\x01" + login + request + NAME,
        "login-empty": b"\x03\x05\x01\x02\x01\0\0" + request + IPV4,
        "login-longest": b"\x03\x05\x01\x02\x01\xff" + b"n" * 255 + b"\xff" + b"p" * 255 + request + IPV6,
        "login-version-5": b"\x03\x05\x01\x02\x05\x03ann\x06secret",
        "login-not-offered": b"\x03" + greeting,
    }
    return seeds


def socks5_udp() -> Seeds:
    """Datagrams to a relay (RFC 1928 section 7), each behind its length."""
    plain = bytes(3)
    datagrams = {
        **{name: plain + address + b"payload" for name, address in ADDRESSES.items()},
        "without-payload": plain + IPV4,
        "fragment": b"\0\0\x01" + IPV4 + b"payload",
        "last-fragment": b"\0\0\x82" + IPV4 + b"payload",
        "reserved": b"\x01\0\0" + IPV4 + b"payload",
        "without-address": plain,
        "empty": b"",
    }
    seeds = {name: _with_length(datagram) for name, datagram in datagrams.items() if len(datagram) < 256}
    seeds["100-targets"] = b"".join(_with_length(plain + IPV4[:-1] + bytes((port,)) + b"payload") for port in range(100))
    seeds["many-targets"] = b"".join(map(_with_length, datagrams.values())) * 2
    return seeds


def _with_length(datagram: bytes) -> bytes:
    return bytes((min(len(datagram), 255),)) + datagram[:255]


def frame(first: int, payload: bytes, mask: bytes = b"", length: bytes | None = None) -> bytes:
    """Return a WebSocket frame, well-formed or not."""
    if length is None:
        size = len(payload)
        length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    if mask:
        length = bytes((length[0] | 0x80,)) + length[1:]
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((first,)) + length + mask + payload


def websocket() -> Seeds:
    """The examples of RFC 6455 section 5.7, and what breaks each rule of section 5."""
    mask = b"\x37\xfa\x21\x3d"
    streams = {
        "hello": frame(0x82, b"Hello"),
        "text": frame(0x81, b"Hello"),
        "fragments": frame(0x02, b"Hel") + frame(0x80, b"lo"),
        "fragments-with-ping": frame(0x02, b"Hel") + frame(0x89, b"ping") + frame(0x00, b"l") + frame(0x80, b"o"),
        "ping": frame(0x89, b"Hello"),
        "ping-of-125": frame(0x89, b"p" * 125) + frame(0x82, b"x"),
        "ping-of-126": frame(0x89, b"p" * 126),
        "ping-fragmented": frame(0x09, b"p"),
        "pong": frame(0x8A, b"Hello") + frame(0x82, b"x"),
        "of-126": frame(0x82, b"m" * 126),
        "of-256": frame(0x82, b"m" * 256),
        "of-0": frame(0x82, b"") + frame(0x82, b"x"),
        "length-not-minimal": frame(0x82, b"abc", length=b"\x7e\0\x03"),
        "length-negative": frame(0x82, b"abc", length=b"\x7f" + b"\xff" * 8),
        "length-huge": frame(0x82, b"abc", length=b"\x7f\0\0\0\xff\0\0\0\0"),
        "length-65536": frame(0x82, b"abc", length=b"\x7f\0\0\0\0\0\x01\0\0"),
        "reserved-bit": frame(0xC2, b"abc"),
        "opcode-3": frame(0x83, b"abc"),
        "opcode-11": frame(0x8B, b"abc"),
        "continuation-of-nothing": frame(0x80, b"abc"),
        "message-in-message": frame(0x02, b"abc") + frame(0x82, b"def"),
        "close": frame(0x82, b"x") + frame(0x88, b"\x03\xe8"),
        "close-empty": frame(0x88, b"") + frame(0x82, b"ignored"),
        "close-of-1": frame(0x88, b"\x03"),
        "close-1005": frame(0x88, b"\x03\xed"),
        "close-1011": frame(0x88, b"\x03\xf3overloaded"),
        "close-not-utf8": frame(0x88, b"\x03\xe8\xc3\x28"),
        "cut-header": frame(0x82, b"m" * 300)[:3],
        "cut-payload": frame(0x82, b"m" * 300)[:200],
    }
    seeds = {f"server-{name}": b"\x06" + data for name, data in streams.items()}
    masked = {
        "hello": frame(0x82, b"Hello", mask),
        "of-0": frame(0x82, b"", mask) + frame(0x82, b"x", mask),
        "of-300": frame(0x82, b"m" * 300, mask),
        "fragments-with-ping": frame(0x02, b"Hel", mask) + frame(0x89, b"ping", b"abcd") + frame(0x80, b"lo", b"\0\0\0\0"),
        "close": frame(0x88, b"\x03\xe8", mask),
        "not-masked": frame(0x82, b"Hello"),
        "cut-mask": frame(0x82, b"Hello", mask)[:4],
    }
    seeds |= {f"client-{name}": b"\x07" + data for name, data in masked.items()}
    seeds |= {
        "limit-of-10": b"\x00" + frame(0x82, b"m" * 11),
        "limit-of-10-in-fragments": b"\x00" + frame(0x02, b"m" * 6) + frame(0x80, b"m" * 5),
        "leftover-masked": b"\x0f" + masked["hello"] * 3,
        "leftover": b"\x0e" + streams["fragments-with-ping"],
        "text-in-fragments": b"\x06" + frame(0x01, b"a\xc3") + frame(0x89, b"p") + frame(0x80, b"\xa4b"),
        "text-not-utf8": b"\x06" + frame(0x82, b"x") + frame(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
        "text-cut-in-character": b"\x06" + frame(0x81, b"\xf0\x9f\x98"),
        "ends-with-empty-fragment": b"\x06" + frame(0x02, b"abc") + frame(0x00, b"") + frame(0x80, b""),
        "empty-messages": b"\x06" + frame(0x81, b"") + frame(0x82, b"") * 20,
    }
    return seeds


def http_request() -> Seeds:
    """Requests as our client and others send them, and what could be read in two ways (RFC 9112)."""
    good = build_request("localhost:8080", PATH, KEY, [("User-Agent", "outline-lb/0.1")])
    chat = (  # RFC 6455 section 1.2
        b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return {
        "ours": good,
        "with-query": good.replace(b" HTTP/1.1", b"?ed=2048 HTTP/1.1", 1),
        "with-early-data": good + b"\x82\x85\0\0\0\0Hello",
        "encoded-otherwise": good.replace(b"%C3%A4", b"%c3%A4").replace(b"secret", b"%73ecret"),
        "rfc": chat,
        "keep-alive-upgrade": good.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
        "get": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "post": good.replace(b"GET", b"POST", 1),
        "http-1.0": b"GET / HTTP/1.0\r\n\r\n",
        "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "absolute": good.replace(PATH.encode(), b"http://localhost:8080" + PATH.encode(), 1),
        "no-host": good.replace(b"Host: localhost:8080\r\n", b""),
        "two-hosts": good.replace(b"Host:", b"Host: a\r\nHost:"),
        "two-keys": good.replace(b"Sec-WebSocket-Key:", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key:"),
        "bad-key": good.replace(KEY.encode(), b"short"),
        "version-8": good.replace(b"Version: 13", b"Version: 8"),
        "origin-foreign": good.replace(b"Host:", b"Origin: https://evil.example\r\nHost:"),
        "origin-bad": good.replace(b"Host:", b"Origin: http://[\r\nHost:"),
        "bare-lf": good.replace(b"\r\n", b"\n"),
        "bare-cr": good.replace(b"\r\nUpgrade", b"\rUpgrade"),
        "nul": good.replace(b"outline", b"out\0line"),
        "obs-fold": good.replace(b"Upgrade: websocket", b"Upgrade:\r\n websocket"),
        "space-before-colon": good.replace(b"Upgrade:", b"Upgrade :"),
        "no-colon": good.replace(b"Upgrade:", b"Upgrade"),
        "not-ascii": good.replace(b"outline", b"\xff\xfe"),
        "101-fields": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
        "one-long-field": b"GET / HTTP/1.1\r\na: " + b"b" * 16_400,
        "longest": b"GET / HTTP/1.1\r\na: " + b"b" * (16 * 1024 - 23) + b"\r\n\r\n",
        "cut": good[:-2],
        "cut-in-line-end": good[:-3],
        "empty-lines": b"\r\n\r\n",
        "percent": good.replace(PATH.encode(), b"/%", 1),
    }


def http_response() -> Seeds:
    """Answers of our server and of others."""
    good = answer(build_request("localhost", PATH, KEY).removesuffix(b"\r\n\r\n"), PATH).response
    return {
        "ours": good,
        "with-leftover": good + b"\x82\x05Hello",
        "no-reason": good.replace(b" Switching Protocols", b""),
        "lower-case": good.replace(b"Upgrade: websocket", b"upgrade: WebSocket"),
        "wrong-accept": good.replace(b"s3pP", b"s3pQ"),
        "accept-not-ascii": good.replace(b"s3pP", b"\xe4"),
        "no-accept": good.replace(b"Accept", b"Other"),
        "extension": good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        "protocol": good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        "other-upgrade": good.replace(b"websocket", b"h2c"),
        **{str(status): b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status for status in (100, 200, 302, 404, 429, 503, 600, 999)},
        "retry-after": b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\n\r\n",
        "retry-after-odd": b"HTTP/1.1 429 Busy\r\nRetry-After: Fri, 31 Dec 9999 23:59:60 GMT\r\n\r\n",
        "retry-after-huge": b"HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
        "http-1.0": b"HTTP/1.0 101 Switching Protocols\r\n\r\n",
        "no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "tls-alert": b"\x15\x03\x01\0\x02\x02\x46",
        "endless": b"HTTP/1.1 101 " + b"a" * 16_400,
    }


def shadowsocks_chunks() -> Seeds:
    """Plans (see `shadowsocks.plan`): whole streams, each kind of damage, and streams that were recorded."""
    sizes = b"\x03" + b"\0\x05" + b"\x3f\xff" + b"\0\x01"
    seeds = {f"three-chunks-{name}": bytes((index,)) + sizes for index, name in enumerate(NAMES)}
    for what, name in enumerate(("changed", "cut", "left-out", "put-in", "doubled")):
        for where in (0, 32, 50, 71, 120):
            seeds[f"{name}-at-{where}"] = b"\0" + b"\x02\0\x05\0\x40" + bytes((what,)) + where.to_bytes(2, "big") + b"\x01"
    return seeds | {f"recorded-{name}": bytes((FOREIGN | index,)) + sealed for index, (name, sealed) in enumerate(recorded())}


def shadowsocks_server() -> Seeds:
    """A header and a plan each."""
    seeds = {f"header-{name}": bytes((len(address),)) + address + b"\0\x01\0\x05" for name, address in ADDRESSES.items() if len(address) < 256}
    seeds |= {f"method-{name}": bytes((len(NAME),)) + NAME + bytes((index,)) + b"\x02\0\x05\0\x40" for index, name in enumerate(NAMES)}
    for where in (0, 32, 50, 90, 110):
        seeds[f"changed-at-{where}"] = bytes((len(NAME),)) + NAME + b"\0\x02\0\x05\0\x40\0" + where.to_bytes(2, "big") + b"\x01"
    method = METHODS[NAMES[0]]
    own = SaltMark(SECRET, method.size).new_salt()
    seeds["our-own-salt"] = b"\0" + bytes((FOREIGN,)) + seal(NAMES[0], own, NAME)
    seeds["nonsense"] = b"\0" + bytes((FOREIGN,)) + bytes(range(200))
    seeds["only-empty-chunks"] = b"\0\0\x03\0\0\0\0\0\0"
    return seeds | {f"recorded-{name}": b"\0" + bytes((FOREIGN | index,)) + sealed for index, (name, sealed) in enumerate(recorded())}


def shadowsocks_packets() -> Seeds:
    """Plans (see `shadowsocks.packets`): packets with each address and method, each kind of damage, and foreign datagrams."""
    seeds = {f"address-{name}": bytes((0, min(len(address) + 5, 255))) + address + b"hello" for name, address in ADDRESSES.items()}
    seeds |= {f"method-{name}": bytes((index, len(IPV6))) + IPV6 for index, name in enumerate(NAMES)}
    for what, name in enumerate(("changed", "cut", "left-out", "put-in", "doubled")):
        for where in (0, 31, 32, 40, 58):
            seeds[f"{name}-at-{where}"] = bytes((0, len(IPV4) + 4)) + IPV4 + b"data" + bytes((what,)) + where.to_bytes(2, "big") + b"\x01"
    seeds |= {f"foreign-{name}": bytes((FOREIGN | index,)) + b"\xee" * METHODS[name].size + bytes(range(60)) for index, name in enumerate(NAMES)}
    return seeds | {
        "nothing-sealed": b"\0\0",
        "empty": bytes((FOREIGN,)),
        "salt-alone": bytes((FOREIGN,)) + bytes(32),
        "tag-alone": bytes((FOREIGN,)) + bytes(48),
    }


def recorded() -> Iterator[tuple[str, bytes]]:
    """Yield a stream of each method as it stands on the wire."""
    for name in NAMES:
        yield name, seal(name, bytes(range(METHODS[name].size)), NAME)


def seal(name: str, salt: bytes, header: bytes) -> bytes:
    """Seal ``hello`` behind a header."""
    room = memoryview(bytearray(1000))
    return bytes(room[: ChunkSealer(METHODS[name], master_key(SECRET, METHODS[name].size), salt, header).seal_into(b"hello", room)])


def config() -> Iterator[tuple[str, bytes]]:
    """Yield the examples of the documentation, and what YAML can be made to do."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        blocks = page.read_text("utf-8").split("```yaml\n")[1:]
        for index, block in enumerate(blocks):
            yield f"{page.stem}-{index}", block.partition("```")[0].encode()
    small = b"version: 1\nfrontends: {local: {type: socks5, listen: '127.0.0.1:0'}}\nupstreams: {a: {tcp: 'wss://a.example/path', secret: s}}\n"
    yield "small", small
    yield "small-crlf", small.replace(b"\n", b"\r\n")
    yield "bom", b"\xef\xbb\xbf" + small
    yield "json", b'{"version": 1, "upstreams": {"\\ud83d\\ude00": {"transport": "direct"}}, "frontends": {}}'
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    yield "bomb", bomb.encode()
    yield "merge-bomb", b"a: &a {b: 1}\n" + b"".join(b"a%d: &b%d {<<: [*a, *a]}\n" % (i, i) for i in range(50))
    yield "deep", b"a: " + b"[" * 100 + b"]" * 100
    yield "deep-block", b"".join(b" " * i + b"a:\n" for i in range(100))
    yield "alias-of-itself", b"a: &a [*a]\n"
    yield "python", b"a: !!python/object/apply:os.system [true]\n"
    yield "directive", b"%YAML 1.1\n---\na: 1\n"
    yield "twice", b"version: 1\nversion: 1\n"
    yield "two-documents", b"version: 1\n---\nversion: 1\n"
    yield "tab", b"version: 1\nfrontends:\n\ta: 1\n"
    yield "nul", b"version: 1\0\n"
    yield "not-utf8", b"version: \xff\n"
    yield "surrogate", b'version: "\\ud800"\n'
    yield "escape-beyond-unicode", b'a: "\\U00110000"\n'
    yield "list", b"- a\n"
    yield "empty", b""
    yield "only-comment", b"# nothing\n"
    yield "numbers", b"version: 1e999\na: 0x" + b"f" * 50 + b"\nb: " + b"9" * 400 + b"\nc: .inf\nd: -0\n"
    yield "line-ends", "version: 1\u2028a: 1\x85b: 1\n".encode()
    yield "quotes-open", b'a: "b\n'
    yield "complex-key", b"? [a]\n: b\n"
    yield "block", b"a: |2-\n   x\nb: >+\n  y\n\n"
    wrong = b"{a: 5, '': {}, b: {weight: -1, tcp: 'http://u:p@h/#f', cipher: nonsense}}"
    yield "everything-wrong", b"version: x\nfrontends: [1]\nupstreams: " + wrong + b"\nnonsense: {}\n"
    yield "durations", small + b"pools: {main: {connect_timeout: 0s, health: {interval: 1m30s, timeout: '\xd9\xa1s', cooldown: 5}}}\n"


TEXTS: Mapping[str, Iterable[str]] = {
    "address-text": [
        *("127.0.0.1:1080", "[::1]:1080", "localhost:0", ":1080", "a:65536", "a:-1", "a:٣", "[1.2.3.4]:1", "::1:1", "[fe80::1%eth0]:1", "a..b:1"),
        *("1.2.3.4.:1", "[::ffff:1.2.3.4]:1", "a" * 64 + ":1", "01.2.3.4:5", "[::1]:", "a\r\n:1", "é:1", "[]:1", "[:1", "0x7f.1:80"),
    ],
    "url": [
        *(
            "wss://a.example/secret/tcp",
            "ws://[::1]:8080/",
            "WSS://A.EXAMPLE:443",
            "https://a?b=c",
            "tcp://a:1",
            "tcp://a",
            "ws://u:p@a/",
            "ws://a/#f",
        ),
        *("ws://a:99999/", "ws://[::1", "ws://[::1]x/", "//a/b", "ws:///b", "ws://a/ä", "ws://a/b c", "ws://a\t/b", "ws://a:/b", "ws://a/%00?%20"),
        *("ws://[v1.a]/", "ws://a\\b/", "ws://a/;x?y?z", "ws://a@/", "ws://[::1%25e]/", "ws://a/#"),
    ],
    "duration": [
        *("20ms", "5s", "1m30s", "2h", "1.5s", "0s", "99999h9999999m999999999.999999999s999999999999ms", "", "5", "s", "1s1m", "١s", "5s\n", "-1s"),
        *("1e3s", "1.s", "100000h"),
    ],
    "override": [
        *("pools.main.health.interval=2s", "/pools/main/upstreams/1/weight=3", 'users."j.doe"=x', "a=b=c", "a.0.b=1", "pools.main.upstreams=[a, b]"),
        *("upstreams.a.secret.env=NAME", 'a="x', "a={b: *c}", "/=", "/~1~0/~=1", "=", "a", "pools.main.upstreams.1=b", "upstreams.b.secret=s"),
        *("a=" + "[" * 80, "a.b.c.d.e.f.g=", "/pools/main/upstreams/99999=a", "a=[::1]:1", "a=!!x 1"),
    ],
}


def write(name: str, seeds: Mapping[str, bytes]) -> None:
    """Write the files of a target that are not there yet."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for title, data in seeds.items():
        file = folder / title
        if not file.exists():
            file.write_bytes(data)


def main() -> None:
    """Write everything."""
    write("socks5", socks5())
    write("socks5-udp", socks5_udp())
    write("address", ADDRESSES)
    write("websocket", websocket())
    write("websocket-messages", websocket())
    write("http-request", http_request())
    write("http-response", http_response())
    write("shadowsocks-chunks", shadowsocks_chunks())
    write("shadowsocks-server", shadowsocks_server())
    write("shadowsocks-packets", shadowsocks_packets())
    write("config", dict(config()))
    for name, texts in TEXTS.items():
        write(name, {f"{index:02}": text.encode() for index, text in enumerate(texts)})


if __name__ == "__main__":
    main()
