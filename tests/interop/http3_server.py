"""An HTTP/3 server (aioquic), as a process of its own: ``python http3_server.py HOST PORT CERTIFICATE KEY``; prints ``ready``.

A GET of ``/bytes/N`` answers with N bytes of the origin's pattern.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

sys.path.insert(0, str(Path(__file__).parents[1]))

from origin import PATTERN


class Http3Server(QuicConnectionProtocol):
    """One connection."""

    _http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        if self._http is not None:
            for http_event in self._http.handle_event(event):
                if isinstance(http_event, HeadersReceived):
                    self._answer(self._http, http_event.stream_id, dict(http_event.headers)[b":path"])

    def _answer(self, http: H3Connection, stream: int, path: bytes) -> None:
        size = int(path.rpartition(b"/")[2])
        http.send_headers(stream, [(b":status", b"200"), (b"content-length", b"%d" % size)])
        for start in range(0, size, len(PATTERN)):
            http.send_data(stream, PATTERN[: min(len(PATTERN), size - start)], end_stream=start + len(PATTERN) >= size)
        self.transmit()


async def main() -> None:
    """Serve on the address of the command line."""
    host, port, certificate, key = sys.argv[1:]
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(certificate, key)
    await serve(host, int(port), configuration=configuration, create_protocol=Http3Server)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
