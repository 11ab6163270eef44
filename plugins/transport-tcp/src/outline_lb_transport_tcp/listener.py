"""The accepting half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from outline_lb.api import Address, Listener, ListenerDeps, PacketChannel, SecretUrl, SocketListener, StartError, Stream, UdpSocket

from .options import ListenerOptions
from .packets import Clients
from .transport import PACKETS, STREAMS

ATTEMPTS: Final = 20
"""Ports that the system may choose until one is free for both TCP and UDP."""


class TcpListener(Listener):
    """Accepts TCP connections, and datagrams at the same port of UDP; there is no handshake.

    :param options: from the configuration
    :param deps: binds the address
    """

    def __init__(self, options: ListenerOptions, deps: ListenerDeps) -> None:
        self._options = options
        self._deps = deps
        self._socket: SocketListener | None = None
        self._clients: Clients | None = None

    @property
    def address(self) -> Address:
        return self._bound().address

    def url(self, host: str) -> SecretUrl:
        return self._url(STREAMS, host)

    def packet_url(self, host: str) -> SecretUrl | None:
        return self._url(PACKETS, host) if self._options.udp else None

    def _url(self, scheme: str, host: str) -> SecretUrl:
        return SecretUrl(f"{scheme}://{Address.of(host, self._options.address.port)}")

    async def prepare(self) -> None:
        if not self._options.udp:
            self._socket = self._deps.bind(self._options.address)
        else:
            self._socket, udp = self._bind_both()
            self._clients = Clients(udp)

    def _bind_both(self) -> tuple[SocketListener, UdpSocket]:
        """Bind one port of TCP and UDP. One that the system chose for TCP may be somebody's of UDP; then another one will do."""
        address, given_up = self._options.address, []
        try:
            while True:
                tcp = self._deps.bind(address)
                try:
                    return tcp, self._deps.bind_udp(tcp.address)
                except StartError:
                    given_up.append(tcp)
                    if address.port or len(given_up) == ATTEMPTS:
                        raise
        finally:  # not before: the system could choose the same one again
            for tcp in given_up:
                tcp.close()

    async def serve(self, accepted: Callable[[Stream], None], associated: Callable[[PacketChannel[bytes]], None]) -> None:
        socket = self._bound()
        socket.start(accepted)
        if self._clients is not None:
            self._clients.serve(associated)
        try:
            await anyio.sleep_forever()
        finally:
            socket.stop()
            if self._clients is not None:
                self._clients.stop()

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._clients is not None:
            self._clients.close()

    def _bound(self) -> SocketListener:
        assert self._socket is not None, "prepare comes first"
        return self._socket
