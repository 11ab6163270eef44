"""A dialer that asks a policy which upstream to take, and takes the next one when it fails or is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ..base.dialer import StreamDialer
from ..base.errors import DialError, TargetError, UpstreamError
from ..base.flow import Flow, Network
from ..base.stream import Buffer, Hop, Stream
from ..selection.policy import Candidate, Outcome, Policy
from .upstream import Upstream

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
    """Spreads flows over the members of a pool.

    :param name: the pool's name
    :param members: at least one
    :param policy: chooses
    :param connect_timeout: seconds that a flow may take to open, over all upstreams that are tried for it
    :param listeners: who hears about flows
    """

    def __init__(self, name: str, members: Sequence[Member], policy: Policy, connect_timeout: float, listeners: FlowListeners | None = None) -> None:
        self.name = name
        self.members = members
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._listeners = listeners or FlowListeners()

    async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
        dial = _Dial(self, flow)
        try:
            async with asyncio.timeout(self._connect_timeout):
                stream, member = await dial.run()
        except TimeoutError:
            raise dial.failure(f"no answer within {self._connect_timeout:g} s") from None
        finally:
            dial.give_up()
        carried = _CarriedStream(stream, self, member, flow)
        carried.write(first)
        self._listeners.opened(flow, member.name)
        return carried

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

    def closed(self, stream: _CarriedStream, exc: Exception | None) -> None:
        """A carried stream is over."""
        member, flow = stream.member, stream.flow
        member.upstream.active -= 1
        self.done(member, flow, Outcome.CLOSED)
        self._listeners.closed(flow, member.name, stream.sent, stream.received, exc)


class _Dial:
    """The opening of one flow: attempts that start one after the other, until the first succeeds."""

    def __init__(self, balancer: Balancer, flow: Flow) -> None:
        self._balancer = balancer
        self._flow = flow
        self._tried: list[Member] = []
        self._errors: list[str] = []
        self._running: dict[asyncio.Task[Stream], Member] = {}
        self._silent: list[Member] = []

    async def run(self) -> tuple[Stream, Member]:
        """Try until one succeeds.

        :raises DialError: if none does
        """
        while True:
            started = self._start_next()
            if not self._running:
                raise self.failure("no upstream could be reached")
            patience = _patience(started, self._flow.network) if started else None
            done, _ = await asyncio.wait(self._running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done and started:
                self._silent.append(started)
            for task in done:
                member = self._running.pop(task)
                error = task.exception()
                if error is None:
                    return task.result(), member
                self._failed(member, error)

    def _start_next(self) -> Member | None:
        member = self._balancer.pick(self._flow, self._tried)
        if member is not None:
            self._tried.append(member)
            self._running[asyncio.create_task(self._attempt(member))] = member
        return member

    async def _attempt(self, member: Member) -> Stream:
        """Dial one upstream, and tell its health how it went. The payload stays here: it goes over one stream only."""
        flow, upstream = self._flow, member.upstream
        loop = asyncio.get_running_loop()
        started = loop.time()
        upstream.health[flow.network].dialling()
        try:
            stream = await upstream.dialer.dial_stream(flow)
        except UpstreamError as exc:
            upstream.dialled(flow.network, None, exc)
            raise
        except BaseException:
            upstream.health[flow.network].dial_given_up()
            raise
        upstream.dialled(flow.network, loop.time() - started if upstream.endpoint else None, None)
        return stream

    def _failed(self, member: Member, error: BaseException) -> None:
        self._balancer.done(member, self._flow, Outcome.FAILED)
        if isinstance(error, TargetError) or not isinstance(error, DialError) or error.sent:
            raise error
        self._errors.append(f"{member.name}: {error}")
        log.info("upstream failed a flow", flow=self._flow.id, upstream=member.name, error=str(error))

    def failure(self, message: str) -> UpstreamError:
        """Return the error for a flow that no upstream could open."""
        return UpstreamError("dial", "; ".join([message, *self._errors]))

    def give_up(self) -> None:
        """End the attempts that nobody waits for. One that was silent for too long counts as failed."""
        for task, member in self._running.items():
            task.cancel()
            task.add_done_callback(_close_late_stream)
            if member in self._silent:
                member.upstream.dialled(self._flow.network, None, UpstreamError("dial", "silent for too long"))
            self._balancer.done(member, self._flow, Outcome.UNUSED)


def _close_late_stream(task: asyncio.Task[Stream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _patience(member: Member, network: Network) -> float:
    latency = member.latency(network)
    return MAX_PATIENCE if latency is None else min(max(PATIENCE_FACTOR * latency, MIN_PATIENCE), MAX_PATIENCE)


class _CarriedStream(Hop):
    """Counts what goes through, and tells the balancer when it is over."""

    __slots__ = ("_balancer", "flow", "member", "received", "sent")

    def __init__(self, lower: Stream, balancer: Balancer, member: Member, flow: Flow) -> None:
        self._balancer = balancer
        self.member = member
        self.flow = flow
        self.sent = self.received = 0
        member.upstream.active += 1
        super().__init__(lower)

    def data_received(self, data: Buffer) -> None:
        self.received += len(data)
        self.upper.data_received(data)

    def write(self, data: Buffer) -> None:
        self.sent += len(data)
        self.lower.write(data)

    def commit(self, size: int) -> None:
        self.sent += size
        self.lower.commit(size)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.over:  # neither side here ended it: the upstream did
            self.member.upstream.broke(self.flow.network, exc)
        super().connection_lost(exc)
        self._balancer.closed(self, exc)
