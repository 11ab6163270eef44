"""A byte stream over WebSocket: one binary message for each write, boundaries dropped on reading, a Close frame as the end of one direction.

RFC 6455 wants a Close frame answered at once. Here it is not, and neither is that of the servers this is for: what follows from a Close is that no
more comes from that side. The other direction stays open until its own Close, as TCP connections do.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from outline_lb.api import ROOM, AbortedError, Buffer, GoingAwayError, Hop, Stream, StreamError, TruncatedError

from .decoder import FrameDecoder
from .encoder import PAYLOAD_ROOM, ClientEncoder, ServerEncoder
from .frames import CLOSE, NORMAL, Close, FrameError, Role
from .heartbeat import Heartbeat, Pongs

log = structlog.get_logger("websocket")

UNREAD: Final = (58.0, 65.0)
"""Between so many seconds after the upgrade, Outline servers end streams that they could not read (59 s, and what the Close took on its way)."""

_ENCODERS = {Role.CLIENT: ClientEncoder(), Role.SERVER: ServerEncoder()}


class WebSocketStream(Hop):
    """A stream in WebSocket messages, after the handshake.

    As a client, only a Close without a code or with 1000 is a clean end: any other code, and an end of the connection without a Close, aborts. As a
    server, any Close is one, and an end of the connection too. One exception: a Close at the time at which Outline servers give up, before a single
    byte came, does not show that they read what was sent.

    :param lower: the stream to stand upon, paused; becomes ours
    :param role: which end we are
    :param leftover: what came behind the handshake
    :param defer_eof_timeout: seconds that `write_eof` waits for the peer's Close before it sends ours, for servers that end both directions at
        once; None: it does not wait
    :param peer: who is at the other end, for log lines
    """

    __slots__ = (
        "_decoder",
        "_defer_eof_timeout",
        "_encoder",
        "_eof_received",
        "_eof_sent",
        "_eof_wanted",
        "_failure",
        "_full",
        "_heard",
        "_heartbeat",
        "_leftover",
        "_opened",
        "_paused",
        "_peer",
        "_pongs",
        "_role",
        "_sent",
        "_timer",
    )

    def __init__(self, lower: Stream, role: Role, leftover: bytes = b"", defer_eof_timeout: float | None = None, peer: str = "") -> None:
        self._role = role
        self._peer = peer
        self._decoder = FrameDecoder(masked=role is Role.SERVER, leftover=leftover)
        self._encoder = _ENCODERS[role]
        self._defer_eof_timeout = defer_eof_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._eof_received = False  # the peer's direction ended cleanly
        self._eof_wanted = self._eof_sent = False  # `write_eof` was called; our Close left
        self._sent: int | None = None  # the code in it
        self._failure: Exception | None = None  # what is over because of us
        self._full = False
        self._pongs = Pongs(self._encoder)
        self._leftover = bool(leftover)
        self._opened = asyncio.get_running_loop().time()
        self._heard = False  # any payload
        self._heartbeat = Heartbeat(self._encoder)
        self._paused = True
        super().__init__(lower)

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        if self.over:
            return
        self._heartbeat.heard()
        decoder = self._decoder
        try:
            pieces = decoder.feed(data)
        except FrameError as exc:
            self._fail(exc)
            return
        if pieces:
            self._heard = True
            self.upper.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if decoder.pings:
            self._answer_pings()
        if decoder.close is not None and not (self._eof_received or self._paused or self.over):
            self._close_received(decoder.close)

    def _answer_pings(self) -> None:
        pongs = self._pongs.answer(self._decoder.pings, self._full)
        if not (self._eof_sent or self.over):
            self.lower.write(pongs)

    def _close_received(self, close: Close) -> None:
        if self._role is Role.SERVER:
            self._end_received()
        elif close.clean and not self._heard and UNREAD[0] < asyncio.get_running_loop().time() - self._opened < UNREAD[1]:
            self.abort(TruncatedError("the server gave up without a byte: what was sent did not reach it, or its secret is another one"))
        elif close.clean:
            self._end_received()
        else:
            kind = GoingAwayError if close.going_away else StreamError
            self.abort(kind(f"the server closed the WebSocket with {close}"))

    def _end_received(self) -> None:
        self._eof_received = True
        if self._eof_sent:
            self.lower.close()
        elif self._eof_wanted:
            self._send_close()
        if not self.over:
            self.upper.eof_received()

    def _fail(self, failure: FrameError) -> None:
        """Tell the peer what it did wrong, and end."""
        if not (self._eof_sent or self._full):
            self._eof_sent, self._sent = True, failure.code
            self.lower.write(self._encoder.control(CLOSE, failure.code.to_bytes(2, "big")))
        self._end_because_of(failure.with_traceback(None))  # which would hold us in a circle

    def _end_because_of(self, failure: StreamError) -> None:
        """End by closing, because a reset could overtake what the peer is to hear, or break what it still does."""
        if self._full:  # it does not read
            self.abort(failure)
        else:
            self.over = True
            self._failure = failure
            self.lower.close()

    def eof_received(self) -> None:
        if self.over:
            return
        if self._role is Role.SERVER:
            self._client_left()
        elif self._eof_received:
            self._end_because_of(TruncatedError("the server ended the connection before we had ended our direction"))
        else:
            self.abort(TruncatedError("the server ended the connection without a Close frame"))

    def _client_left(self) -> None:
        if self._eof_received:
            return
        if self._decoder.complete:
            self._end_received()
        else:
            self.abort(TruncatedError("the client ended the connection inside a message"))

    def pause_writing(self) -> None:
        self._full = True
        if not self.over:
            self.upper.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self.over:
            return
        if not self._eof_sent:
            self.lower.write(self._pongs.kept())
        self.upper.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._failure is not None:
            exc = self._failure
        elif self._eof_received and self._eof_sent and not self._full:  # how the connection itself ends means nothing any more
            exc = None
        self._heartbeat.lost(exc or TruncatedError("the server ended the connection"))
        self._log_end(exc)
        super().connection_lost(exc)

    def _log_end(self, exc: Exception | None) -> None:
        close, code, reason = self._decoder.close, None, None
        if close is not None:
            code, reason = close.code or "empty", close.reason or None
        log.debug("WebSocket ended", peer=self._peer, close_sent=self._sent, close_received=code, close_reason=reason, error=exc)

    # -- called by the sink above

    def write(self, data: Buffer) -> None:
        size = len(data)
        if not size or self._eof_wanted or self.over:
            return
        if size <= ROOM:
            self.lower.write(self._encoder.message(data))
            return
        view = memoryview(data)
        for start in range(0, size, ROOM):
            self.lower.write(self._encoder.message(view[start : start + ROOM]))

    @property
    def room(self) -> memoryview:
        return PAYLOAD_ROOM

    def commit(self, size: int) -> None:
        if size and not (self._eof_wanted or self.over):
            self.lower.write(self._encoder.message_in_room(size))

    def write_eof(self) -> None:
        if self._eof_wanted or self.over:
            return
        self._eof_wanted = True
        if self._defer_eof_timeout is None or self._eof_received:
            self._send_close()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._defer_eof_timeout, self._send_close)

    def _send_close(self) -> None:
        self._cancel_timer()
        if self._eof_sent:
            return
        self._eof_sent, self._sent = True, NORMAL
        self.lower.write(self._encoder.control(CLOSE, NORMAL.to_bytes(2, "big")))
        if self._eof_received:
            self.lower.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        self._eof_wanted = True
        self._send_close()
        super().close()

    def abort(self, cause: Exception | None = None) -> None:
        self._failure = self._failure or cause or AbortedError("aborted on this side")
        super().abort(self._failure)

    def pause_reading(self) -> None:
        self._paused = True
        super().pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._leftover or self._decoder.close is not None:  # ahead of what comes from below
            asyncio.get_running_loop().call_soon(self._deliver_kept)
        super().resume_reading()

    def keep_alive(self, doubt: bool = False) -> None:
        """Ping a server that is silent (section 5.5.2), and give it up if it stays so. One that is not listened to cannot be heard; nor can a ping
        overtake what waits for the socket, whose own look at the connection is enough then.
        """
        listening = not (self._paused or self._eof_received)
        if listening and not (self.over or self._full or self._eof_sent) and self._role is Role.CLIENT:
            ping = self._heartbeat.due(doubt)
            if ping is None:
                self.abort(TimeoutError("the server does not answer pings"))
                return
            self.lower.write(ping)
        super().keep_alive(doubt)

    async def ping(self) -> None:
        """Ask the server for a sign of life, and wait for it: anything that comes is one. The stream must be reading.

        :raises OSError: if the stream ends before, with what ended it
        """
        self.lower.write(self._heartbeat.ask())
        await self._heartbeat.answered()

    def _deliver_kept(self) -> None:
        """What came behind the handshake; the end, if it came while nothing could be told any more."""
        if not self._paused:
            self._leftover = False
            self.data_received(b"")
