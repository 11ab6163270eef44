from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from outline_lb.api import Connector, ListenerDeps, PacketTransport, Secret, SocketListener, StreamTransport, TransportDeps, UdpSocket
from outline_lb_transport_ws_h1 import plugin
from outline_lb_transport_ws_h1.listener import WsH1Listener
from outline_lb_transport_ws_h1.transport import WsH1Transport


def test_transport_is_registered_for_both_schemes() -> None:
    [registration] = plugin.outline_lb_transports()
    assert registration.type == "ws-h1"
    assert registration.schemes == ("ws", "wss")
    raw = {name: node["default"] for name, node in registration.schema["properties"].items()}
    transport = registration.build(registration.parse(raw), TransportDeps(Connector()))
    assert isinstance(transport, WsH1Transport)
    assert isinstance(transport, StreamTransport)
    assert isinstance(transport, PacketTransport)


def test_listener_is_registered() -> None:
    [registration] = plugin.outline_lb_listeners()
    assert registration.type == "ws-h1"
    defaults = {name: node.get("default") for name, node in registration.schema["properties"].items()}
    raw = {**defaults, "address": "127.0.0.1:0", "path": Secret("/")}
    assert isinstance(registration.build(registration.parse(raw), ListenerDeps(SocketListener, UdpSocket.bind)), WsH1Listener)


@pytest.mark.parametrize("group", ["outline_lb.transports", "outline_lb.listeners"])
def test_entry_points_lead_here(group: str) -> None:
    [point] = entry_points(group=group, name="ws-h1")
    assert point.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
