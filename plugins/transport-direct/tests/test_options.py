from __future__ import annotations

from typing import Any

import pytest

from outline_lb_transport_direct.options import SCHEMA, Options

DEFAULTS: dict[str, Any] = {name: schema["default"] for name, schema in SCHEMA["properties"].items()}


def test_defaults() -> None:
    assert Options.parse(DEFAULTS) == Options(source=None, connect_timeout=10.0)


@pytest.mark.parametrize(("text", "source"), [("127.0.0.2", "127.0.0.2"), ("2001:DB8::0:1", "2001:db8::1")])
def test_a_source_is_an_ip_address_in_its_usual_form(text: str, source: str) -> None:
    assert Options.parse(DEFAULTS | {"source": text}) == Options(source=source, connect_timeout=10.0)


@pytest.mark.parametrize("text", ["", "eth0", "127.1", "192.0.2.0/24", "127.0.0.1:80"])
def test_another_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^source: '{text}' is no IP address$"):
        Options.parse(DEFAULTS | {"source": text})


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^connect_timeout: "):
        Options.parse(DEFAULTS | {"connect_timeout": "0s"})
