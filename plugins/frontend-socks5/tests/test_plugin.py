from __future__ import annotations

from importlib.metadata import entry_points

from jsonschema import Draft202012Validator

from outline_lb_frontend_socks5 import plugin
from outline_lb_frontend_socks5.options import Options


def test_the_entry_point_leads_to_the_registration() -> None:
    [entry] = entry_points(group="outline_lb.frontends", name="socks5")
    assert entry.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
    [registration] = plugin.outline_lb_frontends()
    assert registration.type == "socks5"


def test_the_schema_is_one_and_its_defaults_are_complete() -> None:
    [registration] = plugin.outline_lb_frontends()
    Draft202012Validator.check_schema(registration.schema)
    raw = {name: node["default"] for name, node in registration.schema["properties"].items()}
    assert isinstance(registration.parse(raw), Options)
    assert all(node["description"] for node in registration.schema["properties"].values())
