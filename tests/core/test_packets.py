from __future__ import annotations

import errno
import os
import socket

import pytest

from outline_lb.base.address import Address
from outline_lb.base.errors import StreamError
from outline_lb.base.packets import MAX_PACKET, NO_PACKET_SINK, Packet, PacketChannel, PacketSink
from outline_lb.testing.clock import settle
from outline_lb.testing.packets import FakeChannel, RecordingPacketSink

ONE = Packet(Address("192.0.2.9", 53), b"one")


def test_a_datagram_carries_so_many_bytes_and_no_more() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sock.settimeout(10)
        two.bind(("127.0.0.1", 0))
        one.connect(two.getsockname())
        one.send(bytes(MAX_PACKET))
        assert len(two.recv(MAX_PACKET + 1)) == MAX_PACKET
        with pytest.raises(OSError, match=os.strerror(errno.EMSGSIZE)):
            one.send(bytes(MAX_PACKET + 1))


async def test_what_comes_for_nobody_is_lost_and_the_end_is_told_to_who_comes_then() -> None:
    channel, cause = FakeChannel[Packet](), StreamError("gone")
    channel.feed(ONE)
    channel.lose(cause)
    channel.set_sink(sink := RecordingPacketSink[Packet]())
    assert not sink.lost.is_set(), "only from the loop"
    await settle()
    assert (sink.packets, sink.error) == ([], cause)


async def test_a_lost_channel_tells_each_sink_that_comes_once() -> None:
    channel, first, second = FakeChannel[Packet](), RecordingPacketSink[Packet](), RecordingPacketSink[Packet]()
    channel.set_sink(first)
    channel.lose()
    channel.set_sink(NO_PACKET_SINK)
    channel.set_sink(second)
    await settle()
    assert first.lost.is_set()
    assert second.lost.is_set()


async def test_a_channel_need_not_know_how_to_keep_a_silent_peer() -> None:
    class Plain(PacketChannel[Packet]):
        """As little as a channel can be."""

        peer_address = None

        def set_sink(self, sink: PacketSink[Packet]) -> None: ...
        def send(self, packets: list[Packet]) -> None: ...
        def close(self) -> None: ...

    Plain().keep_alive()
    Plain().keep_alive(doubt=True)
