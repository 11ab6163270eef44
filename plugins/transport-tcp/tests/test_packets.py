from __future__ import annotations

from outline_lb.api import Address, Listener, ListenerDeps, PacketTransport, SecretUrl, TransportDeps
from outline_lb.testing.conformance.packets import PacketTransportSuite
from outline_lb_transport_tcp.listener import TcpListener
from outline_lb_transport_tcp.options import ListenerOptions, TransportOptions
from outline_lb_transport_tcp.transport import TcpTransport


class TestConformance(PacketTransportSuite):
    answers = False
    tells_close = False

    def make_transport(self, deps: TransportDeps) -> PacketTransport:
        return TcpTransport(TransportOptions(connect_timeout=10), deps)

    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        return TcpListener(ListenerOptions(address, udp=True), deps)

    def make_url(self, address: Address) -> SecretUrl:
        return SecretUrl(f"udp://{address}")
