"""The real outline-ss-server (v1.9.2): how it is set up, and an address for targets that it does not take for private."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from client import can_connect
from conftest import free_port
from programs import PEERS_INSTALL, require_program

from outline_lb.base.address import Address

NAME: Final = "outline-ss-server"
PATH: Final = "/SECRET_PATH/tcp"
PACKET_PATH: Final = "/SECRET_PATH/udp"
SECRET: Final = "Secret0"


@dataclass
class RealServer:
    """An outline-ss-server that runs.

    :param process: ends with `stop`
    :param web: its HTTP listener, without TLS; the WebSockets are at `PATH` and `PACKET_PATH`
    :param plain: its listener of Shadowsocks alone, for streams and packets
    :param log: what it said
    """

    process: subprocess.Popen[bytes]
    web: Address
    plain: Address
    log: Path

    @classmethod
    def start(
        cls, folder: Path, cipher: str = "chacha20-ietf-poly1305", name: str = "real", more: Sequence[str] = (), prefix: Sequence[str] = ()
    ) -> RealServer:
        """Start one with one user, and wait until it listens.

        :param folder: for its files
        :param cipher: of its users
        :param name: of its files
        :param more: for its command line
        :param prefix: a command that becomes the server in the end
        """
        program = require_program(NAME, PEERS_INSTALL)
        first = free_port(2)
        web, plain = Address("127.0.0.1", first), Address("127.0.0.1", first + 1)
        file, log = folder / f"{name}.yml", folder / f"{name}.log"
        file.write_text(json.dumps(config(web, plain, cipher)))  # JSON is YAML
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, program, "-config", str(file), "-replay_history", "10000", *more], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        server = cls(process, web, plain, log)
        deadline = time.monotonic() + 20
        while not (can_connect(web.port) and can_connect(plain.port)):
            if process.poll() is not None or time.monotonic() > deadline:
                server.stop()
                raise AssertionError(log.read_text())
            time.sleep(0.05)
        return server

    def stop(self) -> None:
        """End it."""
        self.process.kill()  # it keeps nothing
        self.process.wait()


def config(web: Address, plain: Address, cipher: str) -> object:
    """Return the configuration of a server with one user, and another one whom nobody is."""
    return {
        "web": {"servers": [{"id": "web", "listen": [str(web)]}]},
        "services": [
            {
                "listeners": [
                    {"type": "tcp", "address": str(plain)},
                    {"type": "udp", "address": str(plain)},
                    {"type": "websocket-stream", "web_server": "web", "path": PATH},
                    {"type": "websocket-packet", "web_server": "web", "path": PACKET_PATH},
                ],
                "keys": [
                    {"id": "other", "cipher": cipher, "secret": "Secret1"},
                    {"id": "user", "cipher": cipher, "secret": SECRET},
                ],
            }
        ],
    }


@contextlib.contextmanager
def public_address(host: str) -> Iterator[str]:
    """Give this machine an address from TEST-NET-3 (RFC 5737), or from 2001:db8::/32 (RFC 3849), which the real server does not take for private, and
    take it away again.

    :param host: which nobody else uses at the same time
    """
    if os.geteuid():
        pytest.skip("only root can add an address; the real server refuses targets on 127.0.0.1")
    ip = shutil.which("ip")
    if ip is None:
        pytest.skip("ip is not installed: apt-get install iproute2")
    network = f"{host}/{128 if ':' in host else 32}"
    done = subprocess.run([ip, "addr", "add", network, "dev", "lo"], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no address can be added here: {done.stderr.strip()}")
    try:
        yield host
    finally:
        subprocess.run([ip, "addr", "del", network, "dev", "lo"], check=True)


@contextlib.contextmanager
def origin_at(host: str) -> Iterator[Address]:
    """Run an origin (see origin.py) at such an address."""
    with public_address(host):
        port = free_port(2)
        command = [sys.executable, str(Path(__file__).parents[1] / "origin.py"), host, str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            try:
                assert program.stdout is not None
                assert program.stdout.readline() == b"ready\n"
                yield Address(host, port)
            finally:
                program.terminate()
