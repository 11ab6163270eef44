"""Measures a query and its answer."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from outline_lb.api import Flow, Network, Packet, PacketChannel, PacketSink, Probe, TruncatedError, Upstream, UpstreamError

from .message import is_answer, number_of, query
from .options import Options

AGAIN: Final = 1.0
"""Seconds after which the name servers are asked again: packets get lost."""


class DnsProbe(Probe):
    """Asks name servers through the upstream, all at once, until one answers. It says nothing about streams.

    :param options: what is asked, and whom
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        if network is not Network.UDP:
            return None
        loop = asyncio.get_running_loop()
        started = loop.time()
        flow = Flow("probe", network, None, "", self._options.servers[0], started)
        answer = _Answer(await upstream.ways[network].dial(flow), self._options)
        try:
            await answer.came
        except OSError as exc:
            raise UpstreamError("dns", exc) from exc
        finally:
            answer.end()
        return loop.time() - started


class _Answer(PacketSink[Packet]):
    """Asks again and again, and waits for an answer."""

    __slots__ = ("_again", "_channel", "_numbers", "_options", "came")

    def __init__(self, channel: PacketChannel[Packet], options: Options) -> None:
        self._channel = channel
        self._options = options
        self._numbers: set[int] = set()  # of the queries
        self.came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.set_sink(self)
        self._ask()

    def _ask(self) -> None:
        self._channel.send([Packet(server, query(self._new_number(), self._options.question)) for server in self._options.servers])
        self._again = asyncio.get_running_loop().call_later(AGAIN, self._ask)

    def _new_number(self) -> int:
        """Return an ID that nobody can guess (RFC 5452 section 9.2)."""
        while (number := secrets.randbits(16)) in self._numbers:
            pass
        self._numbers.add(number)
        return number

    def end(self) -> None:
        """Nothing more is wanted."""
        self._again.cancel()
        self._channel.close()

    def packets_received(self, packets: list[Packet]) -> None:
        for _, message in packets:
            if number_of(message) in self._numbers and is_answer(message, self._options.question) and not self.came.done():
                self.came.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.came.done():
            self.came.set_exception(exc or TruncatedError("the packets came to an end without an answer"))
