"""TCP sockets as streams: non-blocking, on the loop's reader and writer callbacks.

Not the loop's own transports, because those keep what they are given (so nothing could be borrowed), end an abort with a FIN, and cost more
memory for each idle stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import sys
from typing import Final

import structlog

from ..base.address import Address
from ..base.errors import AbortedError, without_frames
from ..base.stream import NOBODY, Buffer, Stream, StreamSink

log = structlog.get_logger("net")

RECEIVE_SIZE: Final = 256 * 1024
LINGER: Final = 2.0
"""Seconds that `close` waits for the peer's end, so that what it still sends cannot turn our end into a reset."""
STALL: Final = 300.0
"""Seconds without any progress after which `close` gives up a peer that does not take what was written (some players pause for minutes)."""

ANSWERLESS: Final = 48.0
"""Seconds from the first `keep_alive` that finds something not acknowledged to the one that takes the peer for gone, if nothing was meanwhile; the
kernel tries for 15 minutes. Once is not enough: what was sent a moment ago after a long silence looks the same."""

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # seconds, seconds, probes: two minutes until an idle peer is gone
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux
_INFO_SIZE = 104
_UNACKED, _PROBES, _LAST_ACK = 24, 3, 56  # where struct tcp_info has tcpi_unacked, tcpi_probes, tcpi_last_ack_recv (ms)
_RESET = struct.pack("ii", 1, 0)
_MAX_PIECES = 64  # of the queue in one system call; any number well below IOV_MAX
_RECEIVED = memoryview(bytearray(RECEIVE_SIZE))  # shared by all sockets of the loop: what lies here is borrowed


class SocketStream(Stream):
    """A connected TCP socket. It is full while the kernel does not take everything, so at most one wake-up's data waits here.

    :param sock: connected; becomes ours
    """

    __slots__ = (
        "_closing",
        "_eof_received",
        "_eof_sent",
        "_fd",
        "_loop",
        "_lost",
        "_queue",
        "_reading",
        "_sink",
        "_sock",
        "_timer",
        "_unanswered",
        "_watched",
    )

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # some systems refuse when the peer is gone already: reading will tell
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if number := getattr(socket, name, None):
                    sock.setsockopt(socket.IPPROTO_TCP, number, value)
        self._sock = sock
        self._fd = sock.fileno()  # for the loop, which would look for it in the socket each time
        self._loop = asyncio.get_running_loop()
        self._sink: StreamSink = NOBODY
        self._queue: list[memoryview] = []  # while there is something, the loop tells when the socket takes more
        self._reading = self._closing = False
        self._watched = False  # the loop tells when there is something to read
        self._eof_received = False
        self._eof_sent = False  # asked for; done once the queue is empty
        self._lost: tuple[Exception | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered: float | None = None  # the loop's time at which `keep_alive` first found something not acknowledged

    @property
    def local_address(self) -> Address | None:
        try:
            return name_of(self._sock.getsockname())
        except OSError:
            return None

    @property
    def peer_address(self) -> Address | None:
        try:
            return name_of(self._sock.getpeername())
        except OSError:
            return None

    def set_sink(self, sink: StreamSink) -> None:
        self._sink = sink
        if self._lost is not None:
            self._loop.call_soon(self._tell_lost)

    # -- writing

    def write(self, data: Buffer) -> None:
        if not data or self._eof_sent or self._lost is not None:
            return
        if self._queue:
            self._queue.append(memoryview(bytes(data)))
            self._sink.pause_writing()
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._finish(exc)
            return
        if sent < len(data):
            self._queue.append(memoryview(bytes(memoryview(data)[sent:])))
            self._loop.add_writer(self._fd, self._writable)
            self._sink.pause_writing()

    def _writable(self) -> None:
        queue = self._queue
        try:
            sent = self._sock.sendmsg(queue[:_MAX_PIECES])
        except BlockingIOError:
            return
        except OSError as exc:
            self._finish(exc)
            return
        done = 0
        for piece in queue:
            if sent < len(piece):
                break
            sent -= len(piece)
            done += 1
        del queue[:done]
        if sent:
            queue[0] = queue[0][sent:]
        if not queue:
            self._loop.remove_writer(self._fd)
            if self._eof_sent:
                self._shut()
            else:
                self._sink.resume_writing()

    def write_eof(self) -> None:
        if not self._eof_sent and self._lost is None:
            self._eof_sent = True
            if not self._queue:
                self._shut()

    def _shut(self) -> None:
        """Everything is written: end our direction, and the stream with it if the peer's has ended too."""
        if self._eof_received:
            self._finish(None)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self._finish(exc)
            return
        if self._closing:
            self._linger()

    # -- reading

    def pause_reading(self) -> None:
        """Stop, at the latest when something comes: most pauses are shorter than that, and to tell the loop costs system calls."""
        if not self._closing:
            self._reading = False

    def resume_reading(self) -> None:
        if not (self._reading or self._eof_received or self._lost):
            self._start_reading()

    def _start_reading(self) -> None:
        self._reading = True
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        """Take what is there. Whatever goes wrong above, the bytes are gone then, and so must the stream be: the loop would just go on."""
        try:
            self._receive()
        except Exception as exc:
            log.exception("stream aborted")
            self._finish(exc)

    def _receive(self) -> None:
        if not self._reading:
            self._stop_reading()
            return
        try:
            size = self._sock.recv_into(_RECEIVED)
            # uvloop tells of an error once, with the data before it, and then watches the socket no more
            error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if size else 0
        except BlockingIOError:
            return
        except OSError as exc:
            self._finish(exc)
            return
        if self._closing:
            if not size:
                self._end_of_linger()
        elif size:
            self._sink.data_received(_RECEIVED[:size])
        else:
            self._eof_received = True
            self._stop_reading()
            self._sink.eof_received()
            if self._eof_sent and not self._queue:  # only now, for the sink may know that this end came too early
                self._finish(None)
        if error:
            self._finish(OSError(error, os.strerror(error)))

    def _stop_reading(self) -> None:
        self._reading = False
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._fd)

    def keep_alive(self, doubt: bool = False) -> None:
        """End a connection whose peer acknowledges nothing. (TCP_USER_TIMEOUT would also end one whose peer just does not read.)"""
        if _TCP_INFO is None or self._lost is not None:
            return
        info = self._sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_SIZE)
        if len(info) == _INFO_SIZE:
            waiting = bool(info[_PROBES] or int.from_bytes(info[_UNACKED : _UNACKED + 4], sys.byteorder))
            self._judge_silence(waiting, int.from_bytes(info[_LAST_ACK : _LAST_ACK + 4], sys.byteorder) / 1000)

    def _judge_silence(self, waiting: bool, silent: float) -> None:
        """Look how long something has been waiting for its acknowledgement.

        :param waiting: whether something is
        :param silent: seconds since the last one
        """
        now = self._loop.time()
        if not waiting:
            self._unanswered = None
        elif self._unanswered is None or silent < now - self._unanswered:
            self._unanswered = now
        elif now - self._unanswered >= ANSWERLESS:
            self.abort(TimeoutError(errno.ETIMEDOUT, "nothing was acknowledged for too long"))

    # -- ending

    def close(self) -> None:
        if self._closing or self._lost is not None:
            return
        self._closing = True
        if not (self._reading or self._eof_received):  # to see the peer's end
            self._start_reading()
        if self._queue:
            self._eof_sent = True
            self._timer = self._loop.call_later(STALL, self._look_for_progress, self._left())
        elif self._eof_sent:
            self._linger()
        else:
            self.write_eof()

    def _left(self) -> int:
        return sum(map(len, self._queue))

    def _look_for_progress(self, before: int) -> None:
        left = self._left()
        if left == before:
            self._finish(AbortedError(f"closed, and for {STALL:g} s the peer took nothing of what was left"))
        else:
            self._timer = self._loop.call_later(STALL, self._look_for_progress, left)

    def _linger(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER, self._finish, None)

    def _end_of_linger(self) -> None:
        self._eof_received = True
        self._stop_reading()
        if not self._queue:
            self._finish(None)

    def abort(self, cause: Exception | None = None) -> None:
        self._finish(cause or AbortedError("aborted on this side"))

    def _finish(self, exc: Exception | None) -> None:
        """Close the socket, with a reset if there is a cause, and tell the sink from the loop."""
        if self._lost is not None:
            return
        self._lost = (None if exc is None else without_frames(exc),)
        self._stop_reading()
        if self._queue:
            self._loop.remove_writer(self._fd)
            self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        if exc is not None:
            with contextlib.suppress(OSError):  # some systems refuse when the peer is gone already
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sock.close()
        self._loop.call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        assert self._lost is not None
        sink, self._sink = self._sink, NOBODY  # breaks the reference circle
        sink.connection_lost(self._lost[0])

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<SocketStream {state} fd={self._sock.fileno()}>"


def name_of(sockname: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Return a socket name as an address, without the zone of a link-local one."""
    return Address(sockname[0].partition("%")[0], sockname[1])
