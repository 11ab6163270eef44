"""Packets over a WebSocket: each is exactly one binary message.

What servers of Outline do decides what is done here: they end an association by a Close frame with 1000, cut what is too large for their buffer (see
`pacing`), and stumble over a connection that is reset, so this one never is while the peer is there.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from outline_lb.api import (
    NO_PACKET_SINK,
    Address,
    Buffer,
    Drops,
    GoingAwayError,
    PacketChannel,
    PacketSink,
    Stream,
    StreamError,
    StreamSink,
    TruncatedError,
)

from .encoder import ClientEncoder, ServerEncoder
from .frames import CLOSE, NORMAL, Close, FrameError, Role
from .heartbeat import Heartbeat, Pongs
from .pacing import BORDER, Pacer
from .packet_decoder import PacketDecoder

log = structlog.get_logger("websocket")

MAX_PACKET_MESSAGE: Final = 65_600
"""The most bytes that a message of ours has: the largest datagram, and what sealing adds to it."""
CUT_PACKET_MESSAGE: Final = BORDER - 8
"""The most bytes of a message that Outline's server, which cuts larger ones, reads whole: its buffer, without the header of the frame."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds from `close` on for what still waits, and for the peer's Close frame."""

_ENCODERS = {Role.CLIENT: ClientEncoder(), Role.SERVER: ServerEncoder()}


class WebSocketPackets(PacketChannel[bytes], StreamSink):
    """A channel for packets in WebSocket messages, after the handshake.

    As a client, only a Close without a code or with 1000 is an end without a cause. As a server, any end of the client is one: clients just leave.

    :param lower: the stream to stand upon, paused; becomes ours
    :param role: which end we are
    :param drops: hears of what could not be sent
    :param leftover: what came behind the handshake
    :param max_message: bytes that a message of ours may have. With at most `CUT_PACKET_MESSAGE`, a client sends so that a server which cuts messages
        reads them whole
    :param peer: who is at the other end, for log lines
    """

    __slots__ = (
        "_closed",
        "_decoder",
        "_drops",
        "_encoder",
        "_finished",
        "_full",
        "_heartbeat",
        "_leftover",
        "_lost",
        "_lower",
        "_max_message",
        "_pacer",
        "_peer",
        "_pongs",
        "_role",
        "_sink",
        "_timer",
    )

    def __init__(self, lower: Stream, role: Role, drops: Drops, leftover: bytes = b"", max_message: int = MAX_PACKET_MESSAGE, peer: str = "") -> None:
        self._lower = lower
        self._role = role
        self._drops = drops
        self._max_message = max_message
        self._peer = peer
        self._decoder = PacketDecoder(role is Role.SERVER, leftover)
        self._encoder = encoder = _ENCODERS[role]
        self._pacer = Pacer(lower, encoder, drops) if role is Role.CLIENT and max_message <= CUT_PACKET_MESSAGE else None
        self._pongs = Pongs(encoder)
        self._heartbeat = Heartbeat(encoder)
        self._sink: PacketSink[bytes] = NO_PACKET_SINK
        self._leftover = bool(leftover)
        self._closed = False  # on our side: only the end is told
        self._finished = False  # the stream below was told to end
        self._full = False
        self._lost: tuple[Exception | None] | None = None  # how it ended, once that was told
        self._timer: asyncio.TimerHandle | None = None
        lower.set_sink(self)

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        if self._finished:
            return
        self._heartbeat.heard()
        decoder = self._decoder
        packets = decoder.feed(data)
        if decoder.pings:
            self._write_control(self._pongs.answer(decoder.pings, self._full))
        if decoder.pong is not None:
            if self._pacer is not None:
                self._pacer.confirmed(decoder.pong)
            decoder.pong = None
        if packets and not self._closed:
            self._deliver(packets)
        if decoder.error is not None:
            self._refuse(decoder.error)
        elif decoder.close is not None:
            self._close_received(decoder.close)

    def _deliver(self, packets: list[bytes]) -> None:
        if b"" not in packets:
            self._sink.packets_received(packets)
        elif self._role is Role.SERVER:  # which ends the association, as at Outline's server
            if before := packets[: packets.index(b"")]:
                self._sink.packets_received(before)
            self.close()
        elif full := [packet for packet in packets if packet]:
            self._sink.packets_received(full)

    def _refuse(self, error: FrameError) -> None:
        """Tell the peer what it did wrong, and end."""
        if not self._closed:
            self._write_control(self._encoder.control(CLOSE, error.code.to_bytes(2, "big")))
        self._end(None if self._closed else error)

    def _close_received(self, close: Close) -> None:
        if self._closed:
            self._end(None)
            return
        self._write_control(self._encoder.control(CLOSE, Close(close.code).payload))
        if close.clean or self._role is Role.SERVER:
            self._end(None)
        else:
            kind = GoingAwayError if close.going_away else StreamError
            self._end(kind(f"the server closed the WebSocket with {close}"))

    def eof_received(self) -> None:
        if not self._finished:
            self._end(self._cut(None))

    def _cut(self, exc: Exception | None) -> Exception | None:
        """Return what it means that the connection ended before the WebSocket did."""
        if self._closed or (self._role is Role.SERVER and (exc is None or isinstance(exc, ConnectionError))):
            return None
        return exc or TruncatedError("the server ended the connection without a Close frame")

    def pause_writing(self) -> None:
        self._full = True
        if self._pacer is not None:
            self._pacer.pause()

    def resume_writing(self) -> None:
        self._full = False
        if not (self._closed or self._finished):
            self._write_control(self._pongs.kept())
        if self._pacer is not None:
            self._pacer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._tell_lost(self._cut(exc))

    # -- called by the sink above

    @property
    def peer_address(self) -> Address | None:
        return self._lower.peer_address

    def set_sink(self, sink: PacketSink[bytes]) -> None:
        if self._lost is not None:
            asyncio.get_running_loop().call_soon(sink.connection_lost, self._lost[0])
            return
        self._sink = sink
        if self._leftover:  # ahead of what comes from below
            self._leftover = False
            asyncio.get_running_loop().call_soon(self.data_received, b"")
        self._lower.resume_reading()

    def send(self, packets: list[bytes]) -> None:
        if self._closed or self._finished:
            return
        if self._full:
            self._drops.count("the connection is full", len(packets))
            return
        sizes = [*map(len, packets)]
        if max(sizes) > self._max_message or not min(sizes):
            packets = self._sendable(packets)
        frames = self._encoder.binary_frames(packets)
        if self._pacer is not None:
            self._pacer.send(frames)
        else:
            self._lower.write(b"".join(frames))

    def _sendable(self, packets: list[bytes]) -> list[bytes]:
        """Return those that can be messages. An empty one would end the association at Outline's server."""
        limit = self._max_message
        fitting = [packet for packet in packets if 0 < len(packet) <= limit]
        if empty := packets.count(b""):
            self._drops.count("empty", empty)
        if large := len(packets) - len(fitting) - empty:
            self._drops.count("too large", large, f"packet_max_message is {limit} bytes: raise it if the server takes more (Outline's own does not)")
        return fitting

    def close(self) -> None:
        if self._closed or self._finished:
            return
        self._closed = True
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._stop_waiting)
        close = self._encoder.control(CLOSE, NORMAL.to_bytes(2, "big"))
        if self._pacer is not None:
            self._pacer.send_last(close)
        else:
            self._lower.write(close)
        self._lower.resume_reading()  # to see the answer

    def keep_alive(self, doubt: bool = False) -> None:
        """Ping a server that is silent, and give it up if it stays so; what waits for the socket is watched below."""
        if self._closed or self._finished:
            return
        if self._role is Role.CLIENT and not self._full:
            ping = self._heartbeat.due(doubt)
            if ping is None:
                self._finished = True
                self._lower.abort(TimeoutError("the server does not answer pings"))
                return
            self._write_control(ping)
        self._lower.keep_alive(doubt)

    async def ping(self) -> None:
        """Ask the server for a sign of life, and wait for it: anything that comes is one. The channel must have a sink.

        :raises OSError: if the channel ends before, with what ended it
        """
        self._write_control(self._heartbeat.ask())
        await self._heartbeat.answered()

    def _write_control(self, frames: bytes) -> None:
        """Write control frames ahead of what waits for its turn."""
        if frames and not (self._closed or self._finished):
            if self._pacer is not None:
                self._pacer.sent(len(frames))
            self._lower.write(frames)

    # -- ending

    def _stop_waiting(self) -> None:
        """What was taken did not all leave in time, or the peer did not answer our Close frame."""
        if self._pacer is not None and (waiting := self._pacer.stop()):
            self._drops.count("closed before the server had taken it", waiting - 1)  # the last one is the Close frame
            self._lower.write(self._encoder.control(CLOSE, NORMAL.to_bytes(2, "big")))
        self._finish()

    def _end(self, exc: Exception | None) -> None:
        """The WebSocket is over, and the connection with it: by closing, so that nothing overtakes our Close frame."""
        closed = self._closed
        self._finish()
        if not closed:  # after our own `close`, when the connection is over, so that nobody stops the loop before
            self._tell_lost(exc)

    def _finish(self) -> None:
        self._stop()
        if self._full:  # it does not read
            self._lower.abort()
        else:
            self._lower.close()

    def _stop(self) -> None:
        self._finished = True
        if self._pacer is not None:
            self._pacer.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_lost(self, exc: Exception | None) -> None:
        if self._lost is not None:
            return
        self._lost = (exc,)
        close = self._decoder.close
        code = None if close is None else close.code or "empty"
        log.debug("WebSocket ended", peer=self._peer, close_received=code, close_reason=(close and close.reason) or None, error=exc)
        self._heartbeat.lost(exc or TruncatedError("the channel was closed"))
        sink, self._sink = self._sink, NO_PACKET_SINK  # breaks the reference circle
        sink.connection_lost(exc)
