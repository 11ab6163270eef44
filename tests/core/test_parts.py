from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest
from machinery import Machinery

from outline_lb.base.address import Address
from outline_lb.base.errors import ConfigError
from outline_lb.config.settings import Settings
from outline_lb.datapath.balancer import FlowListeners
from outline_lb.datapath.carrier import Carrier
from outline_lb.net.listener import SocketListener
from outline_lb.running.parts import Builder, Parts, judges, standbys
from outline_lb.selection.health import HealthOptions

Build = Callable[[Settings, Parts], Parts]


@pytest.fixture
async def build() -> Build:
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)

    def build(settings: Settings, running: Parts) -> Parts:
        return Builder(running, carrier, FlowListeners(), lambda *_: None).build(settings, _bind)

    return build


def _bind(_name: str, address: Address) -> SocketListener:
    raise AssertionError(f"nothing is bound while it is built: {address}")


async def test_equal_settings_become_the_same_objects(build: Build) -> None:
    machinery = Machinery()
    old = build(machinery.settings(), Parts())
    new = build(machinery.settings(), old)
    assert new.frontends["local"].frontend is old.frontends["local"].frontend
    assert new.pools == old.pools
    assert new.upstreams == old.upstreams
    assert (len(machinery.built.doors), len(machinery.built.roads), len(machinery.built.probes)) == (1, 1, 1)


async def test_another_upstream_is_another_object_and_so_is_its_pool(build: Build) -> None:
    machinery = Machinery()
    old = build(machinery.settings(("one", "two")), Parts())
    new = build(machinery.settings(("one", "two:other")), old)
    assert new.upstreams["one"] is old.upstreams["one"]
    assert new.upstreams["two"].upstream is not old.upstreams["two"].upstream
    assert new.pools["main"].balancer is not old.pools["main"].balancer
    assert new.pools["one"] is old.pools["one"]
    assert new.pools["two"] is not old.pools["two"]


async def test_another_pool_keeps_its_upstreams(build: Build) -> None:
    machinery = Machinery()
    old = build(machinery.settings(), Parts())
    new = build(machinery.settings(health=HealthOptions(interval=1.0)), old)
    assert new.pools["main"].balancer is not old.pools["main"].balancer
    assert new.upstreams == old.upstreams


async def test_another_frontend_of_the_same_name_has_the_same_route(build: Build) -> None:
    machinery = Machinery()
    old = build(machinery.settings(), Parts())
    new = build(machinery.settings(frontends=("local:other",)), old)
    assert new.frontends["local"].frontend is not old.frontends["local"].frontend
    assert new.frontends["local"].route is old.frontends["local"].route
    moved = build(machinery.settings(to="one"), old)
    assert moved.frontends["local"].frontend is old.frontends["local"].frontend


def test_upstreams_are_judged_as_their_pool_says() -> None:
    options = HealthOptions(fail_threshold=7)
    assert judges(Machinery().settings(health=options)) == {"one": options}


def test_as_many_connections_wait_as_the_most_demanding_pool_wants() -> None:
    settings = Machinery().settings(upstreams=("one", "two", "three"))
    members = settings.pools["main"].members
    pools = {str(count): replace(settings.pools["main"], members=members[:count], standby=count) for count in (1, 2)}
    assert standbys(replace(settings, pools=pools)) == {"one": 2, "two": 2, "three": 0}


async def test_a_transport_that_cannot_dial_needs_a_secret(build: Build) -> None:
    machinery = Machinery()
    machinery._road = type(machinery._road)("road", {}, dict, lambda _options, _deps: object())  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="/upstreams/one: the transport road needs a secret"):
        build(machinery.settings(), Parts())
