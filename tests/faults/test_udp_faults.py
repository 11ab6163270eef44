"""Packets over bad lines, forged, and in floods: rows F21 and F47 of the fault matrix, and threat T14."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
from conftest import StartProgram
from faults.bad_upstream import falls_to
from faults.network import Network, Site, expect_ready
from faults.usage import cpu_seconds, descriptors, resident
from interop.shadowsocks_packets import seal_packet
from origin import PATTERN
from udp_client import Association, associated
from udp_origin import udp_origin

from outline_lb.base.address import Address

Record = Callable[..., None]

WAYS: Final = ["tcp", "ws-h1"]
SECRET: Final = "Secret0"
CIPHER: Final = "chacha20-ietf-poly1305"
PATHS: Final = {"path": "/SECRET_PATH/tcp", "packet_path": "/SECRET_PATH/udp"}
ECHO: Final = Address("127.0.0.1", 7001)
"""Where packets are sent back, in each site's namespace."""
CLIENTS: Final = 5000
FLOOD: Final = 100_000
IDLE: Final = 2
"""Seconds after which the server forgets a client."""


def server_config(way: str, address: Address, **more: Any) -> dict[str, Any]:
    """Return the configuration of a server."""
    listener = {"type": way, "address": str(address), **(PATHS if way == "ws-h1" else {})}
    frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True, **more}
    return {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}}


def client_config(way: str, server: Address) -> dict[str, Any]:
    """Return the configuration of a client."""
    url = f"ws://{server}{PATHS['packet_path']}" if way == "ws-h1" else f"udp://{server}"
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return {"version": 1, "frontends": {"local": local}, "upstreams": {"one": {"udp": url, "secret": SECRET}}}


@pytest.fixture
def network() -> Iterator[Network]:
    """Make a network of one site."""
    with Network(1) as network:
        yield network


@contextlib.contextmanager
def echo_at(site: Site) -> Iterator[Address]:
    """Have packets sent back in a site."""
    script = str(Path(__file__).parents[1] / "udp_origin.py")
    command = [*site.namespace.prefix, sys.executable, script, ECHO.host, str(ECHO.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            expect_ready(process, "ready\n")
            yield ECHO
        finally:
            process.kill()


async def exchange(association: Association, target: Address, sent: list[bytes], period: float) -> Counter[bytes]:
    """Send packets with some time between them; return what came, until nothing does any more."""

    async def send() -> None:
        for data in sent:
            association.send(target, data)
            await asyncio.sleep(period)

    came: Counter[bytes] = Counter()
    sending = asyncio.create_task(send())
    with contextlib.suppress(TimeoutError):
        while True:
            came[(await association.receive(1.5))[1]] += 1
    await sending
    return came


async def answered(association: Association, target: Address) -> None:
    """Ask until there is an answer: what waits in a socket before it may leave no room."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(TimeoutError):
                await association.ask(target, b"and now", 1)
                return


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", WAYS)
async def test_f21_reordered_and_duplicated_packets_are_none_altered_and_no_more_than_the_network_made(
    network: Network, start: StartProgram, record: Record, way: str
) -> None:
    [site] = network.sites
    await start("server", server_config(way, site.address), prefix=site.namespace.prefix)
    client = await start("client", client_config(way, site.address), prefix=network.client.prefix)
    sent = [number.to_bytes(4, "big") + PATTERN[number : number + 500] for number in range(2000)]
    with echo_at(site) as target:
        async with associated(client.address) as association:
            await association.ask(target, b"opens the way")
            site.link.set(reorder=25, duplicate=5, delay=10)
            before = site.link.stats()["duplicated"]
            came = await exchange(association, target, sent, 0.001)
            duplicated = site.link.stats()["duplicated"] - before
    order = [int.from_bytes(data[:4], "big") for data in came]
    record("packets sent", len(sent))
    record("packets that came", len(came))
    record("more than once", came.total() - len(came))
    record("duplicates that the network made", duplicated)
    record("packets that were overtaken", sum(later < earlier for earlier, later in itertools.pairwise(order)))
    assert not came.keys() - set(sent), "altered"
    assert len(came) == len(sent)  # the line loses nothing
    assert duplicated > 50
    if way == "tcp":
        assert 0 < came.total() - len(came) <= duplicated
        assert max(came.values()) <= 4  # twice there, and each twice back
    else:
        assert came.total() == len(came)
        assert order == sorted(order)
    assert client.events("upstream down") == []


class Forger(asyncio.DatagramProtocol):
    """Stands between a client and a server, and puts two forged packets before each answer: one damaged, and one of nothing that fits.

    :param server: the real one
    """

    def __init__(self, server: Address) -> None:
        self._server = (server.host, server.port)
        self._client: Any = None
        self.forged = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr != self._server:
            self._client = addr
            self._transport.sendto(data, self._server)
            return
        damaged = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        for packet in (damaged, b"from nobody", data):
            self._transport.sendto(packet, self._client)
        self.forged += 2


async def test_t14_forged_answers_reach_nobody_and_end_nothing(start: StartProgram, record: Record) -> None:
    server = await start("server", server_config("tcp", Address("127.0.0.1", 0)))
    transport, forger = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Forger(server.address), ("127.0.0.1", 0))
    client = await start("client", client_config("tcp", Address("127.0.0.1", transport.get_extra_info("sockname")[1])))
    async with udp_origin() as origin, associated(client.address) as association:
        for number in range(100):
            assert await association.ask(origin.address, b"%d" % number) == b"%d" % number
        with pytest.raises(TimeoutError):
            await association.receive(0.2)
    record("packets forged", forger.forged)
    assert forger.forged == 200
    [told] = client.events("packets dropped")
    record("what is told", told["reason"])
    assert len(client.events("flow opened")) == 1
    assert client.events("upstream down") == []
    transport.close()
    await asyncio.sleep(0)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process, and those that it starts, have as many descriptors as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CLIENTS + 1000:
        pytest.skip(f"{2 * CLIENTS + 1000} descriptors are wanted, {hard} are allowed here (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(120)
async def test_f47_a_flood_of_5000_clients_leaves_nothing(start: StartProgram, record: Record, many_descriptors: None) -> None:
    server = await start("server", server_config("tcp", Address("127.0.0.1", 0), udp_timeout=f"{IDLE}s"))
    client = await start("client", client_config("tcp", server.address))
    async with udp_origin() as origin:
        async with associated(client.address) as association:
            await association.ask(origin.address, b"before")
        fds, memory, cpu = descriptors(server), resident(server), cpu_seconds(server)
        packet = seal_packet(CIPHER, SECRET, origin.address, b"flood")  # UDP has no replay cache, so one does for all
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(CLIENTS)]
            for sock in socks:
                sock.setblocking(False)
                sock.connect((server.address.host, server.address.port))
            most = 0
            for _ in range(FLOOD // CLIENTS):
                for number, sock in enumerate(socks):
                    with contextlib.suppress(BlockingIOError):
                        sock.send(packet)
                    if not number % 250:
                        await asyncio.sleep(0.01)  # the origin has its turn, and the server
                most = max(most, descriptors(server))
        record("packets sent", FLOOD)
        record("packets that reached the target", len(origin.received))
        record("most descriptors", most)
        record("RSS growth, KB", resident(server) - memory)
        record("CPU microseconds for each that arrived", (cpu_seconds(server) - cpu) / len(origin.received) * 1e6)
        assert server.process.returncode is None
        assert CLIENTS / 2 < most <= fds + CLIENTS + 10
        assert resident(server) - memory < 200_000
        async with associated(client.address) as association:
            await answered(association, origin.address)
        assert await falls_to(fds + 1, lambda: descriptors(server), 30)
        record("descriptors afterwards, more than before", descriptors(server) - fds)
        record("RSS growth afterwards, KB", resident(server) - memory)


@pytest.mark.parametrize("way", WAYS)
async def test_f47_packets_too_large_for_the_way_are_dropped_counted_and_told_once(start: StartProgram, record: Record, way: str) -> None:
    server = await start("server", server_config(way, Address("127.0.0.1", 0)))
    client = await start("client", client_config(way, server.address))
    async with udp_origin() as origin, associated(client.address) as association:
        for _ in range(100):
            association.send(origin.address, bytes(65_507 - 10))  # with its SOCKS header the largest datagram that there is
            assert await association.ask(origin.address, b"small") == b"small"
        assert set(origin.received) == {b"small"}
        await client.logged("packets dropped")
    [told] = client.events("packets dropped")
    record("what is told", f"{told['reason']} ({told.get('mend')})")


@pytest.mark.timeout(120)
async def test_f47_5000_associations_come_and_go_and_leave_nothing(start: StartProgram, record: Record, many_descriptors: None) -> None:
    server = await start("server", server_config("ws-h1", Address("127.0.0.1", 0)))
    client = await start("client", client_config("ws-h1", server.address))
    async with udp_origin() as origin:
        async with associated(client.address) as association:
            await association.ask(origin.address, b"before")

        async def use(count: int) -> None:
            for number in range(count):
                async with associated(client.address) as association:
                    if not number % 5:
                        assert await association.ask(origin.address, b"there") == b"there"

        await use(50)
        figures = {program.name: (descriptors(program), resident(program)) for program in (client, server)}
        await asyncio.gather(*(use(CLIENTS // 50) for _ in range(50)))
        for program in (client, server):
            fds, memory = figures[program.name]
            assert await falls_to(fds + 5, lambda program=program: descriptors(program), 30)  # type: ignore[misc]
            record(f"descriptors of the {program.name}, more than before", descriptors(program) - fds)
            record(f"RSS growth of the {program.name}, KB", resident(program) - memory)
            assert resident(program) - memory < 60_000
    assert client.events("upstream down") == []
