"""A cipher over a connection to a fixed server makes a way to any target."""

from __future__ import annotations

import asyncio
from typing import Final

from ..base.address import Address
from ..base.drops import Drops
from ..base.errors import ProtocolError, TruncatedError
from ..base.flow import Flow
from ..base.packets import Packet, PacketChannel, PacketHop
from ..base.stream import SCRATCH, Buffer, Hop, Stream
from .cipher import ClientCipher, Opener, PacketCodec, Sealer

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


class TunnelChannel(PacketHop[Packet, bytes]):
    """Packets through a channel of sealed ones: seals down, opens up.

    :param lower: the channel to the other end of the tunnel; becomes ours
    :param codec: seals and opens
    :param drops: hears of those that cannot be opened
    """

    __slots__ = ("_codec", "_drops")

    def __init__(self, lower: PacketChannel[bytes], codec: PacketCodec, drops: Drops) -> None:
        super().__init__(lower)
        self._codec = codec
        self._drops = drops

    def packets_received(self, packets: list[bytes]) -> None:
        opened = self._codec.open(packets)
        if len(opened) < len(packets):
            self._drops.count("cannot be opened: damaged, or sealed with another secret", len(packets) - len(opened))
        if opened:
            self.upper.packets_received(opened)

    def send(self, packets: list[Packet]) -> None:
        self.lower.send(self._codec.seal(packets))


class Tunnel:
    """What one server makes of its streams and channels: a way to any target.

    :param cipher: what it speaks, with its secret
    :param drops: hears of packets that cannot be opened
    """

    def __init__(self, cipher: ClientCipher, drops: Drops) -> None:
        self._cipher = cipher
        self._drops = drops

    def stream(self, lower: Stream, flow: Flow) -> Stream:
        """Begin a stream to a flow's target over a connection to the server."""
        stream = TunnelStream(lower, *self._cipher.stream(flow.target))
        stream.expect_data()
        return stream

    def packets(self, lower: PacketChannel[bytes], flow: Flow) -> PacketChannel[Packet]:
        """Begin an association over a channel to the server."""
        return TunnelChannel(lower, self._cipher.packets(), self._drops)
