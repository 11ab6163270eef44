"""The contract of a probe: measure one upstream once."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..base.flow import Network
from ..datapath.upstream import Upstream


class Probe(ABC):
    """Measures whether an upstream works, and how fast. One object per pool, used for all its upstreams."""

    @abstractmethod
    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        """Try the upstream once. The caller limits the time.

        :param upstream: what to try
        :param network: for which kind of traffic
        :return: the seconds it took; None if this probe says nothing about such an upstream
        :raises DialError: if it does not work
        """
