"""The verb of the data path: open a stream for this flow, to its target."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .flow import Flow
from .stream import Stream


class StreamDialer(ABC):
    """Takes a flow with its target. A tunnel, a balancer, a direct connection and a rule are all dialers, so they nest."""

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
