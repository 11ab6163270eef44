"""What we want to reach, as ratios of ours to a peer's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .contenders import OURS, V2RAY, WITHOUT_UVLOOP, XRAY
from .packets import PER_CPU
from .results import Ratio, Result, Run
from .scenarios import AES, CHACHA, PLAIN_SERVER, SIZES, WINDOWS

BEST: Final = "the best"


@dataclass(frozen=True)
class Target:
    """One ratio that should be at most, or at least, something; or a figure of ours alone, where there is no peer.

    :param scenario: and `figure`, `server`, `cipher`: what is compared
    :param limit: of the ratio, or of the figure
    :param peer: whom we are compared with; `BEST`: the one of v2ray and Xray that does better; empty: nobody
    :param ours: who is compared
    :param at_least: the other way round: more is better
    """

    scenario: str
    figure: str
    limit: float
    peer: str = V2RAY
    server: str = "v2ray"
    cipher: str = CHACHA
    ours: str = OURS
    at_least: bool = False

    @property
    def wanted(self) -> str:
        """The limit as text."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{'' if self.peer else ' ' + self.figure}"

    def result(self, run: Run) -> Result | None:
        """Return what it is about, if that was measured."""
        return run.find(self.scenario, self.server, self.cipher, self.figure)

    def measured(self, run: Run) -> float | None:
        """Return the ratio or figure that was reached; None if it was not measured."""
        result = self.result(run)
        if result is None or self.ours not in result.values:
            return None
        if not self.peer:
            return result.median(self.ours)
        ratio = self.ratio(result)
        return ratio.median if ratio else None

    def against(self, result: Result | None) -> str:
        """Return the name of the peer; empty if there is none."""
        if self.peer != BEST:
            return self.peer
        return (result.best((V2RAY, XRAY), self.at_least) if result else None) or BEST

    def ratio(self, result: Result) -> Ratio | None:
        """Return how we compare; None if there is nothing to compare."""
        return result.ratio(self.ours, self.against(result)) if self.peer else None

    def met(self, value: float) -> bool:
        """Tell whether that is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


_CPU: Final = "CPU s/GB"

TARGETS: Final = (
    *(Target("up × 1", _CPU, 0.65, cipher=cipher) for cipher in (CHACHA, AES)),
    Target("down × 1", _CPU, 1.3),
    Target("down × 1", _CPU, 1.1, cipher=AES),
    *(Target("down × 1", _CPU, 0.85, server=server) for server in ("libev", "outline", "ours")),
    *(Target("up × 1", _CPU, 1.05, XRAY, server) for server in ("v2ray", "xray")),
    *(Target("down × 1", _CPU, 1.2, XRAY, server) for server in ("v2ray", "xray")),
    Target("echo", "p50 µs", 1.3),
    Target("echo", "p99 µs", 1.4),
    Target("flows", "flows/s", 0.75, at_least=True),
    *(Target("memory", f"KB/flow at {count}", 0.3) for count in (1000, 5000)),
    *(Target(f"udp × {associations}, {size} B", PER_CPU, 0.5, BEST, PLAIN_SERVER, at_least=True) for associations in WINDOWS for size in SIZES),
    *(Target(f"udp × {associations}, 512 B", PER_CPU, 0.5, BEST, PLAIN_SERVER, AES, at_least=True) for associations in WINDOWS),
    Target("start", "s", 0.6, peer=""),
    *(Target(name, _CPU, 1.2, OURS, ours=WITHOUT_UVLOOP) for name in ("down × 1", "down × 16", "up × 1", "up × 16")),
    Target("echo", "p50 µs", 1.2, OURS, ours=WITHOUT_UVLOOP),
    Target("flows", "CPU ms/flow", 1.2, OURS, ours=WITHOUT_UVLOOP),
    Target("udp × 1, 512 B", PER_CPU, 0.8, OURS, PLAIN_SERVER, ours=WITHOUT_UVLOOP, at_least=True),
)
