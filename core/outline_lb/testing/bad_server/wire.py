"""A connection of the bad server, bare or with TLS. A plain socket, since it must be able to end in each way there is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST
_PIECE: Final = 256 * 1024


class Wire:
    """One connection.

    :param sock: connected; becomes ours
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ending = ""
        """How the client ended its direction: ``close_notify``, ``FIN`` (without close_notify, where there is TLS), ``RST``, or "" so far."""
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._eof_sent = False
        self._closed = False

    async def secure(self, context: ssl.SSLContext, begun: bytes = b"") -> None:
        """Shake hands as a TLS server.

        :param begun: what was received of it already
        :raises ssl.SSLError: if the client does not like it
        :raises OSError: if it goes
        """
        self._incoming.write(begun)
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._fill():
                        raise ConnectionAbortedError("the client left during the TLS handshake") from None
        finally:
            with contextlib.suppress(OSError):
                await self._flush()  # an alert, perhaps
        self._tls = tls

    async def receive(self) -> bytes:
        """Return what came; b"" when the client has ended its direction, and after `reset`.

        :raises OSError: if it reset the connection
        """
        if self._tls is None:
            return await self._read_socket()
        while True:
            try:
                data = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                if not await self._fill():
                    return b""
                continue
            except ssl.SSLZeroReturnError:  # instead of b"", once our own close_notify is out
                data = b""
            self.ending = self.ending or ("" if data else "close_notify")
            return data

    async def send(self, data: bytes) -> None:
        """Send everything.

        :raises OSError: if the client is gone
        """
        try:
            if self._tls is None:
                await self._loop.sock_sendall(self._sock, data)
                return
            for start in range(0, len(data), _PIECE):
                self._tls.write(data[start : start + _PIECE])
                await self._flush()
        except OSError:
            self.ending = self.ending or "RST"
            raise

    async def end(self) -> None:
        """End our direction properly: close_notify where there is TLS, and FIN. What the client still sends can be received."""
        if self._tls is not None and not self._eof_sent:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            await self._flush()
        self.cut()

    def cut(self) -> None:
        """End our direction with a FIN alone."""
        self._eof_sent = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a RST."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Give the socket back; ends whatever is not ended."""
        self._eof_sent = self._closed = True
        self._sock.close()

    async def _fill(self) -> bool:
        data = await self._read_socket()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())

    async def _read_socket(self) -> bytes:
        if self._closed:
            return b""
        try:
            data = await self._loop.sock_recv(self._sock, _PIECE)
        except OSError:
            self.ending = self.ending or "RST"
            raise
        self.ending = self.ending or ("" if data else "FIN")
        return data
