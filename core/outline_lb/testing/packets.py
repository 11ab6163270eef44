"""A channel for packets without a network, and a sink that keeps what it hears."""

from __future__ import annotations

import asyncio

from ..base.address import Address
from ..base.packets import NO_PACKET_SINK, PacketChannel, PacketSink, PacketT


class FakeChannel(PacketChannel[PacketT]):
    """The test is at the other end: `sent` has what was sent, in `batches` as it was; `feed` brings packets, `lose` the end.

    :param peer_address: what it says about its peer
    """

    def __init__(self, peer_address: Address | None = None) -> None:
        self.batches: list[list[PacketT]] = []
        self.closed = False
        self.kept_alive: list[bool] = []
        self.over = False
        self._peer_address = peer_address
        self._sink: PacketSink[PacketT] = NO_PACKET_SINK
        self._told = False  # somebody of connection_lost
        self._cause: Exception | None = None

    @property
    def sent(self) -> list[PacketT]:
        """Everything that was sent."""
        return [packet for batch in self.batches for packet in batch]

    @property
    def peer_address(self) -> Address | None:
        return self._peer_address

    def set_sink(self, sink: PacketSink[PacketT]) -> None:
        self._sink = sink
        if self._told:
            self._told = False
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def send(self, packets: list[PacketT]) -> None:
        assert packets, "rule 1: never empty"
        if not self.over:
            self.batches.append(packets)

    def close(self) -> None:
        self.closed = True
        if not self.over:
            self.over = True
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def keep_alive(self, doubt: bool = False) -> None:
        self.kept_alive.append(doubt)

    def feed(self, *packets: PacketT) -> None:
        """Have packets come."""
        if not self.over:
            self._sink.packets_received(list(packets))

    def lose(self, exc: Exception | None = None) -> None:
        """End it."""
        if not self.over:
            self.over = True
            self._cause = exc
            self._tell_lost()

    def _tell_lost(self) -> None:
        self._told = True
        sink, self._sink = self._sink, NO_PACKET_SINK
        sink.connection_lost(self._cause)


class RecordingPacketSink(PacketSink[PacketT]):
    """Keeps what it hears: packets in `packets`, in `batches` as they came; how it ended in `error`."""

    def __init__(self) -> None:
        self.batches: list[list[PacketT]] = []
        self.error: Exception | None = None
        self.lost = asyncio.Event()
        self.came = asyncio.Event()

    @property
    def packets(self) -> list[PacketT]:
        """Everything that came."""
        return [packet for batch in self.batches for packet in batch]

    async def received(self, count: int, seconds: float = 10) -> list[PacketT]:
        """Wait for so many packets in all.

        :raises TimeoutError: if they do not come, or the channel ends
        """
        async with asyncio.timeout(seconds):
            while len(self.packets) < count:
                self.came.clear()
                await self.came.wait()
        return self.packets

    def packets_received(self, packets: list[PacketT]) -> None:
        assert packets, "rule 1: never empty"
        assert not self.lost.is_set(), "rule 4: nothing after connection_lost"
        self.batches.append(packets)
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost.is_set(), "rule 4: exactly once"
        self.error = exc
        self.lost.set()
