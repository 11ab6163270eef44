"""Messages over a stream, with their types and boundaries, and the closing handshake as RFC 6455 wants it.

The other way to use a WebSocket, beside `stream`: for packets, of which each is a message, and for those who carry what others say.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from outline_lb.api import AbortedError, Address, Buffer, Stream, StreamError, StreamSink, TruncatedError

from .encoder import ClientEncoder, ServerEncoder
from .frames import BINARY, CLOSE, NORMAL, TEXT, Close, FrameError, Role
from .heartbeat import Pongs
from .message_decoder import Message, MessageDecoder
from .parser import MAX_MESSAGE

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that the peer has, from our Close frame on, to answer it, and if it is the server, to end the connection."""


class MessageSink(ABC):
    """What a WebSocket tells. All methods are called from the event loop, must not block, and must not raise."""

    __slots__ = ()

    @abstractmethod
    def messages_received(self, messages: list[Message]) -> None:
        """Take all the messages that are whole now.

        :param messages: never empty
        """

    @abstractmethod
    def close_received(self, close: Close) -> None:
        """The peer ended the WebSocket, and was answered: nothing can be sent any more. Called at most once, and never after our own `close`.

        Comes as soon as the peer's Close does, even while reading is paused: every message before it was delivered already.

        :param close: why
        """

    @abstractmethod
    def pause_writing(self) -> None:
        """The connection is full: stop sending soon. May be repeated while it stays full."""

    @abstractmethod
    def resume_writing(self) -> None:
        """The connection has room again."""

    @abstractmethod
    def connection_lost(self, exc: Exception | None) -> None:
        """The WebSocket is over. The last call, exactly once.

        :param exc: None if both ends sent their Close frame, else the cause
        """


class _Nobody(MessageSink):
    """The sink of a WebSocket that has none yet, or none any more."""

    __slots__ = ()

    def messages_received(self, messages: list[Message]) -> None: ...
    def close_received(self, close: Close) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


_NOBODY = _Nobody()


class WebSocketMessages(StreamSink):
    """A WebSocket after its handshake. New ones are paused: nothing is delivered before `resume_reading`.

    :param lower: the stream to stand upon, paused; becomes ours
    :param role: which end we are
    :param leftover: what came behind the handshake
    :param max_message: bytes that a message of the peer may have
    :param close_timeout: seconds that the peer has from our Close frame on
    """

    __slots__ = (
        "_close_sent",
        "_close_timeout",
        "_decoder",
        "_encoder",
        "_failure",
        "_finished",
        "_full",
        "_leftover",
        "_lost",
        "_lower",
        "_paused",
        "_pongs",
        "_role",
        "_sink",
        "_timer",
    )

    def __init__(
        self, lower: Stream, role: Role, leftover: bytes = b"", max_message: int = MAX_MESSAGE, close_timeout: float = CLOSE_TIMEOUT
    ) -> None:
        self._lower = lower
        self._role = role
        self._decoder = MessageDecoder(role is Role.SERVER, leftover, max_message)
        self._encoder = ClientEncoder() if role is Role.CLIENT else ServerEncoder()
        self._close_timeout = close_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._sink: MessageSink = _NOBODY
        self._close_sent = False  # after it only the end is told
        self._finished = False  # the stream below was told to end
        self._failure: Exception | None = None  # why it did, other than by the closing handshake
        self._lost: tuple[Exception | None] | None = None
        self._full = False
        self._pongs = Pongs(self._encoder)
        self._leftover = bool(leftover)
        self._paused = True
        lower.set_sink(self)

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        decoder = self._decoder
        if self._finished or decoder.close is not None:
            return
        messages = decoder.feed(data)
        if decoder.pings:  # first, because a message may have to be carried far before it is answered
            self._answer_pings()
        if messages and not self._close_sent:
            self._sink.messages_received(messages)
        if self._finished:
            return
        if decoder.error is not None:
            self._fail(decoder.error)
        elif decoder.close is not None:
            self._close_received(decoder.close)

    def _answer_pings(self) -> None:
        pongs = self._pongs.answer(self._decoder.pings, self._full)
        if not self._close_sent:
            self._lower.write(pongs)

    def _fail(self, error: FrameError) -> None:
        """Tell the peer what it did wrong, and end (section 7.1.7): by closing, because a reset could overtake what the peer is to hear."""
        if self._full:  # it does not read
            self.abort(error)
        else:
            self._send_close(Close(error.code))
            self._finish(error)

    def _close_received(self, close: Close) -> None:
        answers = not self._close_sent
        self._send_close(Close(close.code))
        if self._role is Role.SERVER:  # ends the connection first, so that the wait for stray packets is its (section 7.1.1)
            self._finish()
        else:
            self._lower.resume_reading()  # to see the server do so
        if answers:
            self._sink.close_received(close)

    def eof_received(self) -> None:
        if self._finished:
            return
        if self._decoder.close is None:
            self.abort(TruncatedError("the peer ended the connection without a Close frame"))
        else:
            self._finish()

    def pause_writing(self) -> None:
        self._full = True
        if not self._over:
            self._sink.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self._over:
            return
        self._lower.write(self._pongs.kept())
        self._sink.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finished = True
        self._cancel_timer()
        if self._failure is not None:
            exc = self._failure
        elif self._close_sent and self._decoder.close is not None and not self._full:  # how the connection itself ends means nothing any more
            exc = None
        self._lost = (exc,)
        sink, self._sink = self._sink, _NOBODY  # breaks the reference circle
        sink.connection_lost(exc)

    # -- called by the sink above

    @property
    def local_address(self) -> Address | None:
        """Our end's address as the peer sees it, or None where there is no such thing."""
        return self._lower.local_address

    @property
    def peer_address(self) -> Address | None:
        """The peer's address, or None where it is not known."""
        return self._lower.peer_address

    def set_sink(self, sink: MessageSink) -> None:
        """Say who is called back from now on."""
        if self._lost is None:
            self._sink = sink
        else:
            asyncio.get_running_loop().call_soon(sink.connection_lost, self._lost[0])

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages, all in one write. Ignored after the Close of either end, and once the WebSocket is over."""
        if self._over:
            return
        frame = self._encoder.frame
        self._lower.write(b"".join([frame(TEXT if text else BINARY, data) for data, text in messages]))

    def close(self, code: int | None = NORMAL, reason: str = "") -> None:
        """End the WebSocket after what was sent: nothing more is delivered; `connection_lost` comes when the peer has answered, or had its time.

        :param code: why; None: nothing is said
        :param reason: the same for people; what is over 123 bytes is cut
        """
        if not self._over:
            self.resume_reading()  # to see the answer
            self._send_close(Close(code, reason))

    def abort(self, cause: Exception | None = None) -> None:
        """End now; the peer sees a reset.

        :param cause: what the sink hears in `connection_lost`; None: `AbortedError`
        """
        self._failure = self._failure or cause or AbortedError("aborted on this side")
        self._finished = True
        self._cancel_timer()
        self._lower.abort(self._failure)

    def pause_reading(self) -> None:
        """Deliver no more messages; idempotent."""
        if not self._over:
            self._paused = True
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again; idempotent. Never calls the sink from inside."""
        self._paused = False
        if self._leftover:  # ahead of what comes from below
            asyncio.get_running_loop().call_soon(self._deliver_leftover)
        self._lower.resume_reading()

    # -- ending

    @property
    def _over(self) -> bool:
        """Whether nothing may be sent any more, nor told but the end."""
        return self._close_sent or self._finished

    def _send_close(self, close: Close) -> None:
        if not self._close_sent:
            self._close_sent = True
            self._timer = asyncio.get_running_loop().call_later(self._close_timeout, self._stop_waiting)
            self._lower.write(self._encoder.control(CLOSE, close.payload))

    def _stop_waiting(self) -> None:
        late = self._decoder.close is None
        self._finish(StreamError(f"the peer did not answer our Close frame within {self._close_timeout:g} s") if late else None)

    def _finish(self, failure: StreamError | None = None) -> None:
        self._finished = True
        self._failure = failure
        self._cancel_timer()
        self._lower.close()  # which still sends what waits below

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deliver_leftover(self) -> None:
        if self._leftover and not self._paused:
            self._leftover = False
            self.data_received(b"")
