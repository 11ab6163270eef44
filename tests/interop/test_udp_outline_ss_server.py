"""Packets of our client through the real outline-ss-server (v1.9.2): over WebSocket, plain and behind nginx and HAProxy, and as plain Shadowsocks."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import StartProgram, TlsFiles
from interop import udp_ways
from interop.fronts import front
from interop.outline_ss_server import PACKET_PATH, PATH, SECRET, RealServer, public_address
from interop.peer import CIPHERS
from programs import require_program
from udp_client import associated
from udp_origin import udp_origin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

WEBSOCKETS = [("websocket", CIPHERS[0]), ("websocket", CIPHERS[1]), ("nginx", CIPHERS[0]), ("haproxy", CIPHERS[1])]
PLAIN = [("plain", cipher) for cipher in CIPHERS]
NAME = "packets.test"
PLAIN_QUEUE = 5
"""Packets of an association that wait in the real server when they come as plain UDP; more are dropped there (service/udp.go of v1.9.2)."""
DNS_TIMEOUT = 17.0
"""Seconds that the server keeps an association which only ever sent to port 53."""

Record = Callable[..., None]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """Have an address for targets that is not private."""
    with public_address("203.0.113.43") as host:
        yield host


@pytest.fixture(scope="module")
def host6() -> Iterator[str]:
    """Have an IPv6 address for targets that is not private."""
    with public_address("2001:db8::43") as host:
        yield host


@pytest.fixture(scope="module")
def knows_names(host: str, tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Return a command that gives a program an /etc/hosts of its own, in which `NAME` stands."""
    unshare = require_program("unshare", "apt-get install util-linux")
    hosts = tmp_path_factory.mktemp("etc") / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{host} {NAME}\n")
    prefix = [unshare, "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    trial = subprocess.run([*prefix, "true"], check=False, capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"this system gives no mount namespaces: {trial.stderr.strip()}")
    return prefix


@contextlib.contextmanager
def upstream(way: str, server: RealServer, cipher: str, folder: Path, tls: TlsFiles) -> Iterator[dict[str, Any]]:
    """Yield what our configuration says of a server that is reached in some way."""
    both = {"cipher": cipher, "secret": SECRET}
    if way == "plain":
        yield {"tcp": f"tcp://{server.plain}", "udp": f"udp://{server.plain}", **both}
    elif way == "websocket":
        yield {"tcp": f"ws://{server.web}{PATH}", "udp": f"ws://{server.web}{PACKET_PATH}", **both}
    else:
        with front(way, server.web, folder / way, tls) as port:
            there = f"wss://localhost:{port}"
            yield {"tcp": there + PATH, "udp": there + PACKET_PATH, "transport": {"type": "ws-h1", "tls": {"ca": str(tls.ca)}}, **both}


def client_config(**upstreams: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a client."""
    return {"version": 1, "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}, "upstreams": upstreams}


@dataclass
class Setting:
    """Our client over the real server.

    :param way: how the server is reached
    """

    way: str
    client: Program
    server: RealServer

    @property
    def proxy(self) -> Address:
        """Where the client listens."""
        return self.client.address


@contextlib.asynccontextmanager
async def over(
    way: str, cipher: str, start: StartProgram, folder: Path, tls: TlsFiles, more: Sequence[str] = (), prefix: Sequence[str] = ()
) -> AsyncIterator[Setting]:
    """Have our client over the real server for a block."""
    server = RealServer.start(folder, cipher, more=more, prefix=prefix)
    try:
        with upstream(way, server, cipher, folder, tls) as real:
            yield Setting(way, await start("client", client_config(real=real)), server)
    finally:
        server.stop()


@pytest.fixture(params=[*WEBSOCKETS, *PLAIN], ids="-".join)
async def setting(
    request: pytest.FixtureRequest, start: StartProgram, tls_files: TlsFiles, tmp_path: Path, knows_names: Sequence[str]
) -> AsyncIterator[Setting]:
    """Have our client over the real server, in each way."""
    way, cipher = request.param
    async with over(way, cipher, start, tmp_path, tls_files, prefix=knows_names) as setting:
        yield setting


async def test_sizes_from_nothing_on_go_to_targets_of_every_kind_and_larger_ones_come_back(setting: Setting, host: str, host6: str) -> None:
    async with udp_origin(host) as origin:
        await udp_ways.sizes(setting.proxy, origin.address)
        await udp_ways.name(setting.proxy, NAME, origin)
        await udp_ways.full_cone(setting.proxy, origin)
    await udp_ways.large_answers(setting.proxy, host)
    await udp_ways.many_targets(setting.proxy, [host, host6], at_once=PLAIN_QUEUE if setting.way == "plain" else 50)
    udp_ways.assert_healthy(setting.client)
    assert setting.client.events("packets dropped") == []


@pytest.mark.parametrize("setting", WEBSOCKETS, indirect=True, ids="-".join)
async def test_bursts_arrive_whole(setting: Setting, host: str, record: Record) -> None:
    async with udp_origin(host) as origin:
        for count, size in udp_ways.BURSTS:
            began = time.monotonic()
            record(f"answers to {count} packets of {size} bytes", await udp_ways.burst(setting.proxy, origin, count, size))
            record("seconds", round(time.monotonic() - began, 3))
    udp_ways.assert_healthy(setting.client)


@pytest.mark.parametrize("setting", PLAIN, indirect=True, ids="-".join)
async def test_plain_udp_takes_any_size_and_as_many_at_once_as_the_server_queues(setting: Setting, host: str, record: Record) -> None:
    async with udp_origin(host) as origin:
        await udp_ways.sizes(setting.proxy, origin.address, (4034, 8192, 60_000))
        assert await udp_ways.count_burst(setting.proxy, origin.address, PLAIN_QUEUE, 1255) == PLAIN_QUEUE
        for count, size in udp_ways.SMALL_BURSTS:
            came = await udp_ways.count_burst(setting.proxy, origin.address, count, size)
            record(f"of {count} packets of {size} bytes at once", came)
    udp_ways.assert_healthy(setting.client)


@pytest.mark.parametrize("setting", WEBSOCKETS, indirect=True, ids="-".join)
async def test_what_the_server_would_cut_is_dropped_and_told_once(setting: Setting, host: str) -> None:
    async with udp_origin(host) as origin, associated(setting.proxy) as association:
        for size in (udp_ways.LARGEST + 1, 4096, 8192, 65_000):
            association.send(origin.address, bytes(size))
        assert await association.ask(origin.address, b"small") == b"small"
        assert origin.received == [b"small"]
        await setting.client.logged("packets dropped")
    [told] = setting.client.events("packets dropped")
    assert told["level"] == "warning"
    assert "packet_max_message" in told["mend"]
    udp_ways.assert_healthy(setting.client)


async def test_an_association_that_ended_with_an_answer_of_a_name_server_is_opened_again(
    start: StartProgram, tls_files: TlsFiles, tmp_path: Path, host: str
) -> None:
    async with over("websocket", CIPHERS[0], start, tmp_path, tls_files) as setting, udp_origin(host, 53) as names:
        async with associated(setting.proxy) as association:
            for query in range(1, 5):
                assert await association.ask(names.address, b"query %d" % query) == b"query %d" % query
                await udp_ways.closed(setting.client, query)
        assert await setting.client.carriers(4) == ["real"] * 4
        udp_ways.assert_healthy(setting.client)


async def test_one_query_after_the_other_over_one_association_loses_none(start: StartProgram, tls_files: TlsFiles, tmp_path: Path, host: str) -> None:
    async with (
        over("websocket", CIPHERS[0], start, tmp_path, tls_files) as setting,
        udp_origin(host, 53) as names,
        associated(setting.proxy) as association,
    ):
        for query in range(50):
            assert await association.ask(names.address, b"query %d" % query, 3) == b"query %d" % query
        udp_ways.assert_healthy(setting.client)


async def test_one_query_after_the_other_over_plain_udp_loses_only_what_the_server_does(
    start: StartProgram, tls_files: TlsFiles, tmp_path: Path, host: str, record: Record
) -> None:
    """The server keeps the dead entry of a lone query. If the system gives its port out again, the first query from there is lost."""
    lost = 0
    async with (
        over("plain", CIPHERS[0], start, tmp_path, tls_files) as setting,
        udp_origin(host, 53) as names,
        associated(setting.proxy) as association,
    ):
        for query in range(50):
            data = b"query %d" % query
            try:
                assert await association.ask(names.address, data, 3) == data
            except TimeoutError:  # a resolver asks again
                lost += 1
                assert await association.ask(names.address, data, 3) == data
        udp_ways.assert_healthy(setting.client)
    record("lost of 50", lost)
    assert lost <= 2


@pytest.mark.parametrize(("port", "more", "seconds"), [(0, ("-udptimeout", "2s"), 2.0), (53, (), DNS_TIMEOUT)], ids=["idle", "names only"])
async def test_an_association_that_the_server_ended_as_idle_is_opened_again(
    port: int, more: Sequence[str], seconds: float, start: StartProgram, tls_files: TlsFiles, tmp_path: Path, host: str, record: Record
) -> None:
    async with over("websocket", CIPHERS[0], start, tmp_path, tls_files, more) as setting, associated(setting.proxy) as association:
        with silence(host, port) as silent:
            began = time.monotonic()
            association.send(silent, b"is there nobody")  # an answer would end it at once, if it is a name server's
            await udp_ways.closed(setting.client, 1, seconds + 10)
            took = time.monotonic() - began
        record("seconds until the server ended it", round(took, 2))
        assert seconds - 0.5 <= took
        async with udp_origin(host) as origin:
            assert await association.ask(origin.address, b"and on") == b"and on"
        assert await setting.client.carriers(2) == ["real", "real"]
        udp_ways.assert_healthy(setting.client)


@contextlib.contextmanager
def silence(host: str, port: int) -> Iterator[Address]:
    """Have a target that takes everything, and answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        yield Address(host, sock.getsockname()[1])
