"""One client's packets: a relay socket, and the TCP connection that holds it (RFC 1928 sections 6 and 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from outline_lb.api import (
    NO_PACKET_SINK,
    Address,
    Buffer,
    Datagram,
    Drops,
    Flow,
    FrontendDeps,
    Network,
    Packet,
    PacketChannel,
    PacketSink,
    SocketName,
    Stream,
    StreamSink,
    UdpSocket,
    name_of,
)

from .options import UdpOptions
from .udp_header import HeaderError, UdpHeaders

log = structlog.get_logger("socks5")


class Association(PacketChannel[Packet], StreamSink):
    """The packets of an application, and the sink of the connection with which it asked for them: they end together.

    :param stream: the connection, after the request; becomes ours
    :param sock: the relay's; becomes ours
    :param client: the other end of the connection; datagrams come from its IP address, and all of them from one port
    :param user: who that is
    :param deps: what the frontend was built with
    :param options: how long it may be idle, and how much it remembers
    :param drops: hears of datagrams that are not taken
    :param ended: called once, when the association is over
    """

    __slots__ = (
        *("_client", "_clock", "_deps", "_drops", "_ended", "_headers", "_idle_timeout", "_over", "_sink", "_sock", "_source", "_stream", "_timer"),
        *("_user", "used"),
    )

    def __init__(
        self,
        stream: Stream,
        sock: UdpSocket,
        client: Address,
        user: str,
        deps: FrontendDeps,
        options: UdpOptions,
        drops: Drops,
        ended: Callable[[Association], object],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._clock = loop.time  # to ask for the running loop takes longer than for its time
        self.used = loop.time()  # when the last packet went through
        self._stream = stream
        self._sock = sock
        self._client = client
        self._user = user
        self._deps = deps
        self._drops = drops
        self._ended = ended
        self._headers = UdpHeaders(options.max_targets)
        self._idle_timeout = options.idle_timeout
        self._timer = loop.call_later(options.idle_timeout, self._look_idle)
        self._source: SocketName | None = None  # of the first valid datagram, and so of all
        self._sink: PacketSink[Packet] = NO_PACKET_SINK
        self._over = False
        stream.set_sink(self)
        sock.start(self._received)

    @property
    def carried(self) -> bool:
        """Whether the carrier has it."""
        return self._source is not None

    def end(self, why: str) -> None:
        """End everything: what still comes goes nowhere.

        :param why: for the log
        """
        if self._over:
            return
        self._over = True
        log.debug("association ended", frontend=self._deps.name, client=str(self._client), reason=why)
        self._timer.cancel()
        self._sock.close()
        self._stream.close()
        self._ended(self)
        asyncio.get_running_loop().call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        sink, self._sink = self._sink, NO_PACKET_SINK  # breaks the reference circle
        sink.connection_lost(None)

    def _look_idle(self) -> None:
        loop = asyncio.get_running_loop()
        left = self.used + self._idle_timeout - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look_idle)
        else:
            self.end(f"no packet for {self._idle_timeout:g} s")

    # -- called by the socket

    def _received(self, datagrams: list[Datagram]) -> None:
        first = self._source is None
        packets = self._open(datagrams)
        if not packets:
            return
        self.used = self._clock()
        if first:
            self._carry(packets)
        else:
            self._sink.packets_received(packets)

    def _open(self, datagrams: list[Datagram]) -> list[Packet]:
        """Return what the client's datagrams say."""
        packets, source, headers = [], self._source, self._headers
        for datagram, sender in datagrams:
            if sender != source and not self._may_send(sender):
                continue
            try:
                packets.append(headers.open(datagram))
            except HeaderError as exc:
                self._drops.count(str(exc))
            else:
                self._source = source = sender
        return packets

    def _may_send(self, sender: SocketName) -> bool:
        """Tell whether a datagram may be the first one."""
        if sender[0] != self._client.host:
            self._drops.count("not from the client's address")
        elif self._source is not None:
            self._drops.count("not from the client's port")
        else:
            return True
        return False

    def _carry(self, packets: list[Packet]) -> None:
        """Begin the flow."""
        assert self._source is not None
        deps = self._deps
        flow = Flow(deps.name, Network.UDP, name_of(self._source), self._user, packets[0].address, self.used)
        deps.carrier.carry_packets(flow, self, deps.dialer, packets)

    # -- called by the carrier

    @property
    def peer_address(self) -> Address | None:
        return self._client if self._source is None else name_of(self._source)

    def set_sink(self, sink: PacketSink[Packet]) -> None:
        self._sink = sink
        if self._over:
            asyncio.get_running_loop().call_soon(self._tell_lost)

    def send(self, packets: list[Packet]) -> None:
        source = self._source
        if self._over or source is None:  # a client whose port is not known gets nothing
            return
        self.used = self._clock()
        send, seal = self._sock.send, self._headers.seal
        for packet in packets:
            send(seal(packet), source)

    def close(self) -> None:
        self.end("the flow is over")

    # -- called by the connection

    def data_received(self, data: Buffer) -> None:
        """Nothing is to be said after the request."""

    def eof_received(self) -> None:
        self.end("the client ended its connection")

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("the client's connection is lost")
