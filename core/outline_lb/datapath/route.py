"""A dialer that leads to another one, and can be turned while flows come."""

from __future__ import annotations

from ..base.dialer import StreamDialer
from ..base.flow import Flow
from ..base.stream import Stream


class Route(StreamDialer):
    """What a frontend holds, so that a reload can give it another balancer and leave it as it is.

    :param to: where flows go, from the next one on; flows that were dialled before do not notice
    """

    __slots__ = ("to",)

    def __init__(self, to: StreamDialer) -> None:
        self.to = to

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        return await self.to.dial_stream(flow, first)
