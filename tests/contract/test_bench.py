"""The instrument of `nox -s bench`, as far as it needs no programs of others; and the page that it made."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import page, plot, report
from bench.contenders import OURS, V2RAY
from bench.processes import HERE
from bench.results import Ratio, Result, Run
from bench.scenarios import CHACHA, SCENARIOS
from bench.servers import SERVERS
from bench.targets import TARGETS
from programs import require_program

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "speed.json"
CPU = "CPU s/GB"


def test_page_and_plot_say_what_the_published_run_measured() -> None:
    run = Run.read(PUBLISHED)
    text = PUBLISHED.with_suffix(".md").read_text("utf-8")
    command = f"`nox -s bench -- --render {PUBLISHED.name}` writes them again"
    assert page.fill(text, run) == text, command
    assert plot.draw(run) == PUBLISHED.with_suffix(".svg").read_text("utf-8"), command


def test_page_has_all_generated_parts() -> None:
    text = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert [name for name in page.PARTS if f"<!-- bench: {name} -->" not in text] == []


def test_published_run_is_read_and_written_without_loss() -> None:
    assert Run.read(PUBLISHED).dump() == PUBLISHED.read_text("utf-8")


def test_every_target_is_about_something_that_is_measured() -> None:
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    assert [target for target in TARGETS if not scenarios[target.scenario].fits(target.server, target.cipher)] == []
    assert {target.server for target in TARGETS} <= {server.name for server in SERVERS}
    run = Run.read(PUBLISHED)
    assert [target for target in TARGETS if target.measured(run) is None] == []


def test_ratio_is_taken_within_each_round() -> None:
    # the machine was twice as slow in the second round, for both
    result = Result("down × 1", "v2ray", CHACHA, CPU, {OURS: [3.0, 6.0, 4.0], V2RAY: [2.0, 4.0, 4.0]})
    assert result.ratio(OURS, V2RAY) == Ratio(1.5, 1.0, 1.5)


def test_round_in_which_one_failed_has_no_ratio() -> None:
    run = Run()
    run.add(0, "down × 1", "v2ray", CHACHA, OURS, {CPU: 1.0})
    run.add(0, "down × 1", "v2ray", CHACHA, V2RAY, {})
    run.add(1, "down × 1", "v2ray", CHACHA, OURS, {CPU: 9.0})
    run.add(1, "down × 1", "v2ray", CHACHA, V2RAY, {CPU: 3.0})
    result = run.find("down × 1", "v2ray", CHACHA, CPU)
    assert result
    assert result.ratio(OURS, V2RAY) == Ratio(3.0, 3.0, 3.0)
    assert result.median(V2RAY) == 3.0


def test_nothing_measured_is_told_as_such() -> None:
    assert "not measured" in report.targets(Run())
    assert not any(target.measured(Run()) for target in TARGETS)


@pytest.mark.parametrize(("ours", "word"), [(1.29, "yes"), (1.31, "**no**")])
def test_target_is_met_or_not(ours: float, word: str) -> None:
    run = Run(results=[Result("down × 1", "v2ray", CHACHA, CPU, {OURS: [ours], V2RAY: [1.0]})])
    (row,) = (line for line in report.targets(run).splitlines() if "≤ 1.3 " in line and CPU in line)
    assert row.endswith(f"| {word} |")


def test_plot_is_an_image_in_which_nothing_leaves_the_scale() -> None:
    run = Run(results=[Result("down × 1", "v2ray", CHACHA, CPU, {OURS: [1000.0, 0.001], V2RAY: [1.0, 1.0]})])
    root = ElementTree.fromstring(plot.draw(run))
    places = [float(mark.attrib["cx"]) for mark in root.iter("{http://www.w3.org/2000/svg}circle")]
    width = float(root.attrib["viewBox"].split()[2])
    assert places
    assert all(0 < place < width for place in places)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the programs of the bench, without a warning, and return their folder."""
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("bench")
    for name in ("load", "origin"):
        command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(folder / name), str(HERE / f"{name}.c"), "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("wrong", "code"), [(False, 0), (True, 1)])
def test_load_notices_a_wrong_byte(wrong: bool, code: int, programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        arguments = ["down", str(proxy.getsockname()[1]), "127.0.0.1", "1", "1", "1000"]
        with subprocess.Popen([programs / "load", *arguments], stdout=subprocess.PIPE) as load:
            _serve(proxy, wrong)
            output, _ = load.communicate(timeout=60)
    assert json.loads(output)["errors"] == code
    assert load.returncode == code


def _serve(proxy: socket.socket, wrong: bool) -> None:
    """Be a proxy and the origin behind it, for one flow; change its last byte, if so wanted."""
    proxy.settimeout(60)
    flow, _ = proxy.accept()
    with flow:
        flow.settimeout(60)
        for size, answer in ((3, b"\5\0"), (10, b"\5\0\0\1" + bytes(6))):
            flow.recv(size, socket.MSG_WAITALL)
            flow.sendall(answer)
        assert flow.recv(9, socket.MSG_WAITALL) == b"D" + (1000).to_bytes(8, "big")
        data = _pattern(1000)
        flow.sendall(data[:-1] + bytes([data[-1] ^ wrong]))
        flow.recv(1)  # until the load has seen it


def _pattern(size: int) -> bytes:
    """Return the beginning of what pattern.h makes (xorshift32)."""
    state, made = 12345, bytearray()
    for _ in range(size):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        made.append(state & 0xFF)
    return bytes(made)
