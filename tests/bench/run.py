"""Measures our client beside those of v2ray and Xray: same server, same origin, same load, in turns A B C A B C.

    nox -s bench -- [--quick] [--only down,echo] [--servers v2ray,xray] [--ciphers aes-256-gcm] [--rounds 5] [--json FILE]
    nox -s bench -- --render docs/explanation/speed.json      # writes the tables and the plot of the page again
    nox -s bench -- --quick --only udp                        # datagrams alone, in two minutes
    nox -s bench -- --profile down-1                          # where the processor time of our client goes

Prints Markdown. What is not installed is left out, and said so. The machine is shared and noisy: read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import loads, report, units
from bench.breakdown import PROFILES, profile
from bench.contenders import CONTENDERS, Contender
from bench.machine import describe
from bench.page import render
from bench.processes import BenchError, Running, Workshop
from bench.results import Run
from bench.scenarios import CHACHA, FULL, PLAIN_SERVER, QUICK, REFERENCE, SCENARIOS, Place, Scale, Scenario
from bench.servers import SERVERS, Server, origin


def main() -> int:
    """Do what the command line asks for."""
    options = _options()
    if options.render:
        return render(options.render)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with us
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with _workshop() as workshop:
            if options.profile:
                server = options.servers or (PLAIN_SERVER if options.profile.startswith("udp") else REFERENCE)
                print(profile(workshop, options.profile, options.ciphers or CHACHA, server))
                return 0
            run = measure(workshop, options)
    except BenchError as error:
        _say(f"bench: {error}")
        return 1
    if options.json:
        options.json.write_text(run.dump(), "utf-8")
    print(report.whole(run))
    return 0


def measure(workshop: Workshop, options: argparse.Namespace) -> Run:
    """Measure everything that was asked for."""
    scale = _scale(options)
    run = Run(about=describe(sys.argv[1:]))
    contenders = [each for each in CONTENDERS if not _left_out(run, each)]
    servers = [each for each in SERVERS if _wanted(each.name, scale.servers) and not _left_out(run, each)]
    scenarios = [each for each in SCENARIOS if _wanted(each.name, options.only)]
    for server in servers:
        with origin(workshop, server.origin_host) as target:
            for cipher in scale.ciphers.split(","):
                fitting = [each for each in scenarios if each.fits(server.name, cipher)]
                if fitting:
                    with _failure_noted(run, f"{server.name}, {cipher}"), _everything_ends(workshop):
                        place = Place(workshop, server.start(workshop, cipher), target, cipher)
                        if not server.packets:
                            run.units[server.name] = units.look(workshop, place.endpoint, target, cipher)
                        _measure_at(run, place, server.name, fitting, [each for each in contenders if each.fits(server)], scale)
    return run


def _measure_at(run: Run, place: Place, server: str, scenarios: list[Scenario], contenders: list[Contender], scale: Scale) -> None:
    """Measure over one server that runs."""
    clients: dict[str, Running] = {}
    if any(scenario.run for scenario in scenarios):
        clients = {contender.name: place.start(contender) for contender in contenders}
    for turn in range(scale.rounds):
        _say(f"{server}, {place.cipher}: round {turn + 1} of {scale.rounds}")
        for scenario in (each for each in scenarios if turn < each.rounds):
            for contender in contenders:
                figures = loads.Figures()
                with _failure_noted(run, f"{server}, {place.cipher}, {scenario.name}, {contender.name}"):
                    if scenario.run:
                        figures = scenario.run(place, clients[contender.name], scale)
                    elif scenario.start:
                        figures = scenario.start(place, contender, scale)
                run.add(turn, scenario.name, server, place.cipher, contender.name, figures)


def _left_out(run: Run, part: Contender | Server) -> bool:
    if reason := part.missing():
        run.left_out.append(f"{part.name}: {reason}")
        _say(f"left out: {run.left_out[-1]}")
    return bool(reason)


@contextlib.contextmanager
def _failure_noted(run: Run, what: str) -> Iterator[None]:
    """Let the rest go on if one measurement fails."""
    try:
        yield
    except BenchError as error:
        run.left_out.append(f"{what}: {error}")
        _say(f"failed: {run.left_out[-1]}")


@contextlib.contextmanager
def _workshop() -> Iterator[Workshop]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        workshop = Workshop(Path(folder))
        stack.callback(workshop.stop_since, 0)
        yield workshop


@contextlib.contextmanager
def _everything_ends(workshop: Workshop) -> Iterator[None]:
    """End at the end what was started meanwhile."""
    before = len(workshop.running)
    try:
        yield
    finally:
        workshop.stop_since(before)


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else FULL
    changes = {name: getattr(options, name) for name in ("rounds", "megabytes", "servers", "ciphers") if getattr(options, name)}
    return replace(scale, **changes)


def _wanted(name: str, choice: str) -> bool:
    return not choice or any(name.startswith(start) for start in choice.split(","))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Our client beside those of v2ray and Xray.")
    parser.add_argument("--quick", action="store_true", help="about five minutes: fewer rounds, less of everything")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"scenarios that begin so: {', '.join(each.name for each in SCENARIOS)}")
    parser.add_argument("--servers", metavar="NAMES", help=f"of: {', '.join(each.name for each in SERVERS)}")
    parser.add_argument("--ciphers", metavar="NAMES", help=f"default: {FULL.ciphers}")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}")
    parser.add_argument("--megabytes", type=int, help=f"of each transfer; default: {FULL.megabytes}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--render", type=Path, metavar="FILE", help="write the page and the plot beside this JSON file again, and measure nothing")
    parser.add_argument("--profile", choices=PROFILES, help="only where our client's processor time goes, over one server and cipher")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
