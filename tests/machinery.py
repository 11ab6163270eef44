"""Settings whose components are fakes that keep a record: for tests of what runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from outline_lb.base.address import Address
from outline_lb.base.dialer import PacketDialer, StreamDialer
from outline_lb.base.errors import StartError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet, PacketChannel
from outline_lb.base.stream import Stream
from outline_lb.config.settings import FrontendSettings, LogSettings, MemberSettings, PoolSettings, Settings, UpstreamSettings
from outline_lb.datapath.frontend import Frontend, FrontendDeps
from outline_lb.datapath.transport import Transport, TransportDeps
from outline_lb.datapath.upstream import Upstream
from outline_lb.monitoring.probe import Probe
from outline_lb.net.connector import Via
from outline_lb.net.listener import SocketListener
from outline_lb.net.udp import UdpSocket
from outline_lb.plugin.registration import ComponentSpec, Registration
from outline_lb.selection.health import HealthOptions
from outline_lb.selection.policy import OnlyPolicy, Policy
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.packets import FakeChannel

LOCAL = Address("127.0.0.1", 0)


class Door(Frontend):
    """A frontend that lets nobody in; flows are begun with `carry`."""

    def __init__(self, options: tuple[Address, str], deps: FrontendDeps) -> None:
        self.address, self.mark = options
        self.deps = deps
        self.listener: SocketListener | None = None
        self.udp: UdpSocket | None = None
        self.state = "built"

    async def prepare(self) -> None:
        if self.mark == "bad":
            raise StartError("a bad door")
        self.listener = self.deps.bind(self.address)
        if self.mark.startswith("udp"):
            self.udp = self.deps.bind_udp(self.address)
        self.state = "prepared"

    @property
    def addresses(self) -> Sequence[Address]:
        return [self.listener.address] if self.listener else []

    async def serve(self) -> None:
        self.state = "serving"
        await anyio.sleep_forever()

    async def close(self) -> None:
        self.state = "closed"
        if self.udp is not None:
            self.udp.close()

    def carry_packets(self, client: PacketChannel[Packet]) -> None:
        """Begin a flow of packets."""
        flow = Flow(self.deps.name, Network.UDP, None, "", Address("example.com", 53), 0.0)
        self.deps.carrier.carry_packets(flow, client, self.deps.dialer)

    def carry(self, client: Stream) -> None:
        """Begin a flow."""
        flow = Flow(self.deps.name, Network.TCP, None, "", Address("example.com", 80), 0.0)
        self.deps.carrier.carry(flow, client, self.deps.dialer, lambda _: None, lambda _: client.close())


class Road(Transport, FakeDialer):
    """A transport whose dials wait for the test's answer."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark
        self.state = "built"

    async def prepare(self) -> None:
        if self.mark == "bad":
            raise StartError("a bad road")
        self.state = "prepared"

    async def close(self) -> None:
        self.state = "closed"


class PacketRoad(Road, PacketDialer):
    """One for packets too."""

    def __init__(self, mark: str) -> None:
        super().__init__(mark)
        self.asked: list[asyncio.Future[FakeChannel[Packet]]] = []

    async def dial_packets(self, flow: Flow) -> PacketChannel[Packet]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]


class Count(Probe):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        self.asked += 1
        return 0.01


@dataclass
class Built:
    """Everything that was built, in order."""

    doors: list[Door]
    roads: list[Road]
    probes: list[Count]


class Machinery:
    """Makes settings, and remembers what was built of them."""

    def __init__(self) -> None:
        self.built = Built([], [], [])
        self._door: Registration[Any, FrontendDeps, Frontend] = Registration("door", {}, dict, self._build_door)
        self._road: Registration[Any, TransportDeps, Transport] = Registration("road", {}, dict, self._build_road)
        self._probe: Registration[Any, None, Probe] = Registration("count", {}, dict, self._build_probe)
        self._policy: Registration[Any, None, Policy] = Registration("only", {}, dict, lambda _options, _: OnlyPolicy())

    def settings(
        self,
        upstreams: Sequence[str] = ("one",),
        frontends: Sequence[str] = ("local",),
        to: str = "main",
        drain_timeout: float = 30.0,
        health: HealthOptions | None = None,
    ) -> Settings:
        """Return settings.

        :param upstreams: names; ``name:mark`` has other options, ``name:bad`` cannot be prepared, ``name:packets`` carries packets too
        :param frontends: names; ``name:mark`` has other options, ``name:bad`` cannot be prepared, ``name:udp`` has a UDP socket too
        :param to: where the frontends lead
        :param drain_timeout: seconds
        :param health: of the pool ``main``, of all upstreams
        """
        ways, doors = map(_marks, (upstreams, frontends))
        probes = (ComponentSpec("probe", self._probe, None),)
        members = tuple(MemberSettings(name) for name in ways)
        return Settings(
            {name: FrontendSettings(name, ComponentSpec("frontend", self._door, (LOCAL, mark)), to) for name, mark in doors.items()},
            {"main": PoolSettings("main", ComponentSpec("policy", self._policy, None), health or HealthOptions(), probes, 10.0, members)},
            {
                name: UpstreamSettings(name, None, None, ComponentSpec("transport", self._road, mark), None, None, b"", Via())
                for name, mark in ways.items()
            },
            LogSettings(),
            drain_timeout=drain_timeout,
        )

    def _build_door(self, options: tuple[Address, str], deps: FrontendDeps) -> Door:
        self.built.doors.append(Door(options, deps))
        return self.built.doors[-1]

    def _build_road(self, mark: str, _deps: TransportDeps) -> Road:
        self.built.roads.append(PacketRoad(mark) if mark.startswith("packets") else Road(mark))
        assert isinstance(self.built.roads[-1], StreamDialer)
        return self.built.roads[-1]

    def _build_probe(self, _options: None, _deps: None) -> Count:
        self.built.probes.append(Count())
        return self.built.probes[-1]


def _marks(names: Sequence[str]) -> dict[str, str]:
    return {name: mark for name, _, mark in (text.partition(":") for text in names)}
