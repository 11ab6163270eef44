"""A dialer that leads to a balancer, and can be turned while flows come."""

from __future__ import annotations

from collections.abc import Collection

from ..base.dialer import Dialer
from ..base.flow import Flow, Network
from ..base.packets import Packet, PacketChannel
from ..base.stream import Stream
from .balancer import Balancer
from .packet_flow import PacketFlow


class Route(Dialer):
    """What a frontend holds, so that a reload can give it another balancer and leave it as it is.

    :param to: where flows go, from the next one on; streams that were dialled before do not notice, and packets go there with their next way
    """

    __slots__ = ("to",)

    def __init__(self, to: Balancer) -> None:
        self.to = to

    @property
    def networks(self) -> Collection[Network]:
        return self.to.networks

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        return await self.to.dial_stream(flow, first)

    def packets(self, flow: Flow) -> PacketChannel[Packet]:
        return PacketFlow(flow, lambda: self.to)
