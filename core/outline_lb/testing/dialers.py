"""Dialers without a network: one that waits for the test, and one whose streams send back what they get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..base.dialer import Dialer
from ..base.flow import Flow, Network
from ..base.packets import Packet, PacketChannel
from ..base.stream import Buffer, Stream
from .packets import FakeChannel
from .streams import FakeStream


@dataclass(frozen=True, slots=True)
class Dial:
    """A call of `FakeDialer.dial_stream` that waits for the test's answer.

    :param flow: what was asked for
    :param first: the payload that came with it
    :param answer: set its result to a stream, or its exception; cancelled when the caller gave up
    """

    flow: Flow
    first: bytes
    answer: asyncio.Future[Stream]


class FakeDialer(Dialer):
    """Keeps each call in `dials`, where the test finds and answers it; and each channel for packets in `channels`, which the test is behind."""

    networks = frozenset(Network)

    def __init__(self) -> None:
        self.dials: list[Dial] = []
        self.flows: list[Flow] = []
        self.channels: list[FakeChannel[Packet]] = []

    def packets(self, flow: Flow) -> PacketChannel[Packet]:
        self.flows.append(flow)
        self.channels.append(FakeChannel())
        return self.channels[-1]

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        dial = Dial(flow, first, asyncio.get_running_loop().create_future())
        self.dials.append(dial)
        try:
            return await dial.answer
        finally:
            del dial  # no reference circle: its exception knows this frame

    async def dialled(self, count: int = 1) -> Dial:
        """Wait until there were that many calls, and return the last of them."""
        while len(self.dials) < count:
            await asyncio.sleep(0.001)
        return self.dials[count - 1]


class EchoDialer(Dialer):
    """Reaches every target at once; each sends back what it gets, and ends when we do. The test finds them in `flows`, `streams` and `channels`."""

    networks = frozenset(Network)

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.streams: list[FakeStream] = []
        self.channels: list[FakeChannel[Packet]] = []

    def packets(self, flow: Flow) -> PacketChannel[Packet]:
        self.flows.append(flow)
        self.channels.append(_EchoChannel())
        return self.channels[-1]

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        self.flows.append(flow)
        stream = _EchoStream()
        self.streams.append(stream)
        stream.write(first)
        return stream


class _EchoChannel(FakeChannel[Packet]):
    def send(self, packets: list[Packet]) -> None:
        super().send(packets)
        asyncio.get_running_loop().call_soon(self.feed, *packets)


class _EchoStream(FakeStream):
    def write(self, data: Buffer) -> None:
        super().write(data)
        asyncio.get_running_loop().call_soon(self.feed, bytes(data))

    def write_eof(self) -> None:
        super().write_eof()
        asyncio.get_running_loop().call_soon(self.feed_eof)
