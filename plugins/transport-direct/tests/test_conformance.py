from __future__ import annotations

from outline_lb.api import PacketDialer, StreamDialer, TransportDeps
from outline_lb.testing.conformance.dialer import PacketDialerSuite, StreamDialerSuite
from outline_lb_transport_direct.options import Options
from outline_lb_transport_direct.transport import Direct


class TestStreams(StreamDialerSuite):
    def make_dialer(self, deps: TransportDeps) -> StreamDialer:
        return Direct(Options(source=None, connect_timeout=10), deps)


class TestPackets(PacketDialerSuite):
    def make_dialer(self, deps: TransportDeps) -> PacketDialer:
        return Direct(Options(source=None, connect_timeout=10), deps)
