"""Fastest first, and staying with it.

For streams there is one *current* upstream for all flows, so that an application has one address at a time. It holds for `sticky_ttl`, which
using it does not extend; then the one with the best score takes over, or the current one goes on for another `sticky_ttl`: it stays if it would
be the best were it `min_switch` faster. With equal weights and no penalties, that means unless another is faster by `min_switch`, and by more than
both latencies usually deviate (over a way that loses packets, equal upstreams would take turns otherwise)::

    sticky_ttl 60s, min_switch 20ms         t = 0 s    a 50 ms, b 70 ms      a is chosen
                                            t = 30 s   a 50 ms, b 10 ms      a: it holds
                                            t = 60 s   a 50 ms, b 40 ms      a: 10 ms are not enough; it holds until t = 120 s
                                            t = 120 s  a 50 ms, b 20 ms      b

The current one is left at once when it fails a flow, or is not usable any more. It is kept when only this flow wants another one (because it
waits for the current one already): then the best of the rest is given, and the next flow starts with the current one again.

At the start nobody is measured. An upstream without a latency is never made current: flows go to the best score, which is the first one in the
configuration, until something is known. And if some are measured later than the one that became current, the choice is made again as soon
as the first of them is, instead of after `sticky_ttl`.

For packets the best score is taken each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from outline_lb.api import Candidate, Flow, Network, Outcome, Policy, format_duration

from .options import Options
from .score import score

log = structlog.get_logger("policy")


class FastestPolicy(Policy):
    """Chooses the upstream with the lowest score, and stays with it.

    :param options: how long to stay, and what it takes to leave
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._current: Candidate | None = None
        self._failed = False  # the current one, a flow
        self._until = 0.0
        self._unmeasured: list[Candidate] = []  # when the current one was chosen

    def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
        if flow.network is Network.UDP:
            return _best(candidates, Network.UDP, now)
        current = self._current
        if current is None or self._failed:
            return self._switch("failed" if current else "first choice", candidates, now)
        if current in candidates:
            return self._stay_or_leave(current, candidates, now)
        if now < self._until and not current.failures(Network.TCP):  # this flow alone does not want it
            return _best(candidates, Network.TCP, now)
        return self._switch("not usable", candidates, now)

    def done(self, candidate: Candidate, flow: Flow, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.FAILED and candidate is self._current and flow.network is Network.TCP:
            self._failed = True

    def _stay_or_leave(self, current: Candidate, candidates: Sequence[Candidate], now: float) -> Candidate:
        if now < self._until and not self._news():
            return current
        if not self._stays(current, candidates, now):
            return self._switch("faster", candidates, now)
        self._hold(current, candidates, now)
        return current

    def _news(self) -> bool:
        """Tell whether somebody was measured for the first time since the current one was chosen."""
        return any(candidate.latency(Network.TCP) is not None for candidate in self._unmeasured)

    def _stays(self, current: Candidate, candidates: Sequence[Candidate], now: float) -> bool:
        best = _best(candidates, Network.TCP, now)
        bonus = max(self._options.min_switch, current.deviation(Network.TCP) + best.deviation(Network.TCP))
        return best is current or score(current, Network.TCP, now, bonus) < score(best, Network.TCP, now)

    def _switch(self, reason: str, candidates: Sequence[Candidate], now: float) -> Candidate:
        """Take the best, and stay with it if it is measured."""
        old, new = self._current, _best(candidates, Network.TCP, now)
        if new.latency(Network.TCP) is None:
            self._current = None
            return new
        self._hold(new, candidates, now)
        if new is not old:
            before = old.name if old else None
            log.info("upstream chosen", upstream=new.name, latency=_latency(new), before=before, latency_before=_latency(old), reason=reason)
        return new

    def _hold(self, candidate: Candidate, candidates: Sequence[Candidate], now: float) -> None:
        self._current = candidate
        self._failed = False
        self._until = now + self._options.sticky_ttl
        self._unmeasured = [other for other in candidates if other.latency(Network.TCP) is None]


def _best(candidates: Sequence[Candidate], network: Network, now: float) -> Candidate:
    """Return the candidate with the lowest score, the first of equal ones."""
    return min(candidates, key=lambda candidate: score(candidate, network, now))


def _latency(candidate: Candidate | None) -> str | None:
    seconds = candidate.latency(Network.TCP) if candidate else None
    return None if seconds is None else format_duration(seconds)
