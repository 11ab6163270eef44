"""A dialer that asks a policy which upstream to take, and takes the next one when it fails or is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from ..base.dialer import StreamDialer
from ..base.drops import Drops
from ..base.errors import DialError, Reason, TargetError, UpstreamError, describe
from ..base.flow import Flow, Network
from ..base.stream import Stream
from ..selection.health import Health, State
from ..selection.policy import Candidate, Outcome, Policy
from .carried import CarriedStream
from .packet_flow import CarriedPackets, PacketFlow
from .upstream import Upstream
from .way import Opening

log = structlog.get_logger("balancer")

PATIENCE_FACTOR: Final = 3.0
MIN_PATIENCE: Final = 0.25
MAX_PATIENCE: Final = 2.0
"""An upstream that is silent for longer than 3 times its usual dial time (within these seconds) gets company."""


class Member(Candidate):
    """An upstream in one pool.

    :param upstream: which
    :param weight: how much it is preferred here, above 0
    :param tier: 0 is used first, a higher one only when no lower one is usable
    :param interval: seconds between probes; None without probes
    """

    __slots__ = ("_interval", "_weight", "tier", "upstream")

    def __init__(self, upstream: Upstream, weight: float = 1.0, tier: int = 0, interval: float | None = None) -> None:
        self.upstream = upstream
        self._weight = weight
        self.tier = tier
        self._interval = interval

    @property
    def name(self) -> str:
        return self.upstream.name

    @property
    def weight(self) -> float:
        return self._weight

    @property
    def active(self) -> int:
        return self.upstream.active

    def latency(self, network: Network) -> float | None:
        return self.upstream.health[network].latency

    def deviation(self, network: Network) -> float:
        return self.upstream.health[network].deviation

    def failures(self, network: Network) -> int:
        return self.upstream.health[network].failures

    def checked(self, network: Network) -> float | None:
        return self.upstream.health[network].checked

    def check_interval(self) -> float | None:
        return self._interval

    def __repr__(self) -> str:
        return f"<Member {self.name}>"


@dataclass(frozen=True, slots=True)
class FlowListeners:
    """Who hears about flows.

    :param opened: flow, name of the upstream
    :param closed: flow, name of the upstream, bytes sent, bytes received, error
    """

    opened: Callable[[Flow, str], None] = lambda *_: None
    closed: Callable[[Flow, str, int, int, Exception | None], None] = lambda *_: None


class Balancer(StreamDialer):
    """Spreads flows over the members of a pool. A flow of packets may be spread again: see `PacketFlow`.

    :param name: the pool's name
    :param members: at least one
    :param policy: chooses
    :param connect_timeout: seconds that a flow may take to open, over all upstreams that are tried for it
    :param listeners: who hears about flows
    """

    def __init__(self, name: str, members: Sequence[Member], policy: Policy, connect_timeout: float, listeners: FlowListeners | None = None) -> None:
        self.name = name
        self.members = members
        self.dialling = 0  # flows that have no stream yet
        self.drops = Drops(pool=name)  # packets that nobody carried
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._listeners = listeners or FlowListeners()

    @property
    def networks(self) -> Collection[Network]:
        """What at least one member can carry."""
        return {network for member in self.members for network in member.upstream.ways}

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        opening, member = await self._dial(flow)
        stream = member.upstream.ways[flow.network].begin(opening, flow)
        carried = CarriedStream(stream, member.upstream, flow, partial(self._closed, member))
        carried.write(first)
        self._tell_opened(flow, member, flow.started)
        return carried

    async def carry_packets(self, flow: Flow, packets: PacketFlow) -> CarriedPackets:
        """Open a way for packets.

        :param flow: whose they are
        :param packets: hears what comes
        :raises UpstreamError: if no upstream has one
        """
        started = asyncio.get_running_loop().time()
        opening, member = await self._dial(flow)
        channel = member.upstream.ways[flow.network].begin(opening, flow)
        health = member.upstream.health[flow.network]
        should_leave, closed = partial(self._should_leave, health, flow.network), partial(self._closed, member)
        carried = CarriedPackets(channel, opening.fresh, member, packets, should_leave, closed)
        self._tell_opened(flow, member, started)
        return carried

    async def _dial(self, flow: Flow) -> tuple[Opening[Any], Member]:
        self.dialling += 1
        try:
            return await _Dial(self, flow).run(self._connect_timeout)
        finally:
            self.dialling -= 1

    def _should_leave(self, health: Health, network: Network) -> bool:
        """Tell whether flows that can should go elsewhere: this upstream is no good, and another one may be.

        One that may be tried again is not left for another of that kind: a flow would go to and fro between the two.
        """
        if health.sound:  # as it is nearly always, and this is asked for each batch of packets
            return False
        now = asyncio.get_running_loop().time()
        if (health.state is not State.DOWN and not health.cooldown_left(now)) or health.available(now):
            return False
        others = (other.upstream.health.get(network) for other in self.members)
        return any(other is not None and other.available(now) for other in others)

    def _tell_opened(self, flow: Flow, member: Member, started: float) -> None:
        seconds = round(asyncio.get_running_loop().time() - started, 4)
        log.debug(
            "flow opened",
            flow=flow.id,
            frontend=flow.frontend,
            network=flow.network.value,
            user=flow.user or None,
            target=flow.target,
            upstream=member.name,
            seconds=seconds,
        )
        self._listeners.opened(flow, member.name)

    def pick(self, flow: Flow, tried: Sequence[Member]) -> Member | None:
        """Choose among the members that this flow has not tried: the best tier with usable ones, else (all down) whatever there is."""
        now = asyncio.get_running_loop().time()
        network = flow.network
        left = [member for member in self.members if member not in tried and network in member.upstream.health]
        if not left:
            return None
        usable = [member for member in left if member.upstream.health[network].available(now)] or left
        tier = min(member.tier for member in usable)
        usable = [member for member in usable if member.tier == tier]
        picked = self._policy.pick(usable, flow, now)
        assert isinstance(picked, Member)
        return picked

    def done(self, member: Member, flow: Flow, outcome: Outcome) -> None:
        """Tell the policy how it went."""
        self._policy.done(member, flow, outcome, asyncio.get_running_loop().time())

    def _closed(self, member: Member, carried: CarriedStream | CarriedPackets, exc: Exception | None) -> None:
        """What was carried is over."""
        flow = carried.flow
        self.done(member, flow, Outcome.CLOSED)
        seconds = round(asyncio.get_running_loop().time() - flow.started, 4)
        log.debug("flow closed", flow=flow.id, upstream=member.name, sent=carried.sent, received=carried.received, seconds=seconds, error=exc)
        self._listeners.closed(flow, member.name, carried.sent, carried.received, exc)


class _Attempt:
    """One upstream that is being dialled for a flow."""

    __slots__ = ("member", "opening", "started")

    def __init__(self, member: Member, started: float) -> None:
        self.member = member
        self.started = started
        self.opening: Opening[Any] | None = None  # once there is one


class _Dial:
    """The opening of one flow: attempts that start one after the other, until the first succeeds.

    The payload stays with the balancer, so that it goes over one stream only.
    """

    __slots__ = ("_answer", "_attempts", "_balancer", "_errors", "_flow", "_loop", "_next", "_over", "_tried")

    def __init__(self, balancer: Balancer, flow: Flow) -> None:
        self._balancer = balancer
        self._flow = flow
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[asyncio.Task[Opening[Any]]] = self._loop.create_future()
        self._attempts: dict[asyncio.Task[Opening[Any]], _Attempt] = {}  # under way, or successful
        self._tried: list[Member] = []
        self._errors: list[str] = []
        self._next: asyncio.TimerHandle | None = None
        self._over = False

    async def run(self, seconds: float) -> tuple[Opening[Any], Member]:
        """Try until one succeeds.

        :param seconds: for all attempts together
        :raises UpstreamError: if none succeeded
        :raises TargetError: if the target itself is the trouble
        """
        end = self._loop.call_later(seconds, self._time_out, seconds)
        try:
            self._start_next()
            winner = await self._answer
            member = self._attempts.pop(winner).member
            return winner.result(), member
        finally:
            end.cancel()
            self._give_up()

    def _start_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
        flow = self._flow
        member = self._balancer.pick(flow, self._tried)
        if member is None:
            if not self._attempts:
                self._fail(self._failure("no upstream could be reached"))
            return
        self._tried.append(member)
        log.debug("dialling", flow=flow.id, upstream=member.name)
        member.upstream.health[flow.network].dialling()
        task = self._loop.create_task(member.upstream.ways[flow.network].open(flow))
        self._attempts[task] = _Attempt(member, self._loop.time())
        task.add_done_callback(self._ended)
        self._next = self._loop.call_later(_patience(member, flow.network), self._start_next)

    def _ended(self, task: asyncio.Task[Opening[Any]]) -> None:
        attempt = self._attempts[task]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        opening = task.result() if error is None else None
        self._judge(attempt, opening, error)
        if opening is not None:
            attempt.opening = opening
            if self._over:
                attempt.member.upstream.ways[self._flow.network].give_back(opening)
            elif not self._answer.done():
                self._answer.set_result(task)
        elif error is not None and not self._over:
            del self._attempts[task]
            self._failed(attempt.member, error)

    def _judge(self, attempt: _Attempt, opening: Opening[Any] | None, error: BaseException | None) -> None:
        """Tell the upstream's health how an attempt went."""
        upstream, network = attempt.member.upstream, self._flow.network
        if opening is not None and opening.fresh:
            upstream.dialled(network, opening.seconds, None)
        elif error is None or isinstance(error, (TargetError, asyncio.CancelledError)):
            upstream.health[network].dial_given_up()
        else:
            upstream.dialled(network, None, error if isinstance(error, DialError) else UpstreamError("dial", error))

    def _failed(self, member: Member, error: BaseException) -> None:
        flow = self._flow
        if isinstance(error, TargetError):
            self._balancer.done(member, flow, Outcome.UNUSED)
            self._fail(error)
            return
        self._balancer.done(member, flow, Outcome.FAILED)
        self._errors.append(f"{member.name}: {describe(error)}")
        if isinstance(error, DialError):
            log.info("upstream failed a flow", flow=flow.id, upstream=member.name, error=str(error))
            if error.sent:
                self._fail(error)
        else:  # a defect, or something of the transport's that was cancelled
            log.error("upstream failed a flow", flow=flow.id, upstream=member.name, exc_info=error)
        if not self._answer.done():
            self._start_next()

    def _time_out(self, seconds: float) -> None:
        self._fail(self._failure(f"no answer within {seconds:g} s", Reason.TIMEOUT))

    def _failure(self, message: str, reason: Reason | None = None) -> UpstreamError:
        silent = [f"{attempt.member.name}: silent" for attempt in self._attempts.values()]
        return UpstreamError("dial", "; ".join([message, *self._errors, *silent]), reason=reason)

    def _fail(self, error: DialError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)

    def _give_up(self) -> None:
        """End the attempts that nobody waits for any more."""
        self._over = True
        if self._next is not None:
            self._next.cancel()
        del self._answer  # no reference circle: its exception knows the frame of `run`
        flow = self._flow
        for task, attempt in self._attempts.items():
            member = attempt.member
            if attempt.opening is not None:
                member.upstream.ways[flow.network].give_back(attempt.opening)
            else:
                task.cancel()
                log.debug("dial given up", flow=flow.id, upstream=member.name)
                if self._loop.time() >= attempt.started + _patience(member, flow.network):
                    member.upstream.silent(flow.network, attempt.started)
            self._balancer.done(member, flow, Outcome.UNUSED)


def _patience(member: Member, network: Network) -> float:
    latency = member.latency(network)
    return MAX_PATIENCE if latency is None else min(max(PATIENCE_FACTOR * latency, MIN_PATIENCE), MAX_PATIENCE)
