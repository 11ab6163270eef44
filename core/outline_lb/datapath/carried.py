"""The stream of one flow over an upstream: counted, and watched for its end."""

from __future__ import annotations

from collections.abc import Callable

from ..base.flow import Flow
from ..base.stream import Buffer, Hop, Stream
from .upstream import Upstream


class CarriedStream(Hop):
    """Counts what goes through, and tells when it is over.

    :param lower: the stream to the target; becomes ours
    :param upstream: what carries it; hears if the flow ends before its time
    :param flow: whose it is
    :param closed: called with this stream and the error, if any, at its end
    """

    __slots__ = ("_closed", "_ended", "_upstream", "flow", "received", "sent")

    def __init__(self, lower: Stream, upstream: Upstream, flow: Flow, closed: Callable[[CarriedStream, Exception | None], None]) -> None:
        self.flow = flow
        self.sent = self.received = 0
        self._upstream = upstream
        self._closed = closed
        self._ended = False  # the upstream did its part
        upstream.ways[flow.network].carried.add(self)
        super().__init__(lower)

    def data_received(self, data: Buffer) -> None:
        self.received += len(data)
        self.upper.data_received(data)

    def eof_received(self) -> None:
        self._ended = True
        self._upstream.health[self.flow.network].flow_ended_well()
        self.upper.eof_received()

    def write(self, data: Buffer) -> None:
        self.sent += len(data)
        self.lower.write(data)

    def commit(self, size: int) -> None:
        self.sent += size
        self.lower.commit(size)

    def leave(self) -> None:
        """A stream cannot go elsewhere: it stays until it is over."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.ways[self.flow.network].carried.discard(self)
        if exc is not None and not (self.over or self._ended):  # nobody on this side ended it, and the answer is not complete
            self._upstream.broke(self.flow.network, exc)
        super().connection_lost(exc)
        self._closed(self, exc)
