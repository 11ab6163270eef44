"""The score of a candidate: lower is better.

::

    score = (base + stale + fail) / weight

    base   latency in ms; 1000 as long as it is unknown
    stale  0.2 for each ms since the last evidence, if that is more than 2 probe intervals ago; 0 where there are no probes
    fail   500 for each failure in a row, and 500 more because the last evidence was one; 0 after a success

Examples::

    latency 40 ms, weight 2                                 40 / 2         =   20
    latency 30 ms, weight 1                                                =   30
    latency 30 ms, 1 failure                                30 + 500 + 500 = 1030
    latency 30 ms, checked 61 s ago with probes each 30 s   30 + 12 200    = 12 230
"""

from __future__ import annotations

from typing import Final

from outline_lb.api import Candidate, Network

UNKNOWN: Final = 1000.0
"""Base of a candidate that nobody measured."""
STALE_PER_MS: Final = 0.2
STALE_INTERVALS: Final = 2
PER_FAILURE: Final = 500.0
FAILED_LAST: Final = 500.0


def score(candidate: Candidate, network: Network, now: float, bonus: float = 0.0) -> float:
    """Rate a candidate.

    :param candidate: whom
    :param network: for which kind of traffic
    :param now: the loop's time in seconds
    :param bonus: seconds that its latency is taken to be lower by
    """
    latency = candidate.latency(network)
    points = UNKNOWN if latency is None else latency * 1000
    failures = candidate.failures(network)
    if failures:
        points += PER_FAILURE * failures + FAILED_LAST
    interval = candidate.check_interval()
    if interval is not None:
        checked = candidate.checked(network)
        if checked is not None and now - checked > STALE_INTERVALS * interval:
            points += (now - checked) * 1000 * STALE_PER_MS
    return (points - bonus * 1000) / candidate.weight
