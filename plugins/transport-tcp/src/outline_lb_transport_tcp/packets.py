"""Channels for sealed packets, each packet a datagram: the client's over a socket of its own, the server's over the one that it listens on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from outline_lb.api import NO_PACKET_SINK, Address, Datagram, PacketChannel, PacketSink, SocketName, UdpSocket, name_of

MAX_CLIENTS: Final = 8192
"""Clients that a listener keeps apart. For one more, the one that was silent for the longest time is closed."""


class UdpChannel(PacketChannel[bytes]):
    """A channel with an end, and somebody who is to hear of it.

    :param sock: what packets go over
    :param peer: where to
    """

    __slots__ = ("_lost", "_peer", "_sink", "_socket")

    def __init__(self, sock: UdpSocket, peer: Address) -> None:
        self._socket = sock
        self._peer = peer
        self._sink: PacketSink[bytes] = NO_PACKET_SINK
        self._lost: tuple[Exception | None] | None = None  # the cause of the end

    @property
    def peer_address(self) -> Address | None:
        return self._peer

    def set_sink(self, sink: PacketSink[bytes]) -> None:
        self._sink = sink
        if self._lost is not None:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def close(self) -> None:
        self._finish(None)

    def received(self, packets: list[bytes]) -> None:
        """Take what came."""
        self._sink.packets_received(packets)

    def _finish(self, exc: Exception | None) -> None:
        if self._lost is None:
            self._lost = (exc,)
            self._let_go()
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def _let_go(self) -> None:
        """Give back what the channel uses."""

    def _tell_lost(self) -> None:
        assert self._lost is not None
        sink, self._sink = self._sink, NO_PACKET_SINK  # breaks the reference circle
        sink.connection_lost(self._lost[0])


class ClientChannel(UdpChannel):
    """The client's end: over a connected socket, which is told when nobody is there.

    :param sock: connected to the server; becomes ours
    :param peer: the server
    """

    __slots__ = ("_started",)

    def __init__(self, sock: UdpSocket, peer: Address) -> None:
        super().__init__(sock, peer)
        self._started = False

    def set_sink(self, sink: PacketSink[bytes]) -> None:
        super().set_sink(sink)
        if not self._started:
            self._started = True
            self._socket.start_connected(self.received, self._finish)

    def send(self, packets: list[bytes]) -> None:
        if self._lost is None:
            for packet in packets:
                self._socket.send(packet)

    def _let_go(self) -> None:
        self._socket.close()


class ServerChannel(UdpChannel):
    """The server's end: one of many over the same socket.

    :param sock: what the server listens on
    :param name: the client's socket
    :param forget: called when the channel is over
    """

    __slots__ = ("_forget", "_name")

    def __init__(self, sock: UdpSocket, name: SocketName, forget: Callable[[SocketName], object]) -> None:
        super().__init__(sock, name_of(name))
        self._name = name
        self._forget = forget

    def received(self, packets: list[bytes]) -> None:
        if self._lost is None:
            self._sink.packets_received(packets)

    def send(self, packets: list[bytes]) -> None:
        if self._lost is None:
            for packet in packets:
                self._socket.send(packet, self._name)

    def _let_go(self) -> None:
        self._forget(self._name)


class Clients:
    """Tells the clients of a socket apart, by where their datagrams come from.

    :param sock: bound; becomes ours
    """

    def __init__(self, sock: UdpSocket) -> None:
        self._socket = sock
        self._channels: dict[SocketName, ServerChannel] = {}  # the one that was silent for the longest time first
        self._associated: Callable[[PacketChannel[bytes]], None] | None = None

    def serve(self, associated: Callable[[PacketChannel[bytes]], None]) -> None:
        """Take new clients.

        :param associated: called with the channel of each; if it sets a sink, that gets the first packets too
        """
        self._associated = associated
        self._socket.start(self._received)

    def stop(self) -> None:
        """Take no new ones; those that are there stay."""
        self._associated = None

    def close(self) -> None:
        """Close their channels, and give the port back."""
        for channel in list(self._channels.values()):
            channel.close()
        self._socket.close()

    def _received(self, datagrams: list[Datagram]) -> None:
        batches: dict[SocketName, list[bytes]] = {}
        for data, name in datagrams:
            batch = batches.get(name)
            if batch is None:
                batches[name] = [data]
            else:
                batch.append(data)
        channels = self._channels
        for name, batch in batches.items():
            channel = channels.pop(name, None)
            if channel is not None:
                channels[name] = channel
                channel.received(batch)
            elif self._associated is not None:
                self._begin(name).received(batch)

    def _begin(self, name: SocketName) -> ServerChannel:
        assert self._associated is not None
        channels = self._channels
        if len(channels) >= MAX_CLIENTS:
            channels[next(iter(channels))].close()
        channel = channels[name] = ServerChannel(self._socket, name, channels.pop)
        self._associated(channel)
        return channel
