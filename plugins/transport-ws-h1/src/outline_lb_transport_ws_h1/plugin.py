"""What this distribution contributes: the transport ``ws-h1`` and the listener of the same name."""

from __future__ import annotations

from collections.abc import Iterable

from outline_lb.api import Listener, ListenerDeps, Registration, Transport, TransportDeps, hookimpl

from .listener import WsH1Listener
from .options import ConnectOptions, ListenOptions
from .schema import CONNECT, LISTEN
from .transport import WsH1Transport

OUTLINE_LB_API = 1


@hookimpl
def outline_lb_transports() -> Iterable[Registration[ConnectOptions, TransportDeps, Transport]]:
    return [Registration(type="ws-h1", schema=CONNECT, parse=ConnectOptions.parse, build=WsH1Transport, schemes=("ws", "wss"))]


@hookimpl
def outline_lb_listeners() -> Iterable[Registration[ListenOptions, ListenerDeps, Listener]]:
    return [Registration(type="ws-h1", schema=LISTEN, parse=ListenOptions.parse, build=WsH1Listener)]
