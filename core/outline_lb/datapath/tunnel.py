"""An endpoint and a cipher make a dialer: a fixed server becomes a way to any target."""

from __future__ import annotations

import asyncio
from typing import Final

from ..base.address import Address
from ..base.dialer import StreamDialer
from ..base.errors import ProtocolError, TruncatedError
from ..base.flow import Flow
from ..base.stream import SCRATCH, Buffer, Hop, Stream
from .cipher import ClientCipher, Opener, Sealer
from .transport import StreamEndpoint

HEADER_WAIT: Final = 0.010
"""Seconds that the header waits for data to share a message with: saves a packet, and hides the header's size. After that it goes alone, for
protocols in which the server speaks first."""


class TunnelStream(Hop):
    """A sealed stream: seals down, opens up.

    :param lower: the stream to the other end of the tunnel; becomes ours
    :param sealer: seals what is written
    :param opener: opens what arrives
    """

    __slots__ = ("_opener", "_sealer", "_timer")

    def __init__(self, lower: Stream, sealer: Sealer, opener: Opener) -> None:
        self._sealer = sealer
        self._opener = opener
        self._timer: asyncio.TimerHandle | None = None
        super().__init__(lower)

    def expect_data(self) -> None:
        """Send the sealer's header with the first data, or alone if none comes soon."""
        self._timer = asyncio.get_running_loop().call_later(HEADER_WAIT, self._send_header)

    def _send_header(self) -> None:
        if self._timer is not None:
            self._stop_waiting()
            if not self.over:
                self.lower.commit(self._sealer.seal_into(b"", self.lower.room))

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        if self.over:
            return
        try:
            pieces = self._opener.feed(data)
        except ProtocolError as exc:
            self.damaged(exc)
            return
        if pieces:
            self.upper.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def damaged(self, exc: ProtocolError) -> None:
        """What came cannot be opened, nor can what follows. A client has nobody to hide that from."""
        self.abort(exc)

    def eof_received(self) -> None:
        if self._opener.complete:
            self.upper.eof_received()
        else:
            self.abort(TruncatedError("the stream ended inside a chunk"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    # -- called by the sink above

    @property
    def local_address(self) -> Address | None:
        return None  # the target sees the server's, which we do not know

    @property
    def peer_address(self) -> Address | None:
        return None

    def write(self, data: Buffer) -> None:
        size = len(data)
        if not size or self.over:
            return
        self._stop_waiting()
        lower, sealer = self.lower, self._sealer
        batch = sealer.batch
        if size <= batch:
            lower.commit(sealer.seal_into(data, lower.room))
            return
        view = memoryview(data)
        for start in range(0, size, batch):
            lower.commit(sealer.seal_into(view[start : start + batch], lower.room))

    @property
    def room(self) -> memoryview:
        return SCRATCH

    def commit(self, size: int) -> None:
        self.write(bytes(SCRATCH[:size]))  # a copy, because the room below may be the same

    def write_eof(self) -> None:
        self._send_header()
        self.lower.write_eof()

    def close(self) -> None:
        self._stop_waiting()  # nothing was written: why should the target hear of it
        super().close()


class Tunnel(StreamDialer):
    """Reaches any target through one server.

    :param endpoint: the server
    :param cipher: what it speaks, with its secret
    """

    def __init__(self, endpoint: StreamEndpoint, cipher: ClientCipher) -> None:
        self._endpoint = endpoint
        self._cipher = cipher

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        lower = await self._endpoint.connect_stream()
        return self.over(lower, flow.target, first)

    def over(self, lower: Stream, target: Address, first: bytes = b"") -> Stream:
        """Begin a stream to a target over a connection that is there already."""
        stream = TunnelStream(lower, *self._cipher.stream(target))
        stream.expect_data()
        stream.write(first)
        return stream
