"""A run as a picture: how much more, or less, something costs with us than with a peer. SVG, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from .contenders import OURS, V2RAY, XRAY
from .packets import PER_CPU
from .results import Ratio, Result, Run
from .scenarios import AES, CHACHA, PLAIN_SERVER, SIZES

PEERS: Final = {V2RAY: "one", XRAY: "two"}
"""Whom we are compared with, and how they look."""

_LEFT: Final = 330
_WIDTH: Final = 820
_TOP: Final = 50
_ROW: Final = 26
_MARGIN: Final = 20
_TICKS: Final = (0.125, 0.25, 0.5, 1, 2, 4)
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.grid{stroke:#d0d7de}.even{stroke:#57606a;stroke-width:1.5}"
    ".one{fill:#0969da;stroke:#0969da}.two{fill:#bc4c00;stroke:#bc4c00}line.one,line.two{stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}.even{stroke:#9198a1}"
    ".one{fill:#58a6ff;stroke:#58a6ff}.two{fill:#f0883e;stroke:#f0883e}}"
)


@dataclass(frozen=True)
class Row:
    """One line of the picture: a cost, of which less is better.

    :param inverse: the figure says what was had for a cost
    """

    label: str
    scenario: str
    figure: str
    server: str = "v2ray"
    cipher: str = CHACHA
    inverse: bool = False

    def result(self, run: Run) -> Result | None:
        """Return what it shows, if that was measured."""
        return run.find(self.scenario, self.server, self.cipher, self.figure)

    def ratio(self, result: Result, peer: str) -> Ratio | None:
        """Return how our cost compares with a peer's."""
        return result.ratio(peer, OURS) if self.inverse else result.ratio(OURS, peer)


_CPU: Final = "CPU s/GB"

ROWS: Final = (
    Row("download, units of 2 KB", "down × 1", _CPU),
    Row("the same, 16 flows", "down × 16", _CPU),
    Row("the same, aes-256-gcm", "down × 1", _CPU, cipher=AES),
    Row("download, units of 8 KB (Xray server)", "down × 1", _CPU, "xray"),
    Row("download, chunks of 16 KB, frames of 2 KB", "down × 1", _CPU, "libev"),
    Row("download, 16 KB (outline-ss-server)", "down × 1", _CPU, "outline"),
    Row("download, 16 KB (our server)", "down × 1", _CPU, "ours"),
    Row("upload", "up × 1", _CPU),
    Row("upload, 16 flows", "up × 16", _CPU),
    Row("upload, aes-256-gcm", "up × 1", _CPU, cipher=AES),
    Row("echo of one byte, median time", "echo", "p50 µs"),
    Row("echo of one byte, 99th percentile", "echo", "p99 µs"),
    Row("new flows without a pause, CPU of each", "flows", "CPU ms/flow"),
    Row("50 new flows a second, median time", "paced", "p50 ms"),
    Row("memory of an idle flow", "memory", "KB/flow at 1000"),
    *(Row(f"datagrams of {size} B, CPU of each", f"udp × 1, {size} B", PER_CPU, PLAIN_SERVER, inverse=True) for size in SIZES),
    *(Row(f"the same, 100 associations, {size} B", f"udp × 100, {size} B", PER_CPU, PLAIN_SERVER, inverse=True) for size in SIZES),
    Row("datagram there and back, median time", "udp echo", "p50 µs", PLAIN_SERVER),
    Row("memory of an idle association", "udp memory", "KB/association at 1000", PLAIN_SERVER),
)


def draw(run: Run) -> str:
    """Return the picture of a run; what was not measured has no line."""
    shown = [(row, result) for row in ROWS if (result := row.result(run)) and OURS in result.values]
    bottom = _TOP + _ROW * len(shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 30}" role="img">',
        "<title>What outline-lb costs, as a ratio to the clients of v2ray and Xray</title>",
        f"<style>{_STYLE}</style>",
        *_legend(),
        *_grid(bottom),
    ]
    for index, (row, result) in enumerate(shown):
        middle = _TOP + _ROW * index + _ROW // 2
        parts.append(f'<text x="{_LEFT - 14}" y="{middle + 4}" text-anchor="end">{escape(row.label)}</text>')
        for offset, peer in zip((-5, 5), PEERS, strict=True):
            if ratio := row.ratio(result, peer):
                parts += _mark(ratio, middle + offset, PEERS[peer])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    yield f'<text x="{_LEFT - 14}" y="20" text-anchor="end">outline-lb ÷ peer; less is better</text>'
    for place, (peer, look) in zip((_LEFT + 10, _LEFT + 140), PEERS.items(), strict=True):
        yield f'<circle class="{look}" cx="{place}" cy="16" r="4"/><text x="{place + 10}" y="20">÷ {peer}</text>'


def _grid(bottom: int) -> Iterator[str]:
    for tick in _TICKS:
        x = _x(tick)
        yield f'<line class="{"even" if tick == 1 else "grid"}" x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{bottom}"/>'
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'


def _mark(ratio: Ratio, y: int, look: str) -> Iterator[str]:
    yield f'<line class="{look}" x1="{_x(ratio.least)}" y1="{y}" x2="{_x(ratio.most)}" y2="{y}"/>'
    yield f'<circle class="{look}" cx="{_x(ratio.median)}" cy="{y}" r="4"/>'


def _x(ratio: float) -> float:
    """Return where a ratio stands: on a logarithmic scale, and never outside of it."""
    low, high = math.log(_TICKS[0]), math.log(_TICKS[-1])
    part = (math.log(min(max(ratio, _TICKS[0]), _TICKS[-1])) - low) / (high - low)
    return round(_LEFT + part * (_WIDTH - _MARGIN - _LEFT), 1)
