"""What every probe must do. Subclass the suite, and say which probe::

class TestConformance(ProbeSuite):
    def make_probe(self) -> Probe:
        return MyProbe()
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from ...base.address import Address
from ...base.errors import DialError
from ...base.flow import Network
from ...datapath.upstream import Upstream
from ...monitoring.probe import Probe
from ...net.listener import SocketListener
from ...net.socket import SocketStream
from ..upstreams import PortEndpoint, SilentEndpoint, closed_port, fake_upstream


class ProbeSuite(ABC):
    """Behaviour that the monitor relies on.

    By default the upstream is a TCP port on the loopback interface that accepts and says nothing. A probe that wants more of it (a cipher, an
    answer) overrides `serve`.
    """

    network = Network.TCP
    """What the probe measures."""

    @abstractmethod
    def make_probe(self) -> Probe:
        """Return a new probe; where there is something to be found, after `serve` has begun."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Upstream]:
        """Run an upstream that works."""
        listener = SocketListener(Address("127.0.0.1", 0))
        accepted: list[SocketStream] = []
        listener.start(accepted.append)
        try:
            yield fake_upstream(PortEndpoint(listener.address))
        finally:
            listener.close()
            for stream in accepted:
                stream.abort()

    async def test_success_is_a_time(self) -> None:
        async with self.serve() as upstream:
            with anyio.fail_after(10):
                seconds = await self.make_probe().measure(upstream, self.network)
        assert seconds is not None
        assert 0 < seconds < 10

    async def test_it_may_be_used_many_times_and_at_once(self) -> None:
        async with self.serve() as upstream:
            probe = self.make_probe()
            with anyio.fail_after(10):
                times = await asyncio.gather(*[probe.measure(upstream, self.network) for _ in range(5)])
        assert None not in times

    async def test_failure_is_a_dial_error(self) -> None:
        with pytest.raises(DialError), anyio.fail_after(10):
            await self.make_probe().measure(fake_upstream(PortEndpoint(closed_port())), self.network)

    async def test_cancelling_ends_it_at_once_and_leaves_nothing(self) -> None:
        endpoint = SilentEndpoint()
        before = asyncio.all_tasks()
        with anyio.fail_after(10):
            with anyio.move_on_after(0.05) as scope:
                await self.make_probe().measure(fake_upstream(endpoint), self.network)
            assert scope.cancelled_caught
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.001)
        assert endpoint.asked
        assert not endpoint.waiting

    async def test_without_a_server_it_says_nothing_or_tries_the_dialer(self) -> None:
        with anyio.fail_after(10):
            try:
                seconds = await self.make_probe().measure(fake_upstream(None), self.network)
            except DialError:
                return
        assert seconds is None, "nobody answered, so there is no time to tell"
