"""What a script is made of. Each is a value, so that a parametrised test can name it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count, repeat

from ...datapath.cipher import ServerCipher
from .frames import CLOSE, accept_of, frame
from .peer import Peer, PeerLeftError

# -- layers


@dataclass(frozen=True)
class Tls:
    """Shake hands as a TLS server. A wrong certificate, an old version: whatever the context says.

    :param context: of a server
    """

    context: ssl.SSLContext

    async def __call__(self, peer: Peer) -> None:
        await peer.secure(self.context)


@dataclass(frozen=True)
class Upgrade:
    """Read the request, and answer it with 101.

    :param accept: Sec-WebSocket-Accept instead of the right one
    :param headers: further header fields, such as an extension that nobody offered
    :param answer_pings: whether pings are answered, as long as the script reads
    """

    accept: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answer_pings: bool = True

    async def __call__(self, peer: Peer) -> None:
        await peer.read_request()
        accept = accept_of(peer.header("Sec-WebSocket-Key")) if self.accept is None else self.accept
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept, **self.headers}
        await peer.wire.send(_head("HTTP/1.1 101 Switching Protocols", fields))
        peer.answers_pings = self.answer_pings
        peer.speak_websocket()


@dataclass(frozen=True)
class Status:
    """Read the request, and answer it with something else than 101.

    :param status: the HTTP status code
    :param headers: further header fields, such as Retry-After
    :param body: what comes with it
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def __call__(self, peer: Peer) -> None:
        await peer.read_request()
        phrase = HTTPStatus(self.status).phrase if self.status in list(HTTPStatus) else ""
        fields = {"Content-Length": str(len(self.body)), **self.headers}
        await peer.wire.send(_head(f"HTTP/1.1 {self.status} {phrase}", fields) + self.body)


@dataclass(frozen=True)
class Shadowsocks:
    """Read the header of the client's stream. From here on payload is sealed and opened.

    :param cipher: with the key
    """

    cipher: ServerCipher

    async def __call__(self, peer: Peer) -> None:
        await peer.accept(self.cipher)


# -- what a good server does


@dataclass(frozen=True)
class Send:
    """Send payload through all layers.

    :param data: the payload
    """

    data: bytes = field(repr=False)

    async def __call__(self, peer: Peer) -> None:
        await peer.send(self.data)


@dataclass(frozen=True)
class Read:
    """Read payload.

    :param size: bytes, those that were read before among them
    """

    size: int

    async def __call__(self, peer: Peer) -> None:
        while len(peer.received) < self.size:
            if not await peer.read():
                raise PeerLeftError(f"the client sent {len(peer.received)} of {self.size} bytes")


@dataclass(frozen=True)
class ReadAll:
    """Read payload until the client has ended its direction."""

    async def __call__(self, peer: Peer) -> None:
        while await peer.read():
            pass


@dataclass(frozen=True)
class Echo:
    """Send back what comes, until the client has ended its direction."""

    async def __call__(self, peer: Peer) -> None:
        while data := await peer.read():
            await peer.send(data)


@dataclass(frozen=True)
class End:
    """End our direction of the connection properly, without a Close frame: close_notify where there is TLS, and FIN."""

    async def __call__(self, peer: Peer) -> None:
        await peer.wire.end()


# -- time


@dataclass(frozen=True)
class Delay:
    """Do nothing for a while.

    :param seconds: of the loop's time
    """

    seconds: float

    async def __call__(self, peer: Peer) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class Until:
    """Do nothing until the test says so.

    :param event: set by the test
    """

    event: asyncio.Event

    async def __call__(self, peer: Peer) -> None:
        await self.event.wait()


@dataclass(frozen=True)
class Stall:
    """Do nothing, for ever: nothing is read either."""

    async def __call__(self, peer: Peer) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Drip:
    """Send bytes one by one, past the layers above TLS.

    :param data: bytes
    :param seconds: between two
    """

    data: bytes
    seconds: float = 1.0

    async def __call__(self, peer: Peer) -> None:
        for byte in self.data:
            await peer.wire.send(bytes((byte,)))
            await asyncio.sleep(self.seconds)


# -- what no server should do


@dataclass(frozen=True)
class Raw:
    """Send bytes past the layers above TLS.

    :param data: bytes
    """

    data: bytes

    async def __call__(self, peer: Peer) -> None:
        await peer.wire.send(self.data)


@dataclass(frozen=True)
class Flood:
    """Send the same bytes again and again, past the layers above TLS, and read nothing.

    :param data: bytes
    :param times: None: until the client is gone
    """

    data: bytes = field(repr=False)
    times: int | None = None

    async def __call__(self, peer: Peer) -> None:
        for _ in count() if self.times is None else repeat(None, self.times):
            await peer.wire.send(self.data)
            await asyncio.sleep(0)  # a client that takes everything must not starve the test


@dataclass(frozen=True)
class Frame:
    """Send a WebSocket frame, which may be wrong; see `frame`.

    :param opcode: any of 16
    :param payload: what follows the header
    :param fin: whether it is the last one of its message
    :param rsv: the three reserved bits
    :param mask: 4 bytes to mask it with
    :param length: what the header claims
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    mask: bytes = b""
    length: int | None = None

    async def __call__(self, peer: Peer) -> None:
        await peer.wire.send(frame(self.opcode, self.payload, fin=self.fin, rsv=self.rsv, mask=self.mask, length=self.length))


@dataclass(frozen=True)
class Close:
    """Send a Close frame, and nothing else: the connection stays.

    :param code: any, whether it may be sent or not; None: an empty frame
    :param reason: which should be UTF-8
    """

    code: int | None = 1000
    reason: bytes = b""

    async def __call__(self, peer: Peer) -> None:
        payload = b"" if self.code is None else self.code.to_bytes(2, "big") + self.reason
        await peer.wire.send(frame(CLOSE, payload))


@dataclass(frozen=True)
class Tampered:
    """Send payload with one bit flipped after it was sealed.

    :param data: the payload
    """

    data: bytes

    async def __call__(self, peer: Peer) -> None:
        await peer.send(self.data, spoil=True)


@dataclass(frozen=True)
class Cut:
    """End our direction of the connection with a FIN, and nothing that announces it."""

    async def __call__(self, peer: Peer) -> None:
        peer.wire.cut()


@dataclass(frozen=True)
class Reset:
    """Reset the connection."""

    async def __call__(self, peer: Peer) -> None:
        peer.wire.reset()


def _head(start: str, fields: Mapping[str, str]) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
