"""Waiting for the head of an HTTP message on a stream."""

from __future__ import annotations

import asyncio

from outline_lb.api import Buffer, Stream, StreamSink, TruncatedError
from outline_lb_websocket.head import HeadError, split_head


class _HeadReader(StreamSink):
    """The sink of a stream until the head is there."""

    __slots__ = ("_data", "_stream", "found")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = bytearray()
        self.found: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    def data_received(self, data: Buffer) -> None:
        if self.found.done():
            return
        self._data += data
        try:
            split = split_head(self._data)
        except HeadError as exc:
            self._fail(exc)
            return
        if split is not None:
            self._stream.pause_reading()
            self.found.set_result(split)

    def eof_received(self) -> None:
        self._fail(TruncatedError("the connection ended during the upgrade"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or TruncatedError("the connection ended during the upgrade"))

    def _fail(self, exc: Exception) -> None:
        if not self.found.done():
            self.found.set_exception(exc.with_traceback(None))

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


async def read_head(stream: Stream) -> tuple[bytes, bytes]:
    """Read the head of an HTTP message. The stream needs a new sink after it.

    :param stream: paused, and paused again afterwards
    :return: the head without its empty line, and what came behind it
    :raises HeadError: if it is too large or malformed
    :raises OSError: what ended the stream before
    """
    reader = _HeadReader(stream)
    stream.set_sink(reader)
    stream.resume_reading()
    try:
        return await reader.found
    finally:
        del reader  # no reference circle: its exception knows this frame
