"""Registers the transport ``tcp`` and the listener ``tcp``."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Listener, ListenerDeps, Registration, Transport, TransportDeps, hookimpl

from .listener import TcpListener
from .options import LISTENER_SCHEMA, TRANSPORT_SCHEMA, ListenerOptions, TransportOptions
from .transport import PACKETS, STREAMS, TcpTransport

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_transports() -> Iterable[Registration[TransportOptions, TransportDeps, Transport]]:
    return [Registration(type="tcp", schema=TRANSPORT_SCHEMA, parse=TransportOptions.parse, build=TcpTransport, schemes=(STREAMS, PACKETS))]


@hookimpl
def outline_lb_listeners() -> Iterable[Registration[ListenerOptions, ListenerDeps, Listener]]:
    return [Registration(type="tcp", schema=LISTENER_SCHEMA, parse=ListenerOptions.parse, build=TcpListener)]
