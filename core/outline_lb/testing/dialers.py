"""Dialers without a network: one that waits for the test, and one whose streams send back what they get."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..base.dialer import StreamDialer
from ..base.flow import Flow
from ..base.stream import Buffer, Stream
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


class FakeDialer(StreamDialer):
    """Keeps each call in `dials`, where the test finds and answers it."""

    def __init__(self) -> None:
        self.dials: list[Dial] = []

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


class EchoDialer(StreamDialer):
    """Reaches every target at once; each sends back what it gets, and ends when we do. The test finds them in `flows` and `streams`."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.streams: list[FakeStream] = []

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        self.flows.append(flow)
        stream = _EchoStream()
        self.streams.append(stream)
        stream.write(first)
        return stream


class _EchoStream(FakeStream):
    def write(self, data: Buffer) -> None:
        super().write(data)
        asyncio.get_running_loop().call_soon(self.feed, bytes(data))

    def write_eof(self) -> None:
        super().write_eof()
        asyncio.get_running_loop().call_soon(self.feed_eof)
