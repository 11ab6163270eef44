from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest
from channels import ChannelServer
from machinery import Machinery

from outline_lb.base.address import Address
from outline_lb.base.dialer import PacketDialer, StreamDialer
from outline_lb.base.errors import ConfigError, UpstreamError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet, PacketChannel
from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.base.stream import Stream
from outline_lb.config.settings import Settings
from outline_lb.datapath.balancer import FlowListeners
from outline_lb.datapath.carrier import Carrier
from outline_lb.datapath.cipher import Cipher, ClientCipher, Opener, PacketCodec, Sealer, ServerCipher
from outline_lb.datapath.transport import Endpoint, PacketTransport, StreamTransport, Transport, TransportDeps
from outline_lb.plugin.registration import ComponentSpec, Registration
from outline_lb.running.parts import Builder, Parts, UpstreamPart, judges, standbys
from outline_lb.running.sockets import ListeningSockets
from outline_lb.selection.health import HealthOptions
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.upstreams import SilentEndpoint

Build = Callable[[Settings, Parts], Parts]


@pytest.fixture
async def build() -> Build:
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)

    def build(settings: Settings, running: Parts) -> Parts:
        return Builder(running, carrier, FlowListeners(), lambda *_: None).build(settings, ListeningSockets().hand_over(()))

    return build


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


# -- the ways of an upstream


class ToServers(StreamTransport, PacketTransport):
    """Goes to servers, and remembers by which URLs."""

    def __init__(self) -> None:
        self.urls: list[SecretUrl] = []

    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        self.urls.append(url)
        return SilentEndpoint()

    def packet_endpoint(self, url: SecretUrl) -> Endpoint[PacketChannel[bytes]]:
        self.urls.append(url)
        return ChannelServer()


class ToServersWithStreams(StreamTransport):
    """Goes to servers, with streams only."""

    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        return SilentEndpoint()


class ToTargets(Transport, StreamDialer, PacketDialer):
    """Goes to targets."""

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        raise UpstreamError("connect", "no")

    async def dial_packets(self, flow: Flow) -> PacketChannel[Packet]:
        raise UpstreamError("connect", "no")


class PlainCipher(Cipher):
    """Says nothing yet."""

    def client(self, secret: Secret, prefix: bytes) -> ClientCipher:
        return FakeClientCipher()

    def server(self, keys: Mapping[str, Secret]) -> ServerCipher:
        raise NotImplementedError


class FakeClientCipher(ClientCipher):
    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        raise NotImplementedError

    def packets(self) -> PacketCodec:
        raise NotImplementedError


TCP_URL, UDP_URL = SecretUrl("wss://server.example/SECRET_PATH/tcp"), SecretUrl("wss://server.example/SECRET_PATH/udp")


def built(build: Build, transport: Transport, tcp: SecretUrl | None = None, udp: SecretUrl | None = None, tunnel: bool = True) -> UpstreamPart:
    settings = Machinery().settings()
    plain: Registration[Any, None, Cipher] = Registration("plain", {}, dict, lambda _options, _: PlainCipher())
    cipher = ComponentSpec("cipher", plain, None) if tunnel else None
    road: Registration[Any, TransportDeps, Transport] = Registration("road", {}, dict, lambda _options, _deps: transport)
    one = replace(settings.upstreams["one"], tcp=tcp, udp=udp, cipher=cipher, secret=Secret("s"), transport=ComponentSpec("transport", road, None))
    return build(replace(settings, upstreams={"one": one}), Parts()).upstreams["one"]


@pytest.mark.parametrize(
    ("tcp", "udp", "networks"),
    [(TCP_URL, None, [Network.TCP]), (None, UDP_URL, [Network.UDP]), (TCP_URL, UDP_URL, [Network.TCP, Network.UDP])],
)
async def test_each_url_is_a_way_to_a_server(build: Build, tcp: SecretUrl | None, udp: SecretUrl | None, networks: list[Network]) -> None:
    transport = ToServers()
    ways = built(build, transport, tcp, udp).upstream.ways
    assert list(ways) == networks
    assert transport.urls == [url for url in (tcp, udp) if url]
    assert all(way.has_server for way in ways.values())
    assert len({id(way.health) for way in ways.values()}) == len(ways), "health is kept apart"


async def test_a_transport_without_packets_has_no_way_for_them(build: Build) -> None:
    ways = built(build, ToServersWithStreams(), TCP_URL, UDP_URL).upstream.ways
    assert list(ways) == [Network.TCP]


async def test_a_direct_connection_has_the_ways_that_its_transport_has(build: Build) -> None:
    ways = built(build, ToTargets(), tunnel=False).upstream.ways
    assert list(ways) == [Network.TCP, Network.UDP]
    assert not any(way.has_server for way in ways.values())
    for way in ways.values():
        with pytest.raises(UpstreamError):
            await way.dial(fake_flow())


@pytest.mark.parametrize(("transport", "tunnel"), [(ToServers(), False), (ToTargets(), True), (ToServersWithStreams(), False)])
async def test_a_transport_that_can_carry_nothing_is_a_mistake(build: Build, transport: Transport, tunnel: bool) -> None:
    with pytest.raises(ConfigError, match="/upstreams/one: the transport road can carry nothing here"):
        built(build, transport, TCP_URL, UDP_URL, tunnel)
