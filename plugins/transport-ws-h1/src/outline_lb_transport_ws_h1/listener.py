"""The accepting half: a web server with two paths at most, which are WebSockets: for streams, and for packets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import anyio
import structlog
from anyio.abc import TaskGroup

from outline_lb.api import (
    Address,
    Drops,
    Listener,
    ListenerDeps,
    PacketChannel,
    Secret,
    SecretUrl,
    SocketListener,
    SocketStream,
    Stream,
    TlsStream,
    describe,
    server_context,
)
from outline_lb_websocket.frames import Role
from outline_lb_websocket.head import HeadError
from outline_lb_websocket.packets import WebSocketPackets
from outline_lb_websocket.server_handshake import Answer, answer, answer_malformed
from outline_lb_websocket.stream import WebSocketStream

from .options import ListenOptions
from .requests import RequestReader

log = structlog.get_logger("ws-h1")

Accepted: TypeAlias = Callable[[Stream], None]
Associated: TypeAlias = Callable[[PacketChannel[bytes]], None]

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
        self._paths = tuple(path.reveal() for path in (options.path, options.packet_path) if path is not None)
        self._drops = Drops(listener=str(options.address))
        self._bind = deps.bind
        self._socket: SocketListener | None = None
        self._tls: ssl.SSLContext | None = None
        self._handshakes = 0
        self._overloaded = False

    @property
    def address(self) -> Address:
        assert self._socket is not None, "not prepared"
        return self._socket.address

    def url(self, host: str) -> SecretUrl:
        return self._url(host, self._options.path)

    def packet_url(self, host: str) -> SecretUrl | None:
        path = self._options.packet_path
        return None if path is None else self._url(host, path)

    def _url(self, host: str, path: Secret) -> SecretUrl:
        scheme = "ws" if self._options.tls is None else "wss"
        return SecretUrl(f"{scheme}://{Address.of(host, self._options.address.port)}{path.reveal()}")

    async def prepare(self) -> None:
        tls = self._options.tls
        if tls is not None:
            self._tls = server_context(tls.certificate, tls.key, ALPN)
        self._socket = self._bind(self._options.address)

    async def serve(self, accepted: Accepted, associated: Associated) -> None:
        assert self._socket is not None, "not prepared"
        async with anyio.create_task_group() as tasks:
            self._socket.start(partial(self._begin, tasks, accepted, associated))
            try:
                await anyio.sleep_forever()
            finally:
                self._socket.stop()

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _begin(self, tasks: TaskGroup, accepted: Accepted, associated: Associated, stream: SocketStream) -> None:
        if self._handshakes < MAX_HANDSHAKES:
            self._handshakes += 1
            tasks.start_soon(self._serve_client, stream, accepted, associated)
            return
        stream.abort()
        if not self._overloaded:
            self._overloaded = True
            log.warning("too many handshakes at once: turning clients away", address=str(self.address), limit=MAX_HANDSHAKES)

    async def _serve_client(self, lower: SocketStream, accepted: Accepted, associated: Associated) -> None:
        peer = str(lower.peer_address)
        try:
            async with asyncio.timeout(self._options.handshake_timeout):
                opened = await self._shake_hands(lower, peer)
        except OSError as exc:  # which TimeoutError, ssl.SSLError and StreamError are too
            log.debug("handshake failed", client=peer, error=describe(exc))
            return
        finally:
            self._handshakes -= 1
            if self._handshakes < MAX_HANDSHAKES // 2:
                self._overloaded = False
        if isinstance(opened, WebSocketStream):
            accepted(opened)
        elif opened is not None:
            associated(opened)

    async def _shake_hands(self, lower: Stream, peer: str) -> WebSocketStream | WebSocketPackets | None:
        stream = lower
        if self._tls is not None:
            stream = secured = TlsStream(lower, self._tls, server_side=True)
            await secured.handshake()
            log.debug("TLS handshake done", client=peer, version=secured.version, alpn=secured.alpn)
        requests = RequestReader(stream)
        try:
            return await self._answer_requests(requests, stream, peer)
        except BaseException:
            if requests.idle:  # whose time is over is told so by an end (RFC 9112 section 9.5)
                stream.close()
            else:
                stream.abort()
            raise

    async def _answer_requests(self, requests: RequestReader, stream: Stream, peer: str) -> WebSocketStream | WebSocketPackets | None:
        """Refuse requests until one is the right one, or the last one; then there is no WebSocket."""
        while True:
            try:
                reply = await self._next_answer(requests)
            except HeadError as exc:
                reply = answer_malformed(exc)
            if reply is None:
                break
            if reply.accepted and requests.rest:  # Outline's own server hangs up here too
                log.debug("the client did not wait for the answer", client=peer)
                break
            stream.write(reply.response)
            if reply.accepted:
                log.debug("WebSocket opened", client=peer, status=101)
                return self._open(stream, reply.path, peer)
            log.debug("request refused", client=peer, status=reply.status)
            if reply.last:
                break
            await requests.answered()
        stream.close()
        return None

    def _open(self, stream: Stream, path: str, peer: str) -> WebSocketStream | WebSocketPackets:
        if path == self._options.path.reveal():
            return WebSocketStream(stream, Role.SERVER, defer_eof_timeout=self._options.defer_eof_timeout, peer=peer)
        return WebSocketPackets(stream, Role.SERVER, self._drops, peer=peer)

    async def _next_answer(self, requests: RequestReader) -> Answer | None:
        """Return the answer to the next request; None if there is none any more."""
        head = await requests.head()
        if head is None:
            return None
        reply = answer(head, *self._paths)
        if not (reply.accepted or reply.last):
            await requests.skip(reply.body)
        return reply
