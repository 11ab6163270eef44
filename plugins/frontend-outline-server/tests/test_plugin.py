from __future__ import annotations

from importlib.metadata import entry_points

from jsonschema import Draft202012Validator

from outline_lb_frontend_outline_server import plugin


def test_the_entry_point_leads_to_the_registration() -> None:
    [entry] = entry_points(group="outline_lb.frontends", name="outline-server")
    assert entry.load() is plugin
    assert plugin.OUTLINE_LB_API == 1
    [registration] = plugin.outline_lb_frontends()
    assert registration.type == "outline-server"


def test_the_schema_is_one_and_says_what_is_needed() -> None:
    [registration] = plugin.outline_lb_frontends()
    Draft202012Validator.check_schema(registration.schema)
    validator = Draft202012Validator(registration.schema)
    key = {"secret": "x"}
    assert validator.is_valid({"listen": ["tcp"], "keys": {"alice": key}})
    for wrong in ({}, {"listen": [], "keys": {"alice": key}}, {"listen": ["tcp"], "keys": {}}, {"listen": ["tcp"], "keys": {"alice": {}}}):
        assert not validator.is_valid(wrong)
