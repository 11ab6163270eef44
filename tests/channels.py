"""Servers and pools for packets, without a network: the test is at the other end of each channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from outline_lb.base.address import Address
from outline_lb.base.errors import UpstreamError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet
from outline_lb.base.stream import Stream
from outline_lb.datapath.balancer import Balancer, FlowListeners, Member
from outline_lb.datapath.packet_flow import PacketFlow
from outline_lb.datapath.transport import Endpoint
from outline_lb.datapath.upstream import Upstream
from outline_lb.datapath.way import ServerWay, Way
from outline_lb.selection.health import Health, HealthOptions
from outline_lb.selection.policy import OnlyPolicy, Policy
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink

TARGET = Address("192.0.2.9", 443)
REFUSED = UpstreamError("connect", ConnectionRefusedError(111, "refused"))


def packets(*texts: str) -> list[Packet]:
    """Return packets to one target, or from it."""
    return [Packet(TARGET, text.encode()) for text in texts]


class ChannelServer(Endpoint[Any]):
    """Opens channels of a `kind`: at once, or when the test sets `ready`; or fails with `error`.

    :param answers: whether a channel that was opened shows that the server is there
    """

    def __init__(self, answers: bool = True) -> None:
        self.answers = answers
        self.kind: type[FakeChannel[Packet]] = FakeChannel
        self.asked = self.waiting = 0
        self.channels: list[FakeChannel[Packet]] = []
        self.error: Exception | None = None
        self.ready = asyncio.Event()
        self.ready.set()

    async def connect(self) -> FakeChannel[Packet]:
        self.asked += 1
        self.waiting += 1
        try:
            await self.ready.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        self.channels.append(self.kind())
        return self.channels[-1]

    @property
    def channel(self) -> FakeChannel[Packet]:
        """The last one."""
        return self.channels[-1]


class SlowChannel(FakeChannel[Packet]):
    """Takes its time to close: it is over when the test says so."""

    def close(self) -> None:
        self.closed = True


class StreamServer(Endpoint[Stream]):
    """A server that cannot be reached."""

    async def connect(self) -> Stream:
        raise UpstreamError("connect", "no server for streams")


class PacketPool:
    """A balancer over upstreams a, b, c … and all that it tells. The policy takes the first that is usable.

    :param names: of the upstreams; a capital letter is one for streams only
    :param answers: whether a channel that was opened shows that its server is there
    """

    def __init__(self, names: str = "ab", answers: bool = True) -> None:
        self.servers = {name: ChannelServer(answers) for name in names}
        self.upstreams = {name: Upstream(name, self._ways(name), self._changed) for name in names}
        self.changes: list[tuple[str, Network, bool]] = []
        self.opened: list[str] = []
        self.closed: list[tuple[str, int, int, Exception | None]] = []
        self.balancer = self.over(self.upstreams.values())

    def over(self, upstreams: Iterable[Upstream], policy: Policy | None = None) -> Balancer:
        """Return a balancer over some of the upstreams."""
        listeners = FlowListeners(
            lambda _, name: self.opened.append(name),
            lambda _, name, sent, received, exc: self.closed.append((name, sent, received, exc)),
        )
        return Balancer("pool", [Member(upstream) for upstream in upstreams], policy or OnlyPolicy(), 10.0, listeners)

    def flow(self, flow: Flow | None = None) -> tuple[PacketFlow, RecordingPacketSink[Packet]]:
        """Begin a flow."""
        channel, sink = PacketFlow(flow or fake_flow(Network.UDP), lambda: self.balancer), RecordingPacketSink[Packet]()
        channel.set_sink(sink)
        return channel, sink

    def health(self, name: str) -> Health:
        """Return what is known about an upstream's packets."""
        return self.upstreams[name].health[Network.UDP]

    def goes_down(self, name: str) -> None:
        """Let probes find out that an upstream is down for packets."""
        while self.health(name).failures < HealthOptions().fail_threshold:
            self.upstreams[name].probed(Network.UDP, None, REFUSED)

    def _ways(self, name: str) -> dict[Network, Way[Any, Any]]:
        health = Health(HealthOptions())
        if name.isupper():
            return {Network.TCP: ServerWay(health, StreamServer(), lambda stream, _flow: stream)}
        return {Network.UDP: ServerWay(health, self.servers[name], lambda channel, _flow: channel)}

    def _changed(self, name: str, network: Network, up: bool, _reason: str) -> None:
        self.changes.append((name, network, up))
