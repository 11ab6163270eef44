"""The verbs of the data path: open a stream for this flow, to its target; carry its packets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from .flow import Flow, Network
from .packets import Packet, PacketChannel
from .stream import Stream


class StreamDialer(ABC):
    """Takes a flow with its target. A balancer, a direct connection and a rule are all dialers, so they nest."""

    @abstractmethod
    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        """Open a stream to the flow's target.

        Called once per flow; the caller attaches a sink and resumes reading. Cancelling the call closes whatever was opened.

        :param flow: whose target is meant
        :param first: bytes of the application that are there already and go first
        :return: a stream, still paused
        :raises UpstreamError: if the way to the target failed; another dialer may do
        :raises TargetError: if the target itself is the trouble
        """


class PacketDialer(ABC):
    """Opens a way for packets to any target."""

    @abstractmethod
    async def dial_packets(self, flow: Flow) -> PacketChannel[Packet]:
        """Open a channel for the packets of a flow. Cancelling the call closes whatever was opened.

        :param flow: whose packets they are; its target is that of the first one, and others may follow
        :return: a channel without a sink
        :raises UpstreamError: if it cannot be opened
        """


class Dialer(StreamDialer):
    """What the flows of a frontend go to."""

    @property
    @abstractmethod
    def networks(self) -> Collection[Network]:
        """What can be carried."""

    @abstractmethod
    def packets(self, flow: Flow) -> PacketChannel[Packet]:
        """Return a channel for the packets of a flow, which lasts until it is closed: a way is opened when there is something to send, and again
        when one ended.

        :param flow: whose packets they are; its target is that of the first one, and others may follow
        :return: a channel without a sink; packets that nobody can carry are dropped
        """
