from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from outline_lb.base.errors import GoingAwayError, StreamError, TruncatedError, UpstreamError
from outline_lb.base.flow import Network
from outline_lb.base.stream import Stream
from outline_lb.datapath.carried import CarriedStream
from outline_lb.datapath.transport import StandbyEndpoint
from outline_lb.datapath.upstream import Upstream
from outline_lb.selection.health import HealthOptions, State
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream
from outline_lb.testing.upstreams import fake_upstream

pytestmark = pytest.mark.fake_clock

FAILED = UpstreamError("connect", "refused")


class Server(StandbyEndpoint[Stream]):
    """Takes 0.3 seconds."""

    async def connect(self) -> Stream:
        await asyncio.sleep(0.3)
        return FakeStream()

    async def check(self, link: Stream) -> None:
        await asyncio.sleep(0.1)


class Watched:
    """An upstream, and what it told."""

    def __init__(self, server: bool = True) -> None:
        self.told: list[tuple[str, Network, bool, str]] = []
        ways = fake_upstream(Server() if server else None).ways
        self.upstream = Upstream("a", ways, lambda *args: self.told.append(args))

    def state(self, network: Network = Network.TCP) -> tuple[State, int]:
        health = self.upstream.health[network]
        return health.state, health.failures


async def test_probes_and_traffic_change_the_state_and_are_told_once() -> None:
    watched = Watched()
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
    watched = Watched()
    for _ in range(2):
        watched.upstream.probed(Network.UDP, None, FAILED)
    assert watched.state(Network.UDP) == (State.DOWN, 2)
    assert watched.state(Network.TCP) == (State.UNKNOWN, 0)


async def test_cut_flows_count() -> None:
    watched = Watched()
    for _ in range(2):
        watched.upstream.broke(Network.TCP, StreamError("cut"))
    assert watched.state() == (State.DOWN, 2)
    assert watched.told == [("a", Network.TCP, False, "cut")]


async def test_cut_and_silent_flows_of_a_direct_connection_do_not() -> None:
    watched = Watched(server=False)
    for _ in range(2):
        watched.upstream.broke(Network.TCP, StreamError("cut"))
        watched.upstream.silent(Network.TCP, 0.0)
    assert watched.state() == (State.UNKNOWN, 0)


async def test_silence_is_evidence_without_a_cooldown() -> None:
    watched, now = Watched(), asyncio.get_running_loop().time()
    watched.upstream.silent(Network.TCP, now - 2)
    assert watched.state() == (State.UNKNOWN, 1)
    assert watched.upstream.health[Network.TCP].available(now)


async def test_silence_that_began_before_the_last_evidence_says_nothing_new() -> None:
    watched, loop = Watched(), asyncio.get_running_loop()
    watched.upstream.probed(Network.TCP, 0.1, None)
    watched.upstream.silent(Network.TCP, loop.time() - 2)
    assert watched.state() == (State.UP, 0)
    watched.upstream.silent(Network.TCP, loop.time())
    assert watched.state() == (State.UP, 1)


@pytest.mark.parametrize("error", [TruncatedError("no Close"), ConnectionResetError(), BrokenPipeError()])
async def test_a_cut_without_a_word_is_a_doubt_and_no_failure(error: Exception) -> None:
    watched = Watched()
    for _ in range(5):
        watched.upstream.broke(Network.TCP, error)
    assert watched.state() == (State.UNKNOWN, 0)
    assert watched.upstream.health[Network.TCP].doubted
    assert not watched.upstream.health[Network.UDP].doubted


async def test_a_defect_of_ours_says_nothing_about_the_server() -> None:
    watched = Watched()
    watched.upstream.broke(Network.TCP, MemoryError())
    assert watched.state() == (State.UNKNOWN, 0)
    assert not watched.upstream.health[Network.TCP].doubted


async def test_a_server_that_goes_away_gets_no_new_flows_for_a_while() -> None:
    watched, now = Watched(), asyncio.get_running_loop().time()
    watched.upstream.broke(Network.TCP, GoingAwayError("1012"))
    health = watched.upstream.health[Network.TCP]
    assert (health.available(now), health.cooldown_left(now)) == (False, 20)


@pytest.mark.parametrize("by_probe", [True, False])
async def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(by_probe: bool) -> None:
    watched, now = Watched(), asyncio.get_running_loop().time()
    error = UpstreamError("upgrade", "503", retry_after=90)
    if by_probe:
        watched.upstream.probed(Network.TCP, None, error)
    else:
        watched.upstream.dialled(Network.TCP, None, error)
    assert watched.upstream.health[Network.TCP].cooldown_left(now) == 90
    assert watched.told == [("a", Network.TCP, False, "upgrade: 503")]


async def test_health_is_that_of_the_ways() -> None:
    upstream = Upstream("a", {Network.UDP: fake_upstream(None).ways[Network.UDP]})
    assert set(upstream.health) == {Network.UDP}
    assert upstream.health[Network.UDP] is upstream.ways[Network.UDP].health
    options = HealthOptions(fail_threshold=7)
    upstream.judge_by(options)
    assert upstream.health[Network.UDP].options is options


async def test_a_first_answer_is_evidence_only_where_opening_was_none() -> None:
    watched = Watched()
    upstream = watched.upstream
    for _ in range(2):
        upstream.dialled(Network.UDP, None, FAILED)
    upstream.answered(Network.UDP, fresh=True)
    assert watched.state(Network.UDP) == (State.DOWN, 2)
    upstream.answered(Network.UDP, fresh=False)
    assert watched.state(Network.UDP) == (State.UP, 0)
    assert upstream.health[Network.UDP].available(asyncio.get_running_loop().time())
    assert [(network, up) for _, network, up, _ in watched.told] == [(Network.UDP, False), (Network.UDP, True)]


async def test_an_answer_between_two_broken_flows_shows_that_the_server_serves() -> None:
    watched, now = Watched(), asyncio.get_running_loop().time()
    for _ in range(3):
        watched.upstream.answered(Network.UDP, fresh=True)
        watched.upstream.broke(Network.UDP, StreamError("cut"))
    assert watched.upstream.health[Network.UDP].cooldown_left(now) == 0
    watched.upstream.broke(Network.UDP, StreamError("cut"))
    assert watched.upstream.health[Network.UDP].cooldown_left(now) > 0


async def waiting() -> Upstream:
    """Return an upstream with one connection of each kind that waits."""
    upstream = Watched().upstream
    upstream.keep_ready(1)
    for network in Network:
        await upstream.ways[network].open(fake_flow(network))
    await asyncio.sleep(1)
    assert standing_by(upstream) == [1, 1]
    return upstream


def standing_by(upstream: Upstream) -> list[int]:
    return [len(way.standby) for way in upstream.ways.values() if way.standby is not None]


async def test_waiting_connections_of_one_kind_are_dropped_on_any_failure_of_that_kind() -> None:
    ends: list[Callable[[Upstream], None]] = [
        lambda upstream: upstream.probed(Network.UDP, None, FAILED),
        lambda upstream: upstream.dialled(Network.UDP, None, FAILED),
        lambda upstream: upstream.broke(Network.UDP, StreamError("1011")),
    ]
    for end in ends:
        upstream = await waiting()
        end(upstream)
        assert standing_by(upstream) == [1, 0]
        upstream.close()
        await settle()


@pytest.mark.parametrize("end", [Upstream.close, Upstream.drop_standbys])
async def test_all_waiting_connections_are_dropped_at_the_end(end: Callable[[Upstream], None]) -> None:
    upstream = await waiting()
    end(upstream)
    assert standing_by(upstream) == [0, 0]
    await settle()


async def test_a_direct_connection_has_none_that_wait() -> None:
    upstream = Watched(server=False).upstream
    upstream.keep_ready(2)
    assert standing_by(upstream) == []
    upstream.close()


async def test_flows_under_way_are_those_of_all_kinds_and_closing_asks_them_to_leave() -> None:
    class Carried:
        received = 0
        asked = 0

        def keep_alive(self, doubt: bool = False) -> None: ...

        def leave(self) -> None:
            self.asked += 1
            upstream.ways[Network.UDP].carried.discard(self)  # ends at once

    upstream, flows = Watched().upstream, [Carried() for _ in range(3)]
    upstream.ways[Network.UDP].carried.update(flows)
    stream = CarriedStream(FakeStream(), upstream, fake_flow(), lambda *_: None)
    assert upstream.active == 4
    upstream.close()
    assert [flow.asked for flow in flows] == [1, 1, 1]
    assert upstream.active == 1
    stream.abort()
