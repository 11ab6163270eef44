from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from outline_lb.base.address import Address
from outline_lb.base.errors import GoingAwayError, StreamError, TruncatedError, UpstreamError
from outline_lb.base.flow import Network
from outline_lb.base.stream import Stream
from outline_lb.datapath.carried import CarriedStream
from outline_lb.datapath.cipher import ClientCipher, Opener, Sealer
from outline_lb.datapath.transport import StandbyEndpoint, StreamEndpoint
from outline_lb.datapath.tunnel import Tunnel
from outline_lb.datapath.upstream import Upstream
from outline_lb.selection.health import Health, HealthOptions, State
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.dialers import FakeDialer
from outline_lb.testing.streams import FakeStream

pytestmark = pytest.mark.fake_clock

FAILED = UpstreamError("connect", "refused")


class SlowEndpoint(StandbyEndpoint):
    """Takes 0.3 seconds."""

    def __init__(self, error: UpstreamError | None = None) -> None:
        self.stream = FakeStream()
        self._error = error

    async def connect_stream(self) -> Stream:
        await asyncio.sleep(0.3)
        if self._error is not None:
            raise self._error
        return self.stream

    async def check_stream(self, stream: Stream) -> None:
        await asyncio.sleep(0.1)


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


@pytest.mark.parametrize("error", [TruncatedError("no Close"), ConnectionResetError(), BrokenPipeError()])
async def test_a_cut_without_a_word_is_a_doubt_and_no_failure(error: Exception) -> None:
    watched = Watched(SlowEndpoint())
    for _ in range(5):
        watched.upstream.broke(Network.TCP, error)
    assert watched.state() == (State.UNKNOWN, 0)
    assert watched.upstream.health[Network.TCP].doubted
    assert not watched.upstream.health[Network.UDP].doubted


async def test_a_defect_of_ours_says_nothing_about_the_server() -> None:
    watched = Watched(SlowEndpoint())
    watched.upstream.broke(Network.TCP, MemoryError())
    assert watched.state() == (State.UNKNOWN, 0)
    assert not watched.upstream.health[Network.TCP].doubted


async def test_a_server_that_goes_away_gets_no_new_flows_for_a_while() -> None:
    watched, now = Watched(SlowEndpoint()), asyncio.get_running_loop().time()
    watched.upstream.broke(Network.TCP, GoingAwayError("1012"))
    health = watched.upstream.health[Network.TCP]
    assert (health.available(now), health.cooldown_left(now)) == (False, 20)


@pytest.mark.parametrize("by_probe", [True, False])
async def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(by_probe: bool) -> None:
    watched, now = Watched(SlowEndpoint()), asyncio.get_running_loop().time()
    error = UpstreamError("upgrade", "503", retry_after=90)
    if by_probe:
        watched.upstream.probed(Network.TCP, None, error)
    else:
        watched.upstream.dialled(Network.TCP, None, error)
    assert watched.upstream.health[Network.TCP].cooldown_left(now) == 90
    assert watched.told == [("a", Network.TCP, False, "upgrade: 503")]


class Plain(ClientCipher):
    """No cipher: the target's name goes ahead."""

    def stream(self, target: Address) -> tuple[Sealer, Opener]:
        raise NotImplementedError


def tunnelled(endpoint: StreamEndpoint) -> Upstream:
    health = {Network.TCP: Health(HealthOptions())}
    upstream = Upstream("a", Tunnel(endpoint, Plain()), endpoint, health)
    upstream.keep_ready(1)
    return upstream


async def test_a_waiting_connection_is_taken_and_says_nothing_about_the_server() -> None:
    endpoint = SlowEndpoint()
    upstream = tunnelled(endpoint)
    first = await upstream.open(fake_flow())
    assert first.fresh
    assert first.seconds == pytest.approx(0.3)
    await asyncio.sleep(1)
    second = await upstream.open(fake_flow())
    assert (second.fresh, second.seconds) == (False, None)
    upstream.close()
    await settle()


async def test_waiting_connections_are_dropped_on_any_failure_and_at_the_end() -> None:
    ends: list[Callable[[Upstream], None]] = [
        lambda upstream: upstream.probed(Network.TCP, None, FAILED),
        lambda upstream: upstream.dialled(Network.TCP, None, FAILED),
        lambda upstream: upstream.broke(Network.TCP, StreamError("1011")),
        lambda upstream: upstream.close(),
    ]
    for end in ends:
        upstream = tunnelled(SlowEndpoint())
        assert upstream.standby is not None
        await upstream.open(fake_flow())
        await asyncio.sleep(1)
        assert len(upstream.standby) == 1
        end(upstream)
        assert len(upstream.standby) == 0
        await settle()


async def test_a_handshake_that_a_probe_made_waits_for_a_flow_where_one_is_missing() -> None:
    endpoint = SlowEndpoint()
    upstream = tunnelled(endpoint)
    assert upstream.standby is not None
    assert await upstream.standby.take() is None  # a flow was here
    upstream.health[Network.TCP].succeeded(0, 0.1)
    await upstream.handshake()
    assert len(upstream.standby) == 1
    upstream.close()
    await settle()


async def test_a_direct_connection_has_none_that_wait() -> None:
    upstream = Upstream("a", FakeDialer(), None, {Network.TCP: Health(HealthOptions())})
    upstream.keep_ready(2)
    assert upstream.standby is None
    upstream.close()


async def test_what_came_for_the_flows_under_way_is_added_up() -> None:
    upstream = Upstream("a", FakeDialer(), None, {Network.TCP: Health(HealthOptions())})
    streams = [CarriedStream(lower := FakeStream(), upstream, fake_flow(), lambda *_: None) for _ in range(2)]
    for stream in streams:
        stream.data_received(bytes(100))
    assert (upstream.active, upstream.received) == (2, 200)
    lower.lose(ConnectionResetError())
    assert (upstream.active, upstream.received) == (1, 100)
