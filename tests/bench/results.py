"""What a run has measured: plain data, kept as JSON, from which the tables and the plot are made again at any time."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """Ours divided by a peer's, in each round.

    :param median: of the rounds
    :param least: of the rounds
    :param most: of the rounds
    """

    median: float
    least: float
    most: float


@dataclass
class Result:
    """One figure of one scenario.

    :param scenario: its name
    :param server: which server the clients went through
    :param cipher: of the tunnel
    :param figure: what was measured, and its unit, such as ``CPU s/GB``
    :param values: of each contender, by round; None where it failed
    """

    scenario: str
    server: str
    cipher: str
    figure: str
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def median(self, contender: str) -> float:
        """Return what is typical for a contender."""
        return statistics.median(value for value in self.values[contender] if value is not None)

    def best(self, peers: Iterable[str], most: bool) -> str | None:
        """Return which of these contenders does best; None if none was measured.

        :param most: whether more is better
        """
        measured = [peer for peer in peers if any(value is not None for value in self.values.get(peer, []))]
        return (max if most else min)(measured, key=self.median, default=None)

    def ratio(self, ours: str, peer: str) -> Ratio | None:
        """Return how we compare with a peer; None if there is no round in which both were measured."""
        pairs = zip(self.values.get(ours, []), self.values.get(peer, []), strict=False)
        ratios = [a / b for a, b in pairs if a is not None and b]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


@dataclass
class Run:
    """Everything that one run has measured.

    :param about: when, where, and with which arguments
    :param units: for each server, what it sends: sizes in bytes by layer
    :param results: in the order of measuring
    :param left_out: what was not measured, and why
    """

    about: dict[str, str] = field(default_factory=dict)
    units: dict[str, dict[str, int]] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def find(self, scenario: str, server: str, cipher: str, figure: str) -> Result | None:
        """Return a result, or None if it was not measured."""
        wanted = (scenario, server, cipher, figure)
        return next((each for each in self.results if (each.scenario, each.server, each.cipher, each.figure) == wanted), None)

    def add(self, turn: int, scenario: str, server: str, cipher: str, contender: str, figures: dict[str, float]) -> None:
        """Note what one contender did in one round.

        :param turn: the round, from 0
        :param figures: by name; none if it failed
        """
        for figure, value in figures.items():
            result = self.find(scenario, server, cipher, figure)
            if result is None:
                self.results.append(result := Result(scenario, server, cipher, figure))
            values = result.values.setdefault(contender, [])
            values += [None] * (turn - len(values))  # the rounds in which it failed
            values.append(float(f"{value:.4g}"))

    def dump(self) -> str:
        """Return it as JSON, one line for each result."""
        head = json.dumps({"about": self.about, "units": self.units, "left_out": self.left_out}, indent=1, ensure_ascii=False)
        rows = ",\n  ".join(json.dumps(asdict(each), ensure_ascii=False) for each in self.results)
        return f'{head.rstrip()[:-1].rstrip()},\n "results": [\n  {rows}\n ]\n}}\n'

    @classmethod
    def read(cls, file: Path) -> Run:
        """Read what `dump` has made."""
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return cls(data["about"], data["units"], [Result(**each) for each in data["results"]], data["left_out"])
