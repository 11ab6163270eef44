"""Joins two channels for packets: what arrives on one is sent over the other."""

from __future__ import annotations

from collections.abc import Callable

from ..base.packets import Packet, PacketChannel, PacketSink


class _End(PacketSink[Packet]):
    """The sink of one channel: hands everything to the other one, `far`."""

    __slots__ = ("far", "lost", "other", "over")

    other: _End

    def __init__(self, far: PacketChannel[Packet], over: Callable[[], object]) -> None:
        self.far = far
        self.over = over
        self.lost = False

    def packets_received(self, packets: list[Packet]) -> None:
        self.far.send(packets)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.other.lost:
            self.far.close()
        else:
            del self.other.other, self.other  # leave no reference circle for the collector
            self.over()


def relay_packets(one: PacketChannel[Packet], two: PacketChannel[Packet], over: Callable[[], object] = lambda: None) -> None:
    """Join two channels until both are over: when one is, the other is closed. Returns at once; everything happens in callbacks.

    :param one: becomes the relay's
    :param two: becomes the relay's
    :param over: called once, when both are over
    """
    ends = _End(two, over), _End(one, over)
    ends[0].other, ends[1].other = ends[1], ends[0]
    one.set_sink(ends[0])
    two.set_sink(ends[1])
