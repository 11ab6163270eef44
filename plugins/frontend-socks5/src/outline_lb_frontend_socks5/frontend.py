"""Listens for SOCKS5 clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from outline_lb.api import Address, Frontend, FrontendDeps, SocketListener, Stream

from .associations import Associations
from .connection import Connection
from .options import Options
from .users import Brake, Users

MAX_HANDSHAKES: Final = 1024
"""Handshakes under way. For one more the oldest is given up: an honest client needs milliseconds, so whoever is slow makes room."""


class Socks5Frontend(Frontend):
    """SOCKS5 (RFC 1928): CONNECT and UDP ASSOCIATE, with or without user name and password (RFC 1929).

    Flows outlive it, of streams and of packets.

    :param options: where to listen, and for whom
    :param deps: where the flows go
    """

    def __init__(self, options: Options, deps: FrontendDeps) -> None:
        self._options = options
        self._deps = deps
        self._users = Users(options.users) if options.users else None
        self._brake = Brake()
        self._associations = Associations(options.udp, deps) if options.udp else None
        self._listener: SocketListener | None = None
        self._handshakes: dict[Connection, None] = {}  # the oldest first

    async def prepare(self) -> None:
        self._listener = self._deps.bind(self._options.listen)

    @property
    def addresses(self) -> Sequence[Address]:
        return [self._listener.address] if self._listener else []

    async def serve(self) -> None:
        listener = self._listener
        assert listener is not None
        listener.start(self._accepted)
        try:
            await anyio.sleep_forever()
        finally:
            listener.stop()

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._handshakes):
            connection.abort()
        if self._associations is not None:
            self._associations.close()

    def _accepted(self, stream: Stream) -> None:
        if len(self._handshakes) >= MAX_HANDSHAKES:
            next(iter(self._handshakes)).abort()
        connection = Connection(stream, self._deps, self._users, self._brake, self._associations, self._done)
        self._handshakes[connection] = None

    def _done(self, connection: Connection) -> None:
        self._handshakes.pop(connection, None)
