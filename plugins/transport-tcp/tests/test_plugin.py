from __future__ import annotations

from importlib.metadata import distribution

from outline_lb.api import Address, Connector, ListenerDeps, SocketListener, TransportDeps, UdpSocket
from outline_lb_transport_tcp import plugin
from outline_lb_transport_tcp.listener import TcpListener
from outline_lb_transport_tcp.transport import TcpTransport


def test_made_for_this_core() -> None:
    assert plugin.OUTLINE_LB_API == 1


def test_there_is_a_registration_for_each_entry_point() -> None:
    entries = distribution("outline-lb-transport-tcp").entry_points
    registered = {
        *(("outline_lb.transports", registration.type) for registration in plugin.outline_lb_transports()),
        *(("outline_lb.listeners", registration.type) for registration in plugin.outline_lb_listeners()),
    }
    assert {(entry.group, entry.name) for entry in entries} == registered


def test_the_transport_is_built_and_takes_tcp_and_udp_urls() -> None:
    (registration,) = plugin.outline_lb_transports()
    assert registration.schemes == ("tcp", "udp")
    assert isinstance(registration.build(registration.parse({"connect_timeout": "5s"}), TransportDeps(Connector())), TcpTransport)


def test_the_listener_is_built() -> None:
    (registration,) = plugin.outline_lb_listeners()
    options = registration.parse({"address": "127.0.0.1:8388", "udp": True})
    assert options.address == Address("127.0.0.1", 8388)
    assert isinstance(registration.build(options, ListenerDeps(SocketListener, UdpSocket.bind)), TcpListener)
