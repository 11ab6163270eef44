from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.config.settings import FrontendSettings, LogSettings, MemberSettings, PoolSettings, Settings, UpstreamSettings
from outline_lb.net.connector import Via
from outline_lb.plugin.registration import ComponentSpec, Registration
from outline_lb.selection.health import HealthOptions

TYPE: Registration[Any, Any, Any] = Registration("zebra", {}, dict, lambda options, _: options)


def component(**options: object) -> ComponentSpec[Any, Any]:
    return ComponentSpec("policy", TYPE, options)


def settings(secret: str = "hunter2", **options: object) -> Settings:
    url = SecretUrl("wss://example.com/hunter2")
    upstream = UpstreamSettings("a", url, url, component(), component(), Secret(secret), b"", Via(fwmark=1))
    pool = PoolSettings("main", component(**options), HealthOptions(), (component(),), 10.0, (MemberSettings("a"),))
    return Settings({"local": FrontendSettings("local", component(), "main")}, {"main": pool}, {"a": upstream}, LogSettings())


def test_settings_compare_by_value_at_every_depth() -> None:
    assert settings(x=1) == settings(x=1)
    assert settings(x=1) != settings(x=2)
    assert settings("one") != settings("two")


def test_settings_print_no_secret() -> None:
    assert "hunter2" not in repr(settings())


@pytest.mark.parametrize("kind", [FrontendSettings, MemberSettings, PoolSettings, UpstreamSettings, LogSettings, Settings])
def test_settings_do_not_change(kind: type) -> None:
    found: Mapping[str, Any] = {type(value).__name__: value for value in _everything()}
    value = found[kind.__name__]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)
    assert not hasattr(value, "__dict__")


def _everything() -> list[Any]:
    whole = settings()
    return [whole, whole.frontends["local"], whole.pools["main"], whole.pools["main"].members[0], whole.upstreams["a"], whole.log]
