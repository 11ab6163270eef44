"""Measures our client beside the v2ray client: same server, origin and load, in turns A B A B.

    python tests/bench/run.py [--rounds 5] [--megabytes 200] [--cipher chacha20-ietf-poly1305]

Needs v2ray and a C compiler. Prints a Markdown table: CPU seconds of the client process per GB (1e9 bytes) and the ratio to v2ray. The machine is
shared and noisy, so read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

sys.path.insert(0, str(Path(__file__).parents[1]))

from client import can_connect
from conftest import free_port
from interop.v2ray import client_config, server_config

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

HERE = Path(__file__).parent


@dataclass
class Contender:
    """One client under test.

    :param name: for the table
    :param pid: of its process
    :param port: its SOCKS port
    """

    name: str
    pid: int
    port: int
    cpu: dict[str, list[float]] = field(default_factory=dict)
    speed: dict[str, list[float]] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Bench:
    """Everything that runs.

    :param folder: for files
    """

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def build(self, name: str) -> Path:
        """Compile a C program."""
        program = self.folder / name
        subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / f"{name}.c"), "-lpthread"], check=True)
        return program

    def spawn(self, *command: str, port: int) -> int:
        """Start a program and wait until it listens; return its process id."""
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        deadline = time.monotonic() + 20
        while not can_connect(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not listen on {port}")
            time.sleep(0.05)
        return process.pid

    def v2ray(self, name: str, config: dict[str, Any], port: int) -> int:
        """Start a v2ray."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"log": {"loglevel": "error"}, **config}))
        return self.spawn("v2ray", "-config", str(file), port=port)

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.terminate()
            process.wait()


def measure(load: Path, contender: Contender, origin: int, mode: str, flows: int, size: int) -> None:
    """Run one load over one contender."""
    before = contender.cpu_seconds()
    command = [str(load), mode, str(contender.port), str(origin), str(flows), str(size // flows)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    time.sleep(0.1)
    key = f"{mode} × {flows}"
    contender.cpu.setdefault(key, []).append((contender.cpu_seconds() - before) / size * 1e9)
    contender.speed.setdefault(key, []).append(size / result["seconds"] / 1e6)


def echo(load: Path, contender: Contender, origin: int) -> None:
    """Run the echo load over one contender."""
    output = subprocess.run([str(load), "echo", str(contender.port), str(origin), "3000"], check=True, stdout=subprocess.PIPE).stdout
    for key, value in json.loads(output).items():
        contender.cpu.setdefault(f"echo {key}", []).append(value)


def table(contenders: list[Contender]) -> str:
    """Return the result as Markdown."""
    ours, theirs = contenders
    lines = ["| | v2ray | outline-lb | ratio (spread over rounds) | MB/s, ours ÷ v2ray |", "|---|---|---|---|---|"]
    for key, mine in ours.cpu.items():
        ratios = sorted(a / b for a, b in zip(mine, theirs.cpu[key], strict=True))
        speeds = [a / b for a, b in zip(ours.speed.get(key, []), theirs.speed.get(key, []), strict=True)]
        unit = "" if key.startswith("echo") else " s/GB"
        lines.append(
            f"| {key} | {statistics.median(theirs.cpu[key]):.2f}{unit} | {statistics.median(mine):.2f}{unit} "
            f"| **{statistics.median(ratios):.2f}** ({ratios[0]:.2f}–{ratios[-1]:.2f}) | {f'{statistics.median(speeds):.2f}' if speeds else ''} |"
        )
    return "\n".join(lines)


async def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--cipher", default="chacha20-ietf-poly1305")
    options = parser.parse_args()
    if not (shutil.which("v2ray") and shutil.which("cc")):
        raise SystemExit("needs v2ray and a C compiler: apt-get install v2ray gcc libc6-dev")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        programs: list[Program] = []
        try:
            await run(bench, options, programs)
        finally:
            bench.close()
            for program in programs:
                await program.stop()


async def run(bench: Bench, options: argparse.Namespace, programs: list[Program]) -> None:
    """Start everything, and measure in turns."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(bench.folder / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(bench.folder / "certificate.pem"))
    certificate.private_key_pem.write_to_path(str(bench.folder / "key.pem"))
    load, origin, server, client = bench.build("load"), free_port(), free_port(), free_port()
    bench.spawn(str(bench.build("origin")), str(origin), port=origin)
    bench.v2ray("server", server_config(server, options.cipher, bench.folder / "certificate.pem", bench.folder / "key.pem"), server)
    pid = bench.v2ray("client", client_config(client, Address("127.0.0.1", server), options.cipher), client)
    upstream = {
        "tcp": f"wss://localhost:{server}/ray",
        "transport": {"type": "ws-h1", "tls": {"ca": str(bench.folder / "ca.pem")}},
        "cipher": options.cipher,
        "secret": "Secret0",
        "half_close": "defer",
    }
    config = {"version": 1, "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}, "upstreams": {"v2ray": upstream}}
    ours = await Program.start("ours", config, bench.folder)
    programs.append(ours)
    contenders = [Contender("outline-lb", ours.process.pid, ours.address.port), Contender("v2ray", pid, client)]
    size = options.megabytes * 1_000_000
    for turn in range(options.rounds):
        for mode in ("down", "up"):
            for flows in (1, 16):
                for contender in contenders:
                    measure(load, contender, origin, mode, flows, size)
        for contender in contenders:
            echo(load, contender, origin)
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    print(f"{options.cipher}, {options.rounds} rounds of {options.megabytes} MB, Python {sys.version.split()[0]}\n")
    print(table(contenders))


if __name__ == "__main__":
    asyncio.run(main())
