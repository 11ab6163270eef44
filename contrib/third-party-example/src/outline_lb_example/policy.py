"""Cheapest first; among those that cost the same, fastest first; one that just failed comes after those that did not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from outline_lb.api import Candidate, Flow, Network, Policy

from .options import Options


class CheapestPolicy(Policy):
    """Chooses the upstream with the lowest price.

    :param options: the prices
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def pick(self, candidates: Sequence[Candidate], flow: Flow, now: float) -> Candidate:
        return min(candidates, key=lambda candidate: self._rank(candidate, flow.network))

    def _rank(self, candidate: Candidate, network: Network) -> tuple[bool, float, float]:
        latency = candidate.latency(network)
        return candidate.failures(network) > 0, self._options.price(candidate.name), math.inf if latency is None else latency
