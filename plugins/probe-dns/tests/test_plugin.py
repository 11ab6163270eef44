from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from jsonschema import Draft202012Validator

from outline_lb_probe_dns import plugin
from outline_lb_probe_dns.options import SCHEMA
from outline_lb_probe_dns.probe import DnsProbe


def test_the_entry_point_leads_to_the_registration() -> None:
    [entry] = entry_points(group="outline_lb.probes", name="dns")
    assert entry.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
    [registration] = plugin.outline_lb_probes()
    assert registration.type == "dns"
    defaults = {key: part["default"] for key, part in SCHEMA["properties"].items()}
    assert isinstance(registration.build(registration.parse(defaults), None), DnsProbe)


def test_the_schema_takes_one_server_or_several() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    for right in ({}, {"servers": "1.1.1.1"}, {"servers": ["1.1.1.1", "dns.example:5353"]}, {"name": "example.org", "record": "AAAA"}):
        assert validator.is_valid(right)
    wrong: dict[str, Any]
    for wrong in ({"servers": []}, {"servers": 1}, {"servers": [1]}, {"record": "MX"}, {"name": None}, {"url": "x"}):
        assert not validator.is_valid(wrong)
