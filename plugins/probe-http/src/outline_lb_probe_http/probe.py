"""Measures a request and its answer."""

from __future__ import annotations

import asyncio
from typing import Final

from outline_lb.api import Buffer, Flow, Network, Probe, Stream, StreamSink, TruncatedError, Upstream, UpstreamError

from .options import Options

_ANSWER: Final = b"HTTP/"


class HttpProbe(Probe):
    """Sends a HEAD request (RFC 9110 section 9.3.2) through the upstream, and waits for the first bytes of the answer.

    It says nothing about packets.

    :param options: what to ask for
    """

    def __init__(self, options: Options) -> None:
        self._target = options.target
        self._request = f"HEAD {options.path} HTTP/1.1\r\nHost: {options.host}\r\nUser-Agent: outline-lb\r\nConnection: close\r\n\r\n".encode()

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        if network is not Network.TCP:
            return None
        loop = asyncio.get_running_loop()
        started = loop.time()
        flow = Flow("probe", network, None, "", self._target, started)
        stream = await upstream.ways[network].dial(flow)
        stream.write(self._request)
        answer = _Answer(stream)
        try:
            await answer.came
        except OSError as exc:
            raise UpstreamError("http", exc) from exc
        finally:
            answer.end()
        return loop.time() - started


class _Answer(StreamSink):
    """Waits for the beginning of an answer."""

    __slots__ = ("_data", "_stream", "came")

    def __init__(self, stream: Stream) -> None:
        self._data = b""
        self._stream = stream
        self.came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stream.set_sink(self)
        stream.resume_reading()

    def end(self) -> None:
        """Nothing more is wanted."""
        self._stream.close()

    def data_received(self, data: Buffer) -> None:
        self._data += bytes(data[: len(_ANSWER) - len(self._data)])
        if not _ANSWER.startswith(self._data):
            self._fail(ConnectionError("what came is no HTTP answer"))
        elif len(self._data) == len(_ANSWER) and not self.came.done():
            self.came.set_result(None)

    def eof_received(self) -> None:
        self._fail(TruncatedError("the stream ended without an answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or TruncatedError("the stream ended without an answer"))

    def _fail(self, exc: Exception) -> None:
        if not self.came.done():
            self.came.set_exception(exc)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...
