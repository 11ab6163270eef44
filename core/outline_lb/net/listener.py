"""Listening TCP sockets: bound before anything serves, so that a taken port stops the start and nothing is half started."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from ..base.address import Address
from ..base.errors import StartError, describe
from .socket import SocketStream, name_of

log = structlog.get_logger("net")

BACKLOG: Final = 4096
PAUSE: Final = 0.5
"""Seconds without accepting after the system had no more descriptors or memory for a connection."""
_BATCH = 64  # connections taken in one wake-up, so that a flood does not starve the flows


class SocketListener:
    """A bound socket that waits for connections.

    :param address: where to bind; port 0 takes a free one
    :param sock: a socket that is bound there already; becomes the listener's
    :raises StartError: if it cannot be bound
    """

    def __init__(self, address: Address, sock: socket.socket | None = None) -> None:
        self._accepted: Callable[[SocketStream], None] | None = None
        self._sock = sock or _bind(address)
        self.address: Final = name_of(self._sock.getsockname())

    @property
    def closed(self) -> bool:
        """Whether it listens nowhere any more."""
        return self._sock.fileno() < 0

    def share(self) -> SocketListener:
        """Return another listener on the same socket, so that it can be handed over without a moment in which nobody listens.

        Connections go to whichever of the two accepts; the port is given back when both are closed.

        :raises StartError: if there are no descriptors
        """
        try:
            return SocketListener(self.address, self._sock.dup())
        except OSError as exc:
            raise StartError(f"cannot listen on {self.address}: {describe(exc)}") from exc

    def start(self, accepted: Callable[[SocketStream], None]) -> None:
        """Begin to accept. Nothing happens if it is closed.

        :param accepted: called from the loop with each new connection, still paused
        """
        if self._sock.fileno() < 0:
            return
        self._accepted = accepted
        asyncio.get_running_loop().add_reader(self._sock, self._readable)

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._accepted is None:  # stopped by who was called with the one before
                return
            try:
                sock, _peer = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # gone before it was taken
                continue
            except OSError as exc:  # no descriptors or memory: a busy loop would not make any
                log.warning("cannot accept", address=str(self.address), error=describe(exc), retry_in=PAUSE)
                asyncio.get_running_loop().remove_reader(self._sock)
                asyncio.get_running_loop().call_later(PAUSE, self._again)
                return
            self._accepted(SocketStream(sock))

    def _again(self) -> None:
        if self._accepted is not None:
            self.start(self._accepted)

    def stop(self) -> None:
        """Accept nothing more; the socket stays bound."""
        if self._accepted is not None:
            self._accepted = None
            asyncio.get_running_loop().remove_reader(self._sock)

    def close(self) -> None:
        """Stop, and give the port back."""
        self.stop()
        self._sock.close()


def _bind(address: Address) -> socket.socket:
    ip = address.ip
    if ip is None:
        raise StartError(f"cannot listen on {address}: write an IP address instead of a name")
    try:
        return _bound(ip.version, address)
    except OSError as exc:
        raise StartError(f"cannot listen on {address}: {describe(exc)}") from exc


def _bound(version: int, address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
