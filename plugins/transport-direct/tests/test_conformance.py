from __future__ import annotations

from outline_lb.api import StreamDialer, TransportDeps
from outline_lb.testing.conformance.dialer import StreamDialerSuite
from outline_lb_transport_direct.options import Options
from outline_lb_transport_direct.transport import Direct


class TestConformance(StreamDialerSuite):
    def make_dialer(self, deps: TransportDeps) -> StreamDialer:
        return Direct(Options(source=None, connect_timeout=10), deps)
