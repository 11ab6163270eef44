"""The accepting half: a web server with a single path, which is a WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from outline_lb.api import Address, Listener, ListenerDeps, SocketListener, SocketStream, Stream, TlsStream, describe, server_context
from outline_lb_websocket.head import HeadError
from outline_lb_websocket.server_handshake import answer, answer_malformed
from outline_lb_websocket.stream import Role, WebSocketStream

from .options import ListenOptions
from .upgrade import read_head

log = structlog.get_logger("ws-h1")

ALPN: Final = ("http/1.1",)
MAX_HANDSHAKES: Final = 1024
"""Handshakes that may be under way; who comes then is turned away, so that slow clients take a bounded amount of memory."""


class WsH1Listener(Listener):
    """Accepts WebSocket connections over HTTP/1.1, with or without TLS.

    :param options: how
    :param deps: what binds the socket
    """

    def __init__(self, options: ListenOptions, deps: ListenerDeps) -> None:
        self._options = options
        self._bind = deps.bind
        self._socket: SocketListener | None = None
        self._tls: ssl.SSLContext | None = None
        self._handshakes = 0
        self._overloaded = False

    @property
    def address(self) -> Address:
        assert self._socket is not None, "not prepared"
        return self._socket.address

    async def prepare(self) -> None:
        tls = self._options.tls
        if tls is not None:
            self._tls = server_context(tls.certificate, tls.key, ALPN)
        self._socket = self._bind(self._options.address)

    async def serve(self, accepted: Callable[[Stream], None]) -> None:
        assert self._socket is not None, "not prepared"
        async with anyio.create_task_group() as tasks:
            self._socket.start(partial(self._begin, tasks, accepted))
            try:
                await anyio.sleep_forever()
            finally:
                self._socket.stop()

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _begin(self, tasks: TaskGroup, accepted: Callable[[Stream], None], stream: SocketStream) -> None:
        if self._handshakes < MAX_HANDSHAKES:
            self._handshakes += 1
            tasks.start_soon(self._serve_client, stream, accepted)
            return
        stream.abort()
        if not self._overloaded:
            self._overloaded = True
            log.warning("too many handshakes at once: turning clients away", address=str(self.address), limit=MAX_HANDSHAKES)

    async def _serve_client(self, lower: SocketStream, accepted: Callable[[Stream], None]) -> None:
        peer = str(lower.peer_address)
        try:
            async with asyncio.timeout(self._options.handshake_timeout):
                stream = await self._shake_hands(lower, peer)
        except OSError as exc:  # which TimeoutError, ssl.SSLError and StreamError are too
            log.debug("handshake failed", client=peer, error=describe(exc))
            return
        finally:
            self._handshakes -= 1
            if self._handshakes < MAX_HANDSHAKES // 2:
                self._overloaded = False
        if stream is not None:
            accepted(stream)

    async def _shake_hands(self, lower: Stream, peer: str) -> Stream | None:
        stream = lower
        if self._tls is not None:
            stream = secured = TlsStream(lower, self._tls, server_side=True)
            await secured.handshake()
            log.debug("TLS handshake done", client=peer, version=secured.version, alpn=secured.alpn)
        try:
            head, early = await read_head(stream)
            reply = answer(head, self._options.path.reveal())
        except HeadError as exc:
            reply, early = answer_malformed(exc), b""
        except BaseException:
            stream.abort()
            raise
        if reply.accepted and early:  # Outline's own server hangs up here too
            log.debug("the client did not wait for the answer", client=peer)
            stream.close()
            return None
        stream.write(reply.response)
        if reply.accepted:
            log.debug("WebSocket opened", client=peer, status=101)
            return WebSocketStream(stream, Role.SERVER, defer_eof_timeout=self._options.defer_eof_timeout, peer=peer)
        log.debug("request refused", client=peer, status=reply.status)
        stream.close()
        return None
