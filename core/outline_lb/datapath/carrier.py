"""Takes a flow to its end: from an accepted stream, or from a channel of an application's packets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from ..base.dialer import Dialer, StreamDialer
from ..base.errors import AbortedError, DialError, UpstreamError
from ..base.flow import Flow
from ..base.packets import Packet, PacketChannel
from ..base.stream import Buffer, Stream, StreamSink
from .packet_relay import relay_packets
from .relay import relay

log = structlog.get_logger("datapath")

EARLY: Final = 64 * 1024
"""Bytes that a client may send before its flow has a stream: once there are as many, it is not read any more."""


class Carrier:
    """Dials for a flow, tells the frontend how it went, and joins the streams.

    :param tasks: where the dials run; ending it ends them
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._flows: dict[Stream, Stream] = {}
        self._channels: dict[PacketChannel[Packet], PacketChannel[Packet]] = {}
        self._dialling = 0
        self._idle = anyio.Event()

    @property
    def active(self) -> int:
        """Flows that are not over."""
        return self.streams + len(self._channels)

    @property
    def streams(self) -> int:
        """Those of streams, the ones that have none yet among them."""
        return self._dialling + len(self._flows)

    async def drained(self) -> None:
        """Wait until no stream is left. Nobody waits for packets: they have no end of their own, and can go on elsewhere."""
        while self.streams:
            self._idle = anyio.Event()
            await self._idle.wait()

    def carry(
        self,
        flow: Flow,
        client: Stream,
        dialer: StreamDialer,
        opened: Callable[[Stream], None],
        failed: Callable[[DialError], None],
        first: bytes = b"",
    ) -> None:
        """Open a stream for a flow and join it with the client's. Returns at once.

        The client's stream is read while the dial is under way: what it sends is kept and goes after `first`, and when it is lost, the dial is
        given up; then neither `opened` nor `failed` is called.

        :param flow: whose target is meant
        :param client: the application's stream; becomes the carrier's
        :param dialer: opens the other one
        :param opened: called with the stream that was opened, before the first byte goes through: to tell the client that it may go ahead
        :param failed: called when no stream could be opened: to tell the client why, and close its stream
        :param first: what the client has sent already
        """
        waiting = _Waiting(client)
        client.set_sink(waiting)
        client.resume_reading()
        self._dialling += 1
        self._tasks.start_soon(self._carry, flow, waiting, dialer, opened, failed, first)

    def carry_packets(self, flow: Flow, client: PacketChannel[Packet], dialer: Dialer, first: list[Packet] | None = None) -> None:
        """Join an application's packets with the way that a dialer has for them. Returns at once; the flow is over when the client's channel is.

        :param flow: whose packets they are
        :param client: the application's channel; becomes the carrier's
        :param dialer: carries what comes from it
        :param first: what the client has sent already
        """
        channel = dialer.packets(flow)
        self._channels[client] = channel
        relay_packets(client, channel, partial(self._packets_over, client))
        if first:
            channel.send(first)

    def abort_all(self) -> None:
        """Abort every flow that has a stream, on both sides, and close those of packets. The others end with the task group."""
        cause = AbortedError("the program ends")
        for client, stream in list(self._flows.items()):
            client.abort(cause)
            stream.abort(cause)
        for one, two in list(self._channels.items()):
            one.close()
            two.close()

    async def _carry(
        self,
        flow: Flow,
        waiting: _Waiting,
        dialer: StreamDialer,
        opened: Callable[[Stream], None],
        failed: Callable[[DialError], None],
        first: bytes,
    ) -> None:
        client = waiting.client
        stream: Stream | None = None
        try:
            with waiting.dial:
                stream = await dialer.dial_stream(flow, first)
        except DialError as exc:
            log.info("flow failed", flow=flow.id, target=str(flow.target), error=str(exc))
            failed(exc)
        except Exception as exc:  # a defect: ends this flow, and not the program with all the others
            log.exception("flow failed", flow=flow.id, target=str(flow.target))
            failed(UpstreamError("dial", exc))
        except BaseException:
            client.abort()
            raise
        else:
            if stream is None or waiting.lost:
                log.debug("flow given up", flow=flow.id, target=str(flow.target), error="the client went away")
                if stream is not None:
                    stream.abort()
                return
            opened(stream)
            self._flows[client] = stream
            relay(client, stream, waiting.early, waiting.ended, partial(self._over, client))
        finally:
            self._dialling -= 1
            self._look_idle()

    def _over(self, client: Stream) -> None:
        del self._flows[client]
        self._look_idle()

    def _packets_over(self, client: PacketChannel[Packet]) -> None:
        del self._channels[client]

    def _look_idle(self) -> None:
        if not self.streams:
            self._idle.set()


class _Waiting(StreamSink):
    """The sink of a client whose flow has no stream yet: keeps what comes, and gives the dial up when the client is gone."""

    __slots__ = ("client", "dial", "early", "ended", "lost")

    def __init__(self, client: Stream) -> None:
        self.client = client
        self.dial = anyio.CancelScope()
        self.early = bytearray()
        self.ended = False
        self.lost = False

    def data_received(self, data: Buffer) -> None:
        self.early += data
        if len(self.early) >= EARLY:
            self.client.pause_reading()

    def eof_received(self) -> None:
        self.ended = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.dial.cancel()
