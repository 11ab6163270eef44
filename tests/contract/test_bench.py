"""The instrument of `nox -s bench`, as far as it needs no programs of others; and the page that it made."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import page, plot, report
from bench.contenders import OURS, V2RAY, XRAY
from bench.packets import PER_CPU
from bench.processes import HERE, PROGRAMS
from bench.results import Ratio, Result, Run
from bench.scenarios import CHACHA, PLAIN_SERVER, SCENARIOS
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


@pytest.mark.parametrize(("ours", "word"), [(41.0, "yes"), (39.0, "**no**")])
def test_datagrams_are_compared_with_the_better_peer(ours: float, word: str) -> None:
    run = Run(results=[Result("udp × 1, 512 B", PLAIN_SERVER, CHACHA, PER_CPU, {OURS: [ours], V2RAY: [20.0], XRAY: [80.0]})])
    (row,) = (line for line in report.targets(run).splitlines() if "udp × 1, 512 B" in line and CHACHA in line and "uvloop" not in line)
    assert "| xray |" in row
    assert row.endswith(f"| {word} |")


def test_plot_shows_what_a_datagram_costs_and_not_how_many_there_were() -> None:
    twice_as_dear = Run(results=[Result("udp × 1, 512 B", PLAIN_SERVER, CHACHA, PER_CPU, {OURS: [10.0], V2RAY: [20.0]})])
    level = Run(results=[Result("udp × 1, 512 B", PLAIN_SERVER, CHACHA, PER_CPU, {OURS: [20.0], V2RAY: [20.0]})])
    even, dearer = (float(_marks(run)[-1].attrib["cx"]) for run in (level, twice_as_dear))
    assert even < dearer


def test_plot_is_an_image_in_which_nothing_leaves_the_scale() -> None:
    run = Run(results=[Result("down × 1", "v2ray", CHACHA, CPU, {OURS: [1000.0, 0.001], V2RAY: [1.0, 1.0]})])
    root = ElementTree.fromstring(plot.draw(run))
    places = [float(mark.attrib["cx"]) for mark in _marks(run)]
    width = float(root.attrib["viewBox"].split()[2])
    assert places
    assert all(0 < place < width for place in places)


def _marks(run: Run) -> list[ElementTree.Element]:
    """Return the dots of a plot; the first two are its legend."""
    return [*ElementTree.fromstring(plot.draw(run)).iter("{http://www.w3.org/2000/svg}circle")]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the programs of the bench, without a warning, and return their folder."""
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("bench")
    for name in PROGRAMS:
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


@pytest.mark.parametrize(("fault", "counted"), [("", set()), ("damage", {"wrong", "lost"}), ("lose", {"lost"}), ("swap", {"astray"})])
def test_load_of_datagrams_counts_what_is_not_right(fault: str, counted: set[str], programs: Path) -> None:
    with _Relay(fault) as relay:
        command = [str(programs / "udp"), str(relay.port), "127.0.0.1", "9", "2", "4", "512", "0.5"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
            assert load.stdout
            assert json.loads(load.stdout.readline()) == {"failed": 0, "wrong": 0}
            relay.faulty.set()
            output, _ = load.communicate(b"\n", timeout=60)
    result = json.loads(output)
    assert {name for name in ("wrong", "lost", "astray") if result[name]} == counted  # what is damaged does not come back either
    assert result["round_trips"]


def test_load_of_datagrams_tells_that_nothing_comes_back(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(60)
        command = [str(programs / "udp"), str(proxy.getsockname()[1]), "127.0.0.1", "9", "1", "1", "64", "0"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
            proxy.accept()[0].close()
            output, _ = load.communicate(timeout=60)
    assert json.loads(output)["failed"] == 1
    assert load.returncode == 1


class _Relay:
    """A SOCKS proxy whose relay sends datagrams back as they came; once `faulty` is set, every tenth not quite so.

    :param fault: what happens to those: damage, lose, swap (it comes to another client)
    """

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self._relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._relay.bind(("127.0.0.1", 0))
        self._flows: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept), threading.Thread(target=self._send_back)]
        self.port = self._proxy.getsockname()[1]
        self.faulty = threading.Event()

    def __enter__(self) -> _Relay:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown(socket.SHUT_RDWR)
        self._relay.sendto(b"", self._relay.getsockname())
        for thread in self._threads:
            thread.join(60)
        for sock in (self._proxy, self._relay, *self._flows):
            sock.close()

    def _accept(self) -> None:
        address = socket.inet_aton("127.0.0.1") + self._relay.getsockname()[1].to_bytes(2, "big")
        for _ in range(2):
            flow, _ = self._proxy.accept()
            self._flows.append(flow)
            for size, answer in ((3, b"\5\0"), (10, b"\5\0\0\1" + address)):
                flow.recv(size, socket.MSG_WAITALL)
                flow.sendall(answer)

    def _send_back(self) -> None:
        clients: list[object] = []
        number = 0
        while True:
            data, client = self._relay.recvfrom(65535)
            if not data:
                return
            if client not in clients:
                clients.append(client)
            number += self.faulty.is_set()
            if self._fault and number and number % 10 == 0:
                if self._fault == "lose":
                    continue
                if self._fault == "damage":
                    data = data[:-1] + bytes([data[-1] ^ 1])
                else:
                    client = clients[1 - clients.index(client)]
            self._relay.sendto(data, client)
