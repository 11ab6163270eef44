from __future__ import annotations

import asyncio

import pytest

from outline_lb.base.errors import StreamError, UpstreamError
from outline_lb.base.flow import Network
from outline_lb.base.stream import Stream
from outline_lb.datapath.transport import StreamEndpoint
from outline_lb.datapath.upstream import Upstream
from outline_lb.selection.health import Health, HealthOptions, State
from outline_lb.testing.clock import settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.streams import FakeStream

pytestmark = pytest.mark.fake_clock

FAILED = UpstreamError("connect", "refused")


class SlowEndpoint(StreamEndpoint):
    """Takes 0.3 seconds."""

    def __init__(self, error: UpstreamError | None = None) -> None:
        self.stream = FakeStream()
        self._error = error

    async def connect_stream(self) -> Stream:
        await asyncio.sleep(0.3)
        if self._error is not None:
            raise self._error
        return self.stream


class Watched:
    """An upstream, and what it told."""

    def __init__(self, endpoint: StreamEndpoint | None) -> None:
        self.told: list[tuple[str, Network, bool, str]] = []
        health = {network: Health(HealthOptions()) for network in Network}
        self.upstream = Upstream("a", FakeDialer(), endpoint, health, lambda *args: self.told.append(args))

    def state(self, network: Network = Network.TCP) -> tuple[State, int]:
        health = self.upstream.health[network]
        return health.state, health.failures


async def test_a_handshake_is_measured_and_closed_politely() -> None:
    endpoint = SlowEndpoint()
    assert await Watched(endpoint).upstream.handshake() == pytest.approx(0.3)
    assert endpoint.stream.calls == ["close"]
    await settle()


async def test_a_handshake_that_fails() -> None:
    with pytest.raises(UpstreamError) as caught:
        await Watched(SlowEndpoint(FAILED)).upstream.handshake()
    assert caught.value is FAILED


async def test_without_a_server_there_is_no_handshake() -> None:
    assert await Watched(None).upstream.handshake() is None


async def test_probes_and_traffic_change_the_state_and_are_told_once() -> None:
    watched = Watched(SlowEndpoint())
    upstream = watched.upstream
    upstream.probed(Network.TCP, 0.1, None)
    upstream.probed(Network.TCP, 0.1, None)
    upstream.dialled(Network.TCP, None, FAILED)
    upstream.dialled(Network.TCP, None, FAILED)
    upstream.dialled(Network.TCP, 0.1, None)
    upstream.probed(Network.TCP, None, StreamError("reset"))
    upstream.probed(Network.TCP, None, StreamError("reset"))
    assert watched.told == [
        ("a", Network.TCP, True, "probe succeeded"),
        ("a", Network.TCP, False, "connect: refused"),
        ("a", Network.TCP, True, "traffic succeeded"),
        ("a", Network.TCP, False, "reset"),
    ]


async def test_kinds_of_traffic_are_apart() -> None:
    watched = Watched(SlowEndpoint())
    for _ in range(2):
        watched.upstream.probed(Network.UDP, None, FAILED)
    assert watched.state(Network.UDP) == (State.DOWN, 2)
    assert watched.state(Network.TCP) == (State.UNKNOWN, 0)


async def test_cut_flows_count() -> None:
    watched = Watched(SlowEndpoint())
    for _ in range(2):
        watched.upstream.broke(Network.TCP, StreamError("cut"))
    assert watched.state() == (State.DOWN, 2)
    assert watched.told == [("a", Network.TCP, False, "cut")]


async def test_cut_and_silent_flows_of_a_direct_connection_do_not() -> None:
    watched = Watched(None)
    for _ in range(2):
        watched.upstream.broke(Network.TCP, StreamError("cut"))
        watched.upstream.silent(Network.TCP, 0.0)
    assert watched.state() == (State.UNKNOWN, 0)


async def test_silence_is_evidence_without_a_cooldown() -> None:
    watched, now = Watched(SlowEndpoint()), asyncio.get_running_loop().time()
    watched.upstream.silent(Network.TCP, now - 2)
    assert watched.state() == (State.UNKNOWN, 1)
    assert watched.upstream.health[Network.TCP].available(now)


async def test_silence_that_began_before_the_last_evidence_says_nothing_new() -> None:
    watched, loop = Watched(SlowEndpoint()), asyncio.get_running_loop()
    watched.upstream.probed(Network.TCP, 0.1, None)
    watched.upstream.silent(Network.TCP, loop.time() - 2)
    assert watched.state() == (State.UP, 0)
    watched.upstream.silent(Network.TCP, loop.time())
    assert watched.state() == (State.UP, 1)
