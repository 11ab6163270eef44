"""HTTP/3 (aioquic at both ends) through UDP ASSOCIATE: over our server, and over the real outline-ss-server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from conftest import StartProgram, TlsFiles, free_port
from interop.http3_client import download
from interop.outline_ss_server import PACKET_PATH, SECRET, RealServer, public_address
from interop.udp_ways import assert_healthy
from origin import pattern_digest

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

MEGABYTE = 1_000_000
PUBLIC = "203.0.113.45"

pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def http3_server(host: str, tls: TlsFiles) -> Iterator[Address]:
    """Run an HTTP/3 server."""
    address = Address(host, free_port())
    command = [sys.executable, str(Path(__file__).with_name("http3_server.py")), host, str(address.port), str(tls.certificate), str(tls.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready\n"
            yield address
        finally:
            program.kill()


async def start_client(start: StartProgram, server: Address) -> Program:
    """Start our client."""
    upstream = {"udp": f"ws://{server}{PACKET_PATH}", "secret": SECRET}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "upstreams": {"server": upstream}})


@pytest.fixture(params=["ours", "real"])
async def way(request: pytest.FixtureRequest, start: StartProgram, tls_files: TlsFiles, tmp_path: Path) -> AsyncIterator[tuple[Program, Address]]:
    """Have our client over a server, and a target."""
    if request.param == "ours":
        listener = {"type": "ws-h1", "address": "127.0.0.1:0", "path": "/SECRET_PATH/tcp", "packet_path": PACKET_PATH}
        frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True}
        server = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
        with http3_server("127.0.0.1", tls_files) as target:
            yield await start_client(start, server.address), target
    else:
        with public_address(PUBLIC), http3_server(PUBLIC, tls_files) as target:
            real = RealServer.start(tmp_path)
            try:
                yield await start_client(start, real.web), target
            finally:
                real.stop()


async def test_downloads_over_http3(way: tuple[Program, Address], tls_files: TlsFiles, record: Callable[..., None]) -> None:
    client, target = way
    for megabytes in (1, 20):
        began = time.monotonic()
        assert await download(client.address, target, megabytes * MEGABYTE, tls_files) == pattern_digest(megabytes * MEGABYTE)
        record(f"MB/s of {megabytes} MB", megabytes / (time.monotonic() - began))
    assert_healthy(client)
    assert client.events("packets dropped") == []
