from __future__ import annotations

from outline_lb_probe_handshake.options import SCHEMA, Options


def test_there_are_none() -> None:
    assert SCHEMA["properties"] == {}
    assert SCHEMA["additionalProperties"] is False
    assert Options.parse({}) == Options()
