"""The connecting half: TCP, TLS for wss:// URLs, and the upgrade to WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from outline_lb.api import (
    DialError,
    Drops,
    PacketTransport,
    ProtocolError,
    Reason,
    SecretUrl,
    StandbyEndpoint,
    Stream,
    StreamTransport,
    TlsStream,
    TransportDeps,
    UpstreamError,
    format_duration,
)
from outline_lb_websocket.client_handshake import RefusedError, build_request, check_response
from outline_lb_websocket.frames import Role
from outline_lb_websocket.key import new_key
from outline_lb_websocket.packets import WebSocketPackets
from outline_lb_websocket.stream import WebSocketStream

from .options import ConnectOptions
from .upgrade import read_head

log = structlog.get_logger("ws-h1")

ALPN: Final = ("http/1.1",)
_PORTS = {"ws": 80, "wss": 443}

WebSocketT = TypeVar("WebSocketT", bound=WebSocketStream | WebSocketPackets)


class WsH1Transport(StreamTransport, PacketTransport):
    """Opens WebSocket connections over HTTP/1.1, one for each stream, and for the packets of each flow.

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

    def stream_endpoint(self, url: SecretUrl) -> WsH1Endpoint[WebSocketStream]:
        defer, peer = self.options.defer_eof_timeout, str(url)
        return WsH1Endpoint(self, url, lambda lower, leftover: WebSocketStream(lower, Role.CLIENT, leftover, defer, peer))

    def packet_endpoint(self, url: SecretUrl) -> WsH1Endpoint[WebSocketPackets]:
        limit, peer = self.options.packet_max_message, str(url)
        drops = Drops(server=peer)
        return WsH1Endpoint(self, url, lambda lower, leftover: WebSocketPackets(lower, Role.CLIENT, drops, leftover, limit, peer))


class WsH1Endpoint(StandbyEndpoint[WebSocketT]):
    """One server, for one kind of traffic.

    :param transport: prepared before the first connection
    :param url: with the scheme ``ws`` or ``wss``
    :param begin: makes what is opened, of the connection and of what came behind the upgrade
    """

    def __init__(self, transport: WsH1Transport, url: SecretUrl, begin: Callable[[Stream, bytes], WebSocketT]) -> None:
        self._transport = transport
        self._begin = begin
        self._options = transport.options
        self._url = url
        self._name = str(url)
        address = url.address
        self._host = str(address).rpartition(":")[0] if address.port == _PORTS[url.scheme] else str(address)
        self._server_name = (self._options.tls.server_name or address.host).rstrip(".")

    async def connect(self) -> WebSocketT:
        clock = asyncio.get_running_loop().time
        started = clock()
        log.debug("connecting", server=self._name)
        try:
            link = await self._connect()
        except UpstreamError as exc:
            log.debug("connection failed", server=self._name, error=exc, took=format_duration(clock() - started))
            raise
        log.debug("WebSocket opened", server=self._name, address=link.peer_address, status=101, took=format_duration(clock() - started))
        return link

    async def check(self, link: WebSocketT) -> None:
        try:
            await link.ping()
        except OSError as exc:
            raise UpstreamError("ping", exc) from exc

    async def _connect(self) -> WebSocketT:
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

    async def _upgrade(self, lower: Stream) -> WebSocketT:
        key = new_key()
        headers = [(name, value.reveal()) for name, value in self._options.headers]
        lower.write(build_request(self._host, self._url.reveal_target(), key, headers))
        try:
            head, leftover = await read_head(lower)
            check_response(head, key)
        except BaseException:
            lower.abort()
            raise
        return self._begin(lower, leftover)
