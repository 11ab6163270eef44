"""One connection to the bad server: its layers, and what was seen of the client."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Final

from ...base.address import Address
from ...base.stream import ROOM
from ...datapath.cipher import Accepted, ServerCipher
from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Received, frame, take_frame
from .wire import Wire

_MAX_HEAD: Final = 64 * 1024


class PeerLeftError(ConnectionError):
    """The client ended before the script was through."""


class Peer:
    """A client, as the server sees it.

    :param wire: the connection
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.over = asyncio.Event()
        """Set when the script is through and the connection is gone."""
        self.trouble: Exception | None = None
        """What ended the script before its end: the client left, or refused the TLS handshake."""
        self.secured = False
        """Whether the TLS handshake was completed, as far as the server can tell."""
        self.request = ""
        """The head of the upgrade request; "" if none came."""
        self.target: Address | None = None
        """Where the client wants to go, once `Shadowsocks` has read that."""
        self.received = bytearray()
        """Payload that the script has read, the client's layers taken off."""
        self.controls: list[Received] = []
        """Control frames that were read: pings, pongs, Close."""
        self.answers_pings = True
        self._buffer = bytearray()  # came, and is no complete frame or head
        self._websocket = False
        self._accepted: Accepted | None = None
        self._kept = b""  # payload that came with the header
        self._ended = False

    @property
    def close_codes(self) -> list[int | None]:
        """The codes of the Close frames that came; None for an empty one."""
        closes = [control.payload for control in self.controls if control.opcode == CLOSE]
        return [int.from_bytes(payload[:2], "big") if payload else None for payload in closes]

    @property
    def ending(self) -> str:
        """How the client ended its direction: ``close_notify``, ``FIN``, ``RST``, or "" if it has not."""
        return self.wire.ending

    async def secure(self, context: ssl.SSLContext) -> None:
        """Put TLS upon the connection; see `Wire.secure`."""
        begun, self._buffer = bytes(self._buffer), bytearray()
        await self.wire.secure(context, begun)
        self.secured = True

    async def read_request(self) -> str:
        """Read the head of the client's HTTP request.

        :raises PeerLeftError: if it does not come
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            assert len(self._buffer) < _MAX_HEAD, "the client's request does not end"
            self._buffer += await self._receive()
        self.request = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        return self.request

    def header(self, name: str) -> str:
        """Return the value of a header field of the request; "" if there is none."""
        for line in self.request.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""

    def speak_websocket(self) -> None:
        """Read and send WebSocket messages from now on."""
        self._websocket = True

    async def accept(self, cipher: ServerCipher) -> None:
        """Read the header of a Shadowsocks stream, and speak through its cipher from now on.

        :raises PeerLeftError: if it does not come
        """
        begun = b""
        while (accepted := cipher.accept(begun)) is None:
            data = await self._read_layer()
            if not data:
                raise PeerLeftError("the client ended before its Shadowsocks header was complete")
            begun += data
        self._accepted, self.target, self._kept = accepted, accepted.target, accepted.payload

    async def read(self) -> bytes:
        """Return payload, also kept in `received`; b"" when the client has ended its direction."""
        data, self._kept = self._kept, b""
        while not data:
            data = await self._read_layer()
            if not data:
                return b""
            if self._accepted is not None:
                data = b"".join(self._accepted.opener.feed(data))
        self.received += data
        return data

    async def send(self, data: bytes, spoil: bool = False) -> None:
        """Send payload through all layers.

        :param spoil: flip a bit of what was sealed
        :raises OSError: if the client is gone
        """
        batch = self._accepted.sealer.batch if self._accepted is not None else ROOM
        for start in range(0, len(data), batch):
            piece = data[start : start + batch]
            if self._accepted is not None:
                room = bytearray(ROOM)
                piece = bytes(room[: self._accepted.sealer.seal_into(piece, memoryview(room))])
            if spoil:
                piece = piece[:-1] + bytes((piece[-1] ^ 1,))
            await self.wire.send(frame(BINARY, piece) if self._websocket else piece)

    async def wait_until_gone(self) -> None:
        """Throw away what still comes, until the client has ended the connection."""
        with contextlib.suppress(OSError):
            while not self.ending and await self.wire.receive():
                pass

    async def _read_layer(self) -> bytes:
        """Return what lies below the cipher; b"" at the end of the client's direction."""
        if self._ended:
            return b""
        if not self._websocket:
            data, self._buffer = bytes(self._buffer), bytearray()
            return data or await self.wire.receive()
        while True:
            while (received := take_frame(self._buffer)) is not None:
                if received.opcode in (BINARY, TEXT, CONTINUATION):
                    if received.payload:
                        return received.payload
                elif await self._control(received):
                    self._ended = True
                    return b""
            data = await self.wire.receive()
            if not data:
                self._ended = True
                return b""
            self._buffer += data

    async def _control(self, received: Received) -> bool:
        """Take a control frame; tell whether it ends the client's direction."""
        self.controls.append(received)
        if received.opcode == PING and self.answers_pings:
            await self.wire.send(frame(PONG, received.payload))
        return received.opcode == CLOSE

    async def _receive(self) -> bytes:
        data = await self.wire.receive()
        if not data:
            raise PeerLeftError("the client ended before the script was through")
        return data
