"""Looks at the bytes that a server sends: how much payload its TLS records, WebSocket messages and Shadowsocks chunks have."""

from __future__ import annotations

import collections
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from outline_lb.base.address import Address, encode_address
from outline_lb_cipher_aead.chunks import ChunkOpener, ChunkSealer
from outline_lb_cipher_aead.key import master_key
from outline_lb_cipher_aead.method import METHODS

from .processes import BenchError, Workshop
from .servers import SECRET, Endpoint

SIZE: Final = 8_000_000
LIMIT: Final = 30.0
_HEADER: Final = 5  # of a TLS record
_OVERHEAD: Final = 17  # a TLS 1.3 record's content type and tag
_APPLICATION: Final = 0x17

Units = dict[str, int]


def look(workshop: Workshop, server: Endpoint, origin: Address, cipher: str) -> Units:
    """Download a few megabytes, and return for each layer in how large pieces most bytes came.

    :raises BenchError: if they did not all come
    """
    method = METHODS[cipher]
    master = master_key(SECRET.encode(), method.size)
    sealer = ChunkSealer(method, master, os.urandom(method.size), encode_address(origin))
    sealed = memoryview(bytearray(1024))
    sealed = sealed[: sealer.seal_into(b"D" + SIZE.to_bytes(8, "big"), sealed)]
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as sock:
        connection = _Connection(sock, workshop)
        connection.send(
            f"GET {server.path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = connection.receive()
        while b"\r\n\r\n" not in head:
            head += connection.receive()
        connection.records.clear()
        connection.send(bytes((0x82, 0x80 | len(sealed))) + bytes(4) + bytes(sealed))  # RFC 6455 section 5.2; the masking key is 0
        opener, frames = ChunkOpener(method, master), _Frames(head.partition(b"\r\n\r\n")[2])
        messages, chunks = list[int](), list[int]()
        while sum(chunks) < SIZE:
            for payload in frames.feed(connection.receive()):
                messages.append(len(payload))
                chunks += map(len, opener.feed(payload))
    return {"TLS record": _usual(connection.records), "WebSocket message": _usual(messages), "Shadowsocks chunk": _usual(chunks)}


def _usual(sizes: list[int]) -> int:
    """Return the size of which most bytes are."""
    weights: collections.Counter[int] = collections.Counter()
    for size in sizes:
        weights[size] += size
    return weights.most_common(1)[0][0]


class _Connection:
    """TLS of which we see the records."""

    def __init__(self, sock: socket.socket, workshop: Workshop) -> None:
        context = ssl.create_default_context(cafile=str(workshop.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._sock, self._in, self._out = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._rest = b""
        self.records: list[int] = []
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._take()
            else:
                self._flush()
                return

    def send(self, data: bytes) -> None:
        """Send everything."""
        self._tls.write(data)
        self._flush()

    def receive(self) -> bytes:
        """Return what comes next."""
        while True:
            try:
                return self._tls.read(1 << 18)
            except ssl.SSLWantReadError:
                self._take()

    def _flush(self) -> None:
        self._sock.sendall(self._out.read())

    def _take(self) -> None:
        data = self._sock.recv(1 << 18)
        if not data:
            raise BenchError("the server ended the connection early")
        self._in.write(data)
        self._rest += data
        while len(self._rest) >= _HEADER:
            size = int.from_bytes(self._rest[3:5], "big")
            if len(self._rest) < _HEADER + size:
                break
            if self._rest[0] == _APPLICATION:
                self.records.append(size - _OVERHEAD)
            self._rest = self._rest[_HEADER + size :]


class _Frames:
    """The frames of a server, which are not masked; what they mean does not matter here."""

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while len(self._rest) >= 2:
            length, start = self._rest[1], 2
            if length >= 126:
                start = 4 if length == 126 else 10
                length = int.from_bytes(self._rest[2:start], "big")
            if len(self._rest) < start + length:
                return
            yield self._rest[start : start + length]
            self._rest = self._rest[start + length :]
