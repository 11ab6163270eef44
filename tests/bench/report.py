"""A run as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .contenders import OURS, V2RAY, WITHOUT_UVLOOP, XRAY
from .results import Ratio, Result, Run
from .servers import SERVERS, Server
from .targets import TARGETS


def whole(run: Run) -> str:
    """Return everything."""
    return "\n\n".join(part for part in (targets(run), figures(run), packets(run), units(run), about(run)) if part)


def targets(run: Run) -> str:
    """Return which targets were met."""
    rows = []
    for target in TARGETS:
        value, result = target.measured(run), target.result(run)
        ratio = target.ratio(result) if result else None
        met = "not measured" if value is None else "yes" if target.met(value) else "**no**"
        who = "" if target.ours == OURS else "without uvloop: "
        whom = "with uvloop" if target.peer == OURS else target.against(result)
        what = f"{who}{target.scenario}, {target.figure}"
        rows.append((what, target.server, target.cipher, whom, target.wanted, _spread(ratio) if ratio else _number(value), met))
    return _table(("what", "server", "cipher", "beside", "target", "measured (spread)", "met"), rows)


def figures(run: Run) -> str:
    """Return the medians of every contender, and how we compare, where streams are carried."""
    return _figures(run, [server for server in SERVERS if not server.packets])


def packets(run: Run) -> str:
    """Return the same for datagrams."""
    return _figures(run, [server for server in SERVERS if server.packets])


def _figures(run: Run, servers: Iterable[Server]) -> str:
    head = ("", "figure", *(name for name in (OURS, V2RAY, XRAY, WITHOUT_UVLOOP)), "÷ v2ray", "÷ xray", "without uvloop ÷ with")
    parts = []
    for server in servers:
        for cipher in dict.fromkeys(each.cipher for each in run.results if each.server == server.name):
            rows = [_row(each) for each in run.results if (each.server, each.cipher) == (server.name, cipher)]
            parts.append(f"Server: {server.name} ({server.sends}), {cipher}\n\n{_table(head, rows)}")
    return "\n\n".join(parts)


def _row(result: Result) -> Iterator[str]:
    yield result.scenario
    yield result.figure
    for name in (OURS, V2RAY, XRAY, WITHOUT_UVLOOP):
        yield _number(result.median(name)) if name in result.values else ""
    for ours, peer in ((OURS, V2RAY), (OURS, XRAY), (WITHOUT_UVLOOP, OURS)):
        yield _spread(result.ratio(ours, peer))


def units(run: Run) -> str:
    """Return what the servers send."""
    layers = [*dict.fromkeys(layer for sizes in run.units.values() for layer in sizes)]
    rows = [(name, *(f"{sizes[layer]:,}" for layer in layers)) for name, sizes in run.units.items()]
    if not rows:
        return ""
    return _table(("bytes in each", *layers), rows)


def about(run: Run) -> str:
    """Return the circumstances."""
    lines = [f"* {name}: {value}" for name, value in run.about.items()] + [f"* left out: {reason}" for reason in run.left_out]
    return "\n".join(lines)


def _spread(ratio: Ratio | None) -> str:
    return f"**{ratio.median:.2f}** ({ratio.least:.2f}–{ratio.most:.2f})" if ratio else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = [*head]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
