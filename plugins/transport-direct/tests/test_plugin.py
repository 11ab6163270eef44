from __future__ import annotations

from importlib.metadata import distribution

from outline_lb.api import Connector, PacketDialer, StreamDialer, TransportDeps
from outline_lb_transport_direct import plugin
from outline_lb_transport_direct.options import Options


def test_made_for_this_core() -> None:
    assert plugin.OUTLINE_LB_API == 1


def test_there_is_a_registration_for_each_entry_point() -> None:
    entries = distribution("outline-lb-transport-direct").entry_points
    assert {(entry.group, entry.name) for entry in entries} == {
        ("outline_lb.transports", registration.type) for registration in plugin.outline_lb_transports()
    }


def test_the_transport_is_a_dialer_and_takes_no_url() -> None:
    (registration,) = plugin.outline_lb_transports()
    assert registration.schemes == ()
    transport = registration.build(Options(source="127.0.0.2", connect_timeout=10), TransportDeps(Connector()))
    assert isinstance(transport, StreamDialer)
    assert isinstance(transport, PacketDialer)
