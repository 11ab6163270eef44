"""Reading the requests of an HTTP/1.1 connection, one after the other (RFC 9112 section 9.3)."""

from __future__ import annotations

import asyncio

from outline_lb.api import Buffer, Stream, StreamSink, TruncatedError
from outline_lb_websocket.head import MAX_HEAD, HeadError, split_head
from outline_lb_websocket.server_handshake import parse_request_line


class RequestReader(StreamSink):
    """The sink of a client's stream until it becomes a WebSocket. The stream is paused unless a method here waits.

    :param stream: the client's, paused
    """

    __slots__ = ("_data", "_ended", "_full", "_lost", "_stream", "_waiter", "idle")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = bytearray()
        self._ended = False
        self._full = False
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.idle = False  # everything that came has its answer
        stream.set_sink(self)

    @property
    def rest(self) -> bytes:
        """What came behind the last request."""
        return bytes(self._data)

    async def head(self) -> bytes | None:
        """Wait for a request.

        :return: its head, without the empty line; None if the client ended instead
        :raises HeadError: if it is too large or malformed, or if the client ended in the middle of it
        :raises OSError: what ended the stream
        """
        while (head := self._take_head()) is None:
            if self._ended:
                if self._data:
                    raise HeadError("the client ended inside a request")
                return None
            await self._more()
        return head

    def _take_head(self) -> bytes | None:
        begin = self._data[:MAX_HEAD]
        line, end, _ = begin.partition(b"\n")
        if not end and len(begin) < MAX_HEAD:  # nothing is told about noise before its first line ends: other servers wait, too
            return None
        split = split_head(begin)
        if split is None:
            parse_request_line(line.decode("latin-1").removesuffix("\r"))
            return None
        head, rest = split
        del self._data[: len(begin) - len(rest)]
        return head

    async def skip(self, size: int) -> None:
        """Wait for the body of a request, and drop it.

        :param size: bytes of it
        :raises HeadError: if the client ended in the middle of it
        :raises OSError: what ended the stream
        """
        while (left := size - len(self._data)) > 0:
            size = left
            self._data.clear()
            if self._ended:
                raise HeadError("the client ended inside the body of a request")
            await self._more()
        del self._data[:size]

    async def _more(self) -> None:
        """Wait until something comes, which may be the end."""
        self._stream.resume_reading()
        await self._wait()

    async def answered(self) -> None:
        """Wait until the client has taken enough of the answers, and let others have their turn.

        :raises OSError: what ended the stream
        """
        await asyncio.sleep(0)
        while self._full:
            await self._wait()
        self.idle = not self._data

    async def _wait(self) -> None:
        if self._lost is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._lost is not None:
            raise self._take_lost()

    def _take_lost(self) -> Exception:
        lost, self._lost = self._lost, None  # no reference circle: it gets to know our frames
        assert lost is not None
        return lost

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- called by the stream

    def data_received(self, data: Buffer) -> None:
        self._stream.pause_reading()
        self._data += data
        self.idle = False
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or TruncatedError("the connection ended during the upgrade")
        self._wake()
