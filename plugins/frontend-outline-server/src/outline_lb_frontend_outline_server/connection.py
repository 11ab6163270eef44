"""One stream, from its first byte until its key is found, or its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from outline_lb.api import (
    Accepted,
    AddressError,
    Buffer,
    Flow,
    FrontendDeps,
    Network,
    Opener,
    ProtocolError,
    RejectedError,
    ServerCipher,
    Stream,
    StreamSink,
    TunnelStream,
)

log = structlog.get_logger("outline-server")

DEADLINE: Final = 59.0
"""Seconds after which a stream without a key is closed: what other servers do, so that nobody is told apart by it."""
LATE: Final = 1.0
"""Seconds of lateness from which on nobody can say who was late."""
MAX_HEADER: Final = 64 * 1024
"""Bytes that may come before it is known whose they are."""


class Connection(StreamSink):
    """The sink of a stream that has not shown a key. It says nothing to anybody who has none.

    :param stream: the client's, paused; becomes ours
    :param deps: what the frontend was built with
    :param ciphers: find out whose stream it is
    :param public_only: whether targets must be of the public internet
    :param done: called when the key was found or the stream is over; may be called again
    """

    __slots__ = ("_buffer", "_ciphers", "_client", "_deadline", "_deps", "_done", "_public_only", "_started", "_stream")

    def __init__(
        self, stream: Stream, deps: FrontendDeps, ciphers: Sequence[ServerCipher], public_only: bool, done: Callable[[Connection], object]
    ) -> None:
        loop = asyncio.get_running_loop()
        self._stream = stream
        self._client = stream.peer_address
        self._deps = deps
        self._ciphers = list(ciphers)  # those that the stream may be of
        self._public_only = public_only
        self._done = done
        self._buffer = bytearray()
        self._started = loop.time()
        self._deadline = loop.call_at(self._started + DEADLINE, self._time_is_over)
        stream.set_sink(self)
        stream.resume_reading()

    def close(self) -> None:
        """End the stream, without a word."""
        self._finish()
        self._stream.close()

    def abort(self) -> None:
        """Give the stream up."""
        self._finish()
        self._stream.abort()

    def _time_is_over(self) -> None:
        """End the stream; but if it was this process that slept, what came meanwhile has not been read yet: see that first."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._started > DEADLINE + LATE:
            self._deadline = loop.call_later(LATE, self.close)
        else:
            self.close()

    # -- called by the stream

    def data_received(self, data: Buffer) -> None:
        if self._ciphers:
            self._buffer += data
            accepted = self._accept(bytes(self._buffer))
            if accepted is not None:
                self._carry(accepted)

    def eof_received(self) -> None:
        self.close()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    # -- the key

    def _accept(self, begun: bytes) -> Accepted | None:
        why = ""
        for cipher in list(self._ciphers):
            try:
                accepted = cipher.accept(begun)
            except RejectedError as exc:
                self._ciphers.remove(cipher)
                why = str(exc)
            except AddressError as exc:
                self._absorb(str(exc))
                return None
            else:
                if accepted is not None:
                    return accepted
        if not self._ciphers:
            self._absorb(why)
        elif len(begun) > MAX_HEADER:
            self._absorb("its header does not come to an end")
        return None

    def _absorb(self, why: str) -> None:
        """Take everything that still comes, and let the time run out: any other behaviour would tell something."""
        log.info("stream not served", frontend=self._deps.name, client=str(self._client), reason=why)
        self._ciphers.clear()
        self._buffer.clear()

    def _carry(self, accepted: Accepted) -> None:
        self._finish()
        deps = self._deps
        stream = _UserStream(self._stream, accepted)
        flow = Flow(deps.name, Network.TCP, self._client, accepted.user, accepted.target, self._started, self._public_only)
        deps.carrier.carry(flow, stream, deps.dialer, _opened, lambda _: stream.close(), accepted.payload)

    def _finish(self) -> None:
        self._deadline.cancel()
        self._done(self)


class _UserStream(TunnelStream):
    """A user's stream. Who damages it on its way learns nothing that he would not from other servers: what the target says still goes out, what
    comes is dropped, and the end comes cleanly: with the client's, or with the next unit that cannot be opened either. The target hears a reset
    then, because something is missing.

    :param lower: the client's stream; becomes ours
    :param accepted: whose it is
    """

    __slots__ = ("_damage", "_user")

    def __init__(self, lower: Stream, accepted: Accepted) -> None:
        self._user = accepted.user
        self._damage: ProtocolError | None = None
        super().__init__(lower, accepted.sealer, accepted.opener)

    def damaged(self, exc: ProtocolError) -> None:
        if self._damage is not None:
            self.close()
            return
        log.info("stream damaged on its way", client=str(self.lower.peer_address), user=self._user, error=str(exc))
        self._damage = ProtocolError(str(exc))  # without frames, which hold what came
        self._opener = _Deaf(self._opener)
        self.data_received(b"")  # what came behind the damage

    def eof_received(self) -> None:
        if self._damage is None:
            super().eof_received()
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(self._damage or exc)


class _Deaf(Opener):
    """Tries to open what comes, and keeps it to itself."""

    __slots__ = ("_opener",)

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def feed(self, data: Buffer) -> list[bytes]:
        self._opener.feed(data)
        return []

    @property
    def complete(self) -> bool:
        return False


def _opened(_stream: Stream) -> None:
    """The protocol has no word for it."""
