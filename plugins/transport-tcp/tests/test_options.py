from __future__ import annotations

import pytest

from outline_lb.api import Address
from outline_lb_transport_tcp.options import LISTENER_SCHEMA, TRANSPORT_SCHEMA, ListenerOptions, TransportOptions


def test_defaults() -> None:
    raw = {name: schema["default"] for name, schema in TRANSPORT_SCHEMA["properties"].items()}
    assert TransportOptions.parse(raw) == TransportOptions(connect_timeout=10.0)


def test_a_listener_needs_an_address_and_takes_packets_too() -> None:
    assert LISTENER_SCHEMA["required"] == ["address"]
    assert LISTENER_SCHEMA["properties"]["udp"]["default"] is True
    for udp in (False, True):
        assert ListenerOptions.parse({"address": "[::1]:8388", "udp": udp}) == ListenerOptions(Address("::1", 8388), udp)


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^connect_timeout: "):
        TransportOptions.parse({"connect_timeout": "0s"})
