"""An HTTP/3 client (aioquic) whose datagrams go through a SOCKS5 association."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from conftest import TlsFiles
from udp_client import Association, associated

from outline_lb.base.address import Address, encode_address


class SocksTransport(asyncio.DatagramTransport):
    """What the client takes for a socket.

    :param association: of a SOCKS5 proxy
    :param target: the server
    :param protocol: hears what comes
    """

    def __init__(self, association: Association, target: Address, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self._sock = association.sock
        self._peer = (target.host, target.port)
        self._header = bytes(3) + encode_address(target)
        self._protocol = protocol
        asyncio.get_running_loop().add_reader(self._sock, self._readable)
        protocol.connection_made(self)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(64):
                datagram = self._sock.recv(65536)
                assert datagram.startswith(self._header), "from somebody else"
                self._protocol.datagram_received(datagram[len(self._header) :], self._peer)

    def sendto(self, data: Any, addr: Any = None) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # as a network
            self._sock.send(self._header + bytes(data))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)


class Http3Client(QuicConnectionProtocol):
    """One connection, for one request."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.headers: dict[bytes, bytes] = {}
        self.digest = hashlib.sha256()
        self.size = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._http = H3Connection(quic)

    def get(self, path: str) -> None:
        """Ask for something."""
        stream = self._quic.get_next_available_stream_id()
        self._http.send_headers(
            stream, [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path.encode())], end_stream=True
        )
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated) and not self.done.done():
            self.done.set_exception(ConnectionError(event.reason_phrase or str(event.error_code)))
        for http_event in self._http.handle_event(event):
            if isinstance(http_event, HeadersReceived):
                self.headers = dict(http_event.headers)
            elif isinstance(http_event, DataReceived):
                self.digest.update(http_event.data)
                self.size += len(http_event.data)
                if http_event.stream_ended and not self.done.done():
                    self.done.set_result(None)


async def download(proxy: Address, server: Address, size: int, tls: TlsFiles) -> str:
    """Load so many bytes over HTTP/3 through a proxy; return their SHA-256."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
    configuration.load_verify_locations(str(tls.ca))
    async with associated(proxy) as association:
        client = Http3Client(QuicConnection(configuration=configuration))
        transport = SocksTransport(association, server, client)
        try:
            client.connect((server.host, server.port))
            await client.wait_connected()
            client.get(f"/bytes/{size}")
            await client.done
            assert client.headers[b":status"] == b"200"
            assert client.size == size
            client.close()
            await client.wait_closed()
        finally:
            transport.close()
    return client.digest.hexdigest()
