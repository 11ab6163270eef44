"""Serves Shadowsocks clients over any listener."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import anyio

from outline_lb.api import AccessKey, Address, Frontend, FrontendDeps, ListenerDeps, Stream

from .associations import Associations
from .connection import Connection
from .options import Options

MAX_WAITING: Final = 4096
"""Streams that have not shown a key. For one more the oldest is closed: an honest client shows its key with its first bytes."""


class OutlineServer(Frontend):
    """A Shadowsocks server, as Outline servers are.

    :param options: listeners and keys
    :param deps: where the flows go
    """

    def __init__(self, options: Options, deps: FrontendDeps) -> None:
        self._deps = deps
        self._public_only = not options.allow_private_targets
        self._keys = options.keys
        self._ciphers = options.ciphers()
        self._listeners = [spec.build(ListenerDeps(deps.bind, deps.bind_udp)) for spec in options.listen]
        self._waiting: dict[Connection, None] = {}  # the oldest first
        self._associations = Associations(deps, self._ciphers, self._public_only, options.udp_timeout)

    async def prepare(self) -> None:
        async with AsyncExitStack() as undo:
            for listener in self._listeners:
                await listener.prepare()
                undo.push_async_callback(listener.close)
            undo.pop_all()

    @property
    def addresses(self) -> Sequence[Address]:
        return [listener.address for listener in self._listeners]

    def access_keys(self, host: str) -> Sequence[AccessKey]:
        urls = [(url, listener.packet_url(host)) for listener in self._listeners if (url := listener.url(host))]
        return [AccessKey(user, url, key.cipher.type, key.secret, packet_url) for url, packet_url in urls for user, key in self._keys.items()]

    async def serve(self) -> None:
        async with anyio.create_task_group() as tasks:
            for listener in self._listeners:
                tasks.start_soon(listener.serve, self._accepted, self._associations.begin)

    async def close(self) -> None:
        for listener in self._listeners:
            await listener.close()
        for connection in list(self._waiting):
            connection.abort()
        self._associations.close()

    def _accepted(self, stream: Stream) -> None:
        if len(self._waiting) >= MAX_WAITING:
            next(iter(self._waiting)).close()
        self._waiting[Connection(stream, self._deps, self._ciphers, self._public_only, self._done)] = None

    def _done(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
