"""UDP sockets: non-blocking, on the loop's reader callback, as many datagrams as there are in one wake-up.

There is no writer callback: what the kernel does not take at once is dropped, as a network would.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ..base.address import Address
from ..base.drops import Drops
from ..base.errors import StartError, describe, without_frames
from .socket import name_of

SocketName: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""Host and port as the socket module has them; an IPv6 one also has flow and zone."""
Datagram: TypeAlias = tuple[bytes, SocketName]
"""What came, and where from."""

BATCH: Final = 64
"""Datagrams taken in one wake-up, so that a flood does not starve the flows."""
BUFFER: Final = 1024 * 1024
"""Bytes that the kernel is asked to keep for us in each direction; it may give less."""

_MAX_DATAGRAM = 65535  # a buffer of our own and a copy of what came cost more (0.4 us) than memory of that size that is cut to what came
_REASONS = {
    errno.EAGAIN: "no room in the socket's buffer",
    errno.EWOULDBLOCK: "no room in the socket's buffer",
    errno.ENOBUFS: "no room in the network's queue",
    errno.EMSGSIZE: "larger than a datagram can be",
    errno.ENETUNREACH: "no way to the target's network",
    errno.EHOSTUNREACH: "no way to the target",
    errno.EBADF: "the socket was closed",
}


class UdpSocket:
    """A UDP socket, bound or connected.

    :param sock: becomes ours
    :param drops: hears of what could not be sent
    """

    def __init__(self, sock: socket.socket, drops: Drops) -> None:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self._sock = sock
        self._fd = sock.fileno()  # for the loop, which would look for it in the socket each time
        self._drops = drops
        self._receive: Callable[[int], Any] = sock.recvfrom
        self._received: Callable[[list[Any]], None] | None = None
        self._failed: Callable[[OSError], None] | None = None
        self.address: Final = name_of(sock.getsockname())
        """Where it is bound."""

    @classmethod
    def bind(cls, address: Address, drops: Drops | None = None) -> UdpSocket:
        """Open a socket.

        :param address: of this machine; port 0 takes a free one
        :param drops: hears of what could not be sent; None: an own one
        :raises StartError: if it cannot be bound
        """
        ip = address.ip
        if ip is None:
            raise StartError(f"cannot listen on {address}: write an IP address instead of a name")
        try:
            sock = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            try:
                if ip.version == 6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address.host, address.port))
            except BaseException:
                sock.close()
                raise
        except OSError as exc:
            raise StartError(f"cannot listen on UDP {address}: {describe(exc)}") from exc
        return cls(sock, drops or Drops(socket=str(address)))

    @property
    def closed(self) -> bool:
        """Whether it is no socket any more."""
        return self._sock.fileno() < 0

    def share(self) -> UdpSocket:
        """Return another one on the same socket, so that it can be handed over without a moment in which nobody listens.

        :raises StartError: if there are no descriptors
        """
        try:
            return UdpSocket(self._sock.dup(), self._drops)
        except OSError as exc:
            raise StartError(f"cannot listen on UDP {self.address}: {describe(exc)}") from exc

    def start(self, received: Callable[[list[Datagram]], None]) -> None:
        """Begin to receive. Nothing happens if it is closed.

        :param received: called from the loop with what is there, never nothing
        """
        self._start(self._sock.recvfrom, received, None)

    def start_connected(self, received: Callable[[list[bytes]], None], failed: Callable[[OSError], None]) -> None:
        """Begin to receive from where the socket is connected to. Nothing happens if it is closed.

        :param received: called from the loop with what is there, never nothing
        :param failed: called from the loop with what the network says about datagrams that were sent before: nobody is there, or it may not be
        """
        self._start(self._sock.recv, received, failed)  # a quarter cheaper than to be told where from

    def _start(self, receive: Callable[[int], Any], received: Callable[[list[Any]], None], failed: Callable[[OSError], None] | None) -> None:
        if not self.closed:
            self._receive, self._received, self._failed = receive, received, failed
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        receive, datagrams = self._receive, []
        error: OSError | None = None
        try:
            for _ in range(BATCH):
                datagrams.append(receive(_MAX_DATAGRAM))
        except BlockingIOError:
            pass
        except OSError as exc:
            error = exc
        if error is not None or not datagrams:
            self._watch_again()
        if datagrams and self._received is not None:
            self._received(datagrams)
        if error is not None:
            self._said(error)

    def _watch_again(self) -> None:
        """uvloop watches a socket no more once it had an error; also one that `send` was told of before the reader was called."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.add_reader(self._fd, self._readable)

    def send(self, data: bytes, to: SocketName | None = None) -> None:
        """Send a datagram; if that cannot be, it is dropped.

        :param data: its payload
        :param to: where to, a name of the socket's family with an IP address; None: where the socket is connected to
        """
        try:
            if to is None:
                self._sock.send(data)
            else:
                self._sock.sendto(data, to)
        except BlockingIOError as exc:
            self._drop(exc)
        except OSError as exc:
            if to is None:
                self._send_again(data, exc)
            else:
                self._drop(exc)

    def _send_again(self, data: bytes, error: OSError) -> None:
        """A connected socket may speak of a datagram before; then this one was not tried."""
        try:
            self._sock.send(data)
        except OSError as exc:
            self._drop(exc)
            if exc.errno == error.errno:
                return
        if self._received is not None:
            asyncio.get_running_loop().call_soon(self._heard, error)

    def _heard(self, error: OSError) -> None:
        """Tell of an error that was found by sending."""
        if self._received is not None:
            self._watch_again()
            self._said(error)

    def _said(self, error: OSError) -> None:
        if error.errno == errno.EMSGSIZE:  # the system knows the path's limit now, and sends the next ones in fragments
            self._drops.count("larger than the path takes in one piece")
        elif self._failed is not None:
            without_frames(error)
            self._failed(error)

    def _drop(self, exc: OSError) -> None:
        self._drops.count(_REASONS.get(exc.errno or 0) or os.strerror(exc.errno or 0))

    def stop(self) -> None:
        """Receive nothing more; the socket stays open."""
        if self._received is not None:
            self._received = self._failed = None
            asyncio.get_running_loop().remove_reader(self._fd)

    def close(self) -> None:
        """Stop, and let go of the socket."""
        self.stop()
        self._sock.close()
