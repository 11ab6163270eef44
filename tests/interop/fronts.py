"""Web servers with TLS in front of a WebSocket server: nginx 1.22 and HAProxy 2.6 (Debian), as ordinary child processes of the test."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from client import can_connect
from conftest import TlsFiles, free_port
from programs import require_program

from outline_lb.base.address import Address

NGINX: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {listen} ssl;
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};
        location / {{
            proxy_pass http://{behind};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
}}
"""

HAPROXY: Final = """
global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend tls
    bind {listen} ssl crt {pem} alpn http/1.1
    default_backend servers
backend servers
    server one {behind}
"""


def _nginx(folder: Path, listen: Address, behind: Address, tls: TlsFiles) -> list[str]:
    program = require_program("nginx", "apt-get install nginx-light")
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, listen=listen, behind=behind, tls=tls))
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(file)]


def _haproxy(folder: Path, listen: Address, behind: Address, tls: TlsFiles) -> list[str]:
    program = require_program("haproxy", "apt-get install haproxy")
    file, pem = folder / "haproxy.cfg", folder / "both.pem"
    pem.write_bytes(tls.certificate.read_bytes() + tls.key.read_bytes())
    file.write_text(HAPROXY.format(listen=listen, behind=behind, pem=pem))
    return [program, "-db", "-q", "-f", str(file)]


FRONTS: Final[dict[str, Callable[[Path, Address, Address, TlsFiles], list[str]]]] = {"nginx": _nginx, "haproxy": _haproxy}


@contextlib.contextmanager
def front(kind: str, behind: Address, folder: Path, tls: TlsFiles) -> Iterator[int]:
    """Run a front, and yield the port on localhost where it speaks TLS.

    :param kind: one of `FRONTS`
    :param behind: the HTTP listener of the server
    :param folder: for its files
    :param tls: what it shows
    """
    port = free_port()
    folder.mkdir(exist_ok=True)
    command = FRONTS[kind](folder, Address("127.0.0.1", port), behind, tls)
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not can_connect(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.kill()  # it keeps nothing
        process.wait()
