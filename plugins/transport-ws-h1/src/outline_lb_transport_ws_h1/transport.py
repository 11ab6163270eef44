"""The connecting half: TCP, TLS for wss:// URLs, and the upgrade to WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import structlog

from outline_lb.api import (
    DialError,
    ProtocolError,
    Reason,
    SecretUrl,
    StandbyEndpoint,
    Stream,
    StreamEndpoint,
    StreamTransport,
    TlsStream,
    TransportDeps,
    UpstreamError,
    format_duration,
)
from outline_lb_websocket.client_handshake import RefusedError, build_request, check_response
from outline_lb_websocket.frames import Role
from outline_lb_websocket.key import new_key
from outline_lb_websocket.stream import WebSocketStream

from .options import ConnectOptions
from .upgrade import read_head

log = structlog.get_logger("ws-h1")

ALPN: Final = ("http/1.1",)
_PORTS = {"ws": 80, "wss": 443}


class WsH1Transport(StreamTransport):
    """Opens WebSocket connections over HTTP/1.1, one for each stream.

    :param options: how
    :param deps: what opens the TCP connections
    """

    def __init__(self, options: ConnectOptions, deps: TransportDeps) -> None:
        self.options = options
        self.connector = deps.connector
        self.tls: ssl.SSLContext | None = None  # after `prepare`

    async def prepare(self) -> None:
        tls = self.options.tls
        self.tls = tls.context(ALPN)
        if tls.insecure and not tls.pins:
            log.warning("the servers' certificates are not checked: anybody on the way can be the server", mend="pin its key in tls.pins")

    def stream_endpoint(self, url: SecretUrl) -> StreamEndpoint:
        return WsH1Endpoint(self, url)


class WsH1Endpoint(StandbyEndpoint):
    """One server.

    :param transport: prepared before the first connection
    :param url: with the scheme ``ws`` or ``wss``
    """

    def __init__(self, transport: WsH1Transport, url: SecretUrl) -> None:
        self._transport = transport
        self._options = transport.options
        self._url = url
        self._name = str(url)
        address = url.address
        self._host = str(address).rpartition(":")[0] if address.port == _PORTS[url.scheme] else str(address)
        self._server_name = (self._options.tls.server_name or address.host).rstrip(".")

    async def connect_stream(self) -> Stream:
        clock = asyncio.get_running_loop().time
        started = clock()
        log.debug("connecting", server=self._name)
        try:
            stream = await self._connect()
        except UpstreamError as exc:
            log.debug("connection failed", server=self._name, error=exc, took=format_duration(clock() - started))
            raise
        log.debug("WebSocket opened", server=self._name, address=stream.peer_address, status=101, took=format_duration(clock() - started))
        return stream

    async def check_stream(self, stream: Stream) -> None:
        assert isinstance(stream, WebSocketStream)
        try:
            await stream.ping()
        except OSError as exc:
            raise UpstreamError("ping", exc) from exc

    async def _connect(self) -> Stream:
        connector, timeout = self._transport.connector, self._options.connect_timeout
        operation = "resolve"
        try:
            async with asyncio.timeout(timeout):
                candidates = await connector.resolve(self._url.address)
                operation = "connect"
                stream: Stream = await connector.connect_to(candidates)
                if self._url.scheme == "wss":
                    operation = "tls"
                    stream = await self._secure(stream)
                operation = "upgrade"
                return await self._upgrade(stream)
        except DialError as exc:
            raise UpstreamError(exc.operation, exc.cause) from exc
        except RefusedError as exc:
            raise UpstreamError(operation, exc, retry_after=exc.retry_after) from exc
        except TimeoutError:
            raise UpstreamError(operation, f"no answer within {format_duration(timeout)}", reason=Reason.TIMEOUT) from None
        except OSError as exc:  # which ssl.SSLError and StreamError are too
            raise UpstreamError(operation, exc) from exc

    async def _secure(self, lower: Stream) -> Stream:
        context, pins = self._transport.tls, self._options.tls.pins
        assert context is not None, "not prepared"
        started = asyncio.get_running_loop().time()
        stream = TlsStream(lower, context, self._server_name)
        await stream.handshake()
        took = format_duration(asyncio.get_running_loop().time() - started)
        log.debug("TLS handshake done", server=self._name, version=stream.version, alpn=stream.alpn, took=took)
        if pins:
            try:
                stream.verify_pin(pins)
            except ProtocolError:
                stream.abort()
                raise
        return stream

    async def _upgrade(self, lower: Stream) -> Stream:
        key = new_key()
        headers = [(name, value.reveal()) for name, value in self._options.headers]
        lower.write(build_request(self._host, self._url.reveal_target(), key, headers))
        try:
            head, leftover = await read_head(lower)
            check_response(head, key)
        except BaseException:
            lower.abort()
            raise
        return WebSocketStream(lower, Role.CLIENT, leftover, self._options.defer_eof_timeout, self._name)
