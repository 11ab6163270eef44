"""The accepting half."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from outline_lb.api import Address, Listener, ListenerDeps, SecretUrl, SocketListener, Stream

from .options import ListenerOptions


class TcpListener(Listener):
    """Accepts TCP connections; there is no handshake.

    :param options: from the configuration
    :param deps: binds the address
    """

    def __init__(self, options: ListenerOptions, deps: ListenerDeps) -> None:
        self._options = options
        self._bind = deps.bind
        self._socket: SocketListener | None = None

    @property
    def address(self) -> Address:
        return self._bound().address

    def url(self, host: str) -> SecretUrl:
        return SecretUrl(f"tcp://{Address.of(host, self._options.address.port)}")

    async def prepare(self) -> None:
        self._socket = self._bind(self._options.address)

    async def serve(self, accepted: Callable[[Stream], None]) -> None:
        socket = self._bound()
        socket.start(accepted)
        try:
            await anyio.sleep_forever()
        finally:
            socket.stop()

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _bound(self) -> SocketListener:
        assert self._socket is not None, "prepare comes first"
        return self._socket
