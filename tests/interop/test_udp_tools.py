"""Programs for names and for speed through UDP ASSOCIATE: dig, dnsperf and iperf3. They speak no SOCKS, so a forwarder (see forwarder.py) does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client import can_connect
from conftest import StartProgram, free_port
from interop.forwarder import forwarder, udp_forwarder
from interop.outline_ss_server import PACKET_PATH, PATH, SECRET
from interop.udp_ways import assert_healthy
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

Record = Callable[..., None]
QUERIES_A_SECOND = 1000
FIGURE = re.compile(r"^ +(Queries sent|Queries completed|Queries lost|Average Latency \(s\)): +([\d.]+)", re.MULTILINE)


@pytest.fixture
def names() -> Iterator[Address]:
    """Run a name server, which knows everything below ``test``."""
    program = require_program("dnsmasq", "apt-get install dnsmasq")
    address = Address("127.0.0.1", free_port())
    options = [
        f"--port={address.port}",
        f"--listen-address={address.host}",
        "--bind-interfaces",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--edns-packet-max=4096",
    ]
    records = ["--address=/test/192.0.2.7", "--address=/test/2001:db8::7", f"--txt-record=long.example,{','.join(['x' * 200] * 10)}"]
    with running([program, "--keep-in-foreground", "--user=", "--group=", "--pid-file", *options, *records], address.port):
        yield address


@pytest.fixture(params=["ws-h1", "tcp"])
async def client(request: pytest.FixtureRequest, start: StartProgram) -> Program:
    """Start our server, and our client over it in each way."""
    paths = {"path": PATH, "packet_path": PACKET_PATH} if request.param == "ws-h1" else {}
    frontend = {
        "type": "outline-server",
        "listen": [{"type": request.param, "address": "127.0.0.1:0", **paths}],
        "keys": {"user": {"secret": SECRET}},
        "allow_private_targets": True,
    }
    server = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    there = server.address
    ways = {"tcp": f"ws://{there}{PATH}", "udp": f"ws://{there}{PACKET_PATH}"} if paths else {"tcp": f"tcp://{there}", "udp": f"udp://{there}"}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "upstreams": {"server": {**ways, "secret": SECRET}}})


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a program that listens, also for connections."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not can_connect(port):
                assert process.poll() is None, command
                assert time.monotonic() < deadline, command
                time.sleep(0.05)
            yield
        finally:
            process.kill()


async def output(*command: str) -> str:
    """Run a program that must succeed; return what it says."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_dig_gets_its_answers(client: Program, names: Address) -> None:
    dig = require_program("dig", "apt-get install bind9-dnsutils")
    async with udp_forwarder(client.address, names) as port:
        ask = [dig, "@127.0.0.1", "-p", str(port), "+short", "+tries=1", "+notcp", "+ignore"]
        assert await output(*ask, "a.test", "A") == "192.0.2.7\n"
        assert await output(*ask, "a.test", "AAAA") == "2001:db8::7\n"
        assert (await output(*ask, "+bufsize=4096", "long.example", "TXT")).count("x") == 2000
    assert_healthy(client)


async def test_dnsperf_loses_nothing(client: Program, names: Address, tmp_path: Path, record: Record) -> None:
    dnsperf = require_program("dnsperf", "apt-get install dnsperf")
    queries = tmp_path / "queries"
    queries.write_text("".join(f"name{number}.test A\n" for number in range(500)))
    async with udp_forwarder(client.address, names) as port:
        address = ["-s", "127.0.0.1", "-p", str(port)]
        said = await output(dnsperf, *address, "-d", str(queries), "-c", "4", "-Q", str(QUERIES_A_SECOND), "-l", "3")
    figures = {key: float(value) for key, value in FIGURE.findall(said)}
    record("queries", int(figures["Queries sent"]))
    record("average milliseconds", figures["Average Latency (s)"] * 1000)
    assert figures["Queries sent"] > 1000
    assert figures["Queries lost"] == 0
    assert figures["Queries completed"] == figures["Queries sent"]
    assert_healthy(client)


@pytest.mark.parametrize("reverse", [False, True], ids=["up", "down"])
async def test_iperf3(client: Program, record: Record, reverse: bool) -> None:
    iperf3 = require_program("iperf3", "apt-get install iperf3")
    target = Address("127.0.0.1", free_port())
    with running([iperf3, "--server", "--bind", target.host, "--port", str(target.port)], target.port):
        async with forwarder(client.address, target) as port:
            options = ["--udp", "--bitrate", "5M", "--length", "1200", "--time", "2", "--json", *(["--reverse"] if reverse else [])]
            said = json.loads(await output(iperf3, "--client", "127.0.0.1", "--port", str(port), *options))
    total = said["end"]["sum"]
    record("packets", total["packets"])
    record("percent lost", round(total["lost_percent"], 3))
    record("jitter in milliseconds", round(total["jitter_ms"], 3))
    assert total["packets"] > 500
    assert total["lost_percent"] < 1
    assert_healthy(client)
