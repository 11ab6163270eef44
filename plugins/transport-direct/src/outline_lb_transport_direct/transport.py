"""A transport that dials each flow's own target, and sends packets to theirs."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from typing import Final

from outline_lb.api import (
    DialError,
    Drops,
    Flow,
    Packet,
    PacketChannel,
    PacketDialer,
    Reason,
    SocketAddress,
    Stream,
    StreamDialer,
    TargetError,
    Transport,
    TransportDeps,
    UpstreamError,
    is_public,
)

from .options import Options
from .packets import DirectChannel, family_of

_BROKEN: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN))
_NO_WAY: Final = frozenset((errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM))


class Direct(Transport, StreamDialer, PacketDialer):
    """Connects from this machine, and sends packets from it.

    :param options: from the configuration
    :param deps: opens the sockets
    """

    def __init__(self, options: Options, deps: TransportDeps) -> None:
        self._connector = deps.connector if options.source is None else deps.connector.with_source(options.source)
        self._timeout = options.connect_timeout
        self._drops = Drops(transport="direct")

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        operation = "resolve"
        candidates: list[SocketAddress] = []
        try:
            async with asyncio.timeout(self._timeout):
                candidates = await self._connector.resolve(flow.target)
                if flow.public_only:
                    candidates = _public(candidates)
                operation = "connect"
                stream = await self._connector.connect_to(candidates)
        except TimeoutError:
            raise TargetError(operation, TimeoutError(f"no answer within {self._timeout:g} s")) from None
        except DialError as exc:
            blamed = UpstreamError if self._is_ours(exc, candidates) else TargetError
            raise blamed(exc.operation, exc.cause, reason=exc.reason) from exc
        stream.write(first)
        return stream

    async def dial_packets(self, flow: Flow) -> PacketChannel[Packet]:
        channel = DirectChannel(self._connector, self._drops, flow.public_only, self._timeout)
        source, target = self._connector.via.source, flow.target
        ip = target.ip if source is None else ipaddress.ip_address(source)
        if ip is not None:
            family = family_of(ip)
            try:
                channel.open(family)
            except DialError as exc:
                if self._is_ours(exc, [] if target.ip is None else [(family, (target.host, target.port))]):
                    raise UpstreamError(exc.operation, exc.cause, reason=exc.reason) from exc
        return channel

    def _is_ours(self, error: DialError, candidates: list[SocketAddress]) -> bool:
        """Tell whether it is this way out that does not work, whatever the target."""
        if error.operation == "bind":
            return True
        code = error.cause.errno if isinstance(error.cause, OSError) else None
        return code in _BROKEN or (code in _NO_WAY and self._leads_to_any(candidates))

    def _leads_to_any(self, candidates: list[SocketAddress]) -> bool:
        """Tell whether this way should lead to one of the addresses: a public one, and IPv6 only for a source of that family, for many have none."""
        bound = self._connector.via.source is not None
        return any((bound or family == socket.AF_INET) and is_public(ipaddress.ip_address(host)) for family, (host, _port) in candidates)


def _public(candidates: list[SocketAddress]) -> list[SocketAddress]:
    """Leave out what is not of the public internet.

    :raises DialError: if nothing is left
    """
    public = [candidate for candidate in candidates if is_public(ipaddress.ip_address(candidate[1][0]))]
    if not public:
        raise DialError("resolve", "no address of the public internet, and others are not allowed here", reason=Reason.NOT_ALLOWED)
    return public
