"""What every foreign server and every foreign client is to the tests: how it is started, and what ours have to say to fit it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from client import can_connect
from conftest import TlsFiles

from outline_lb.base.address import Address

CIPHERS: Final = ("chacha20-ietf-poly1305", "aes-256-gcm")
PATH: Final = "/ray"
SECRET: Final = "Secret0"


@dataclass
class Peers:
    """The foreign programs of one test, each in a process group of its own: a Shadowsocks program starts its plugin itself.

    :param folder: for their configurations and logs
    :param tls: the certificate that servers show, and the CA that clients trust
    """

    folder: Path
    tls: TlsFiles
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], port: int, says: str = "") -> subprocess.Popen[bytes]:
        """Start one, and wait until it listens.

        :param name: of its log
        :param command: starts it
        :param port: where it listens
        :param says: what it has said once it is ready, if listening is not enough
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self._running.append(process)
        deadline = time.monotonic() + 20
        while not (can_connect(port) and says in log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End one as a crash would, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_all(self) -> None:
        """End them all."""
        for process in self._running:
            self.kill(process)


@dataclass(frozen=True)
class TheirServer:
    """A Shadowsocks server that is not ours.

    :param start: starts it at a port with a cipher and `SECRET`, for targets on this machine too; skips the test where it is not installed
    :param upstream: what our configuration says of it, but for cipher and secret
    :param ends_at_our_end: whether the end of what we send is the end of everything, so that the rest of an answer is lost
    :param end_is_in_order: whether its being killed may look as the end of what it sends, since nothing but TCP says where that is
    """

    start: Callable[[Peers, int, str], subprocess.Popen[bytes]]
    upstream: Callable[[int, TlsFiles], Mapping[str, Any]]
    ends_at_our_end: bool = False
    end_is_in_order: bool = False


@dataclass(frozen=True)
class TheirClient:
    """A SOCKS5 proxy that is not ours and speaks Shadowsocks with ours.

    :param start: starts it at a port, for our server with a cipher and a secret; skips the test where it is not installed
    :param listener: what our server's configuration says of its listener
    """

    start: Callable[[Peers, int, Address, str, str], subprocess.Popen[bytes]]
    listener: Callable[[TlsFiles], Mapping[str, Any]]


def websocket_upstream(port: int, tls: TlsFiles) -> Mapping[str, Any]:
    """Say where a server behind WebSocket and TLS is. All are made of v2ray: at a Close it throws away what it has not delivered yet."""
    return {"tcp": f"wss://localhost:{port}{PATH}", "transport": {"type": "ws-h1", "tls": {"ca": str(tls.ca)}}, "half_close": "defer"}


def websocket_listener(tls: TlsFiles) -> Mapping[str, Any]:
    """Say where clients made of v2ray come in: a Close must not overtake what they have not delivered yet."""
    files = {"certificate": str(tls.certificate), "key": str(tls.key)}
    return {"type": "ws-h1", "address": "127.0.0.1:0", "path": PATH, "tls": files, "half_close": "defer"}


def plain_upstream(port: int, _tls: TlsFiles) -> Mapping[str, Any]:
    """Say where a server of Shadowsocks alone is."""
    return {"tcp": f"tcp://127.0.0.1:{port}"}


def plain_listener(_tls: TlsFiles) -> Mapping[str, Any]:
    """Say where clients of Shadowsocks alone come in."""
    return {"type": "tcp", "address": "127.0.0.1:0"}
