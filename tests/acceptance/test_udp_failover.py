"""Packets when a server dies, is silent, or carries one kind of traffic only: over WebSocket and as plain UDP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from client import connect
from conftest import StartProgram
from origin import pattern_digest
from udp_client import Association, associated
from udp_origin import udp_origin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program
from outline_lb.testing.upstreams import closed_port

Record = Callable[..., None]

WAYS: Final = ["ws-h1", "tcp"]
SECRET: Final = "Secret0"
PATHS: Final = {"tcp": "/SECRET_PATH/tcp", "udp": "/SECRET_PATH/udp"}
PERIOD: Final = 0.02
"""Seconds between the packets of an application."""
SLACK: Final = 5.0
"""Seconds that a busy machine may add to a limit."""
INTERVAL: Final = 1.0


async def start_server(start: StartProgram, name: str, way: str) -> Program:
    """Start one of our servers, which takes streams and packets on one port."""
    listener = {"type": way, "address": "127.0.0.1:0"}
    if way == "ws-h1":
        listener |= {"path": PATHS["tcp"], "packet_path": PATHS["udp"]}
    frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True}
    return await start(name, {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})


def upstream(address: Address, way: str) -> dict[str, str]:
    """Say where such a server is."""
    if way == "ws-h1":
        return {**{network: f"ws://{address}{path}" for network, path in PATHS.items()}, "secret": SECRET}
    return {"tcp": f"tcp://{address}", "udp": f"udp://{address}", "secret": SECRET}


async def start_client(start: StartProgram, one: dict[str, str], two: dict[str, str], **pool: Any) -> Program:
    """Start a client that uses the first server as long as it is usable."""
    pools = {"main": {"upstreams": [{"name": "one"}, {"name": "two", "tier": 1}], **pool}}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "pools": pools, "upstreams": {"one": one, "two": two}})


async def until_answered(association: Association, target: Address, seconds: float) -> float:
    """Send packets, as an application does whatever becomes of them, until one of these is answered; return the seconds that it took.

    :raises TimeoutError: if none is, for so long
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    sent: set[bytes] = set()

    async def send() -> None:
        while True:
            sent.add(data := b"after %d" % len(sent))
            with contextlib.suppress(BlockingIOError, ConnectionError):
                association.send(target, data)
            await asyncio.sleep(PERIOD)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(seconds):
            while (await association.receive(seconds))[1] not in sent:
                pass
    finally:
        sending.cancel()
    return clock() - began


def carriers(program: Program, network: str) -> list[str]:
    """Return the upstreams to which flows went."""
    return [line["upstream"] for line in program.events("flow opened") if line["network"] == network]


async def name_server(host: str = "127.0.0.1") -> tuple[Address, asyncio.DatagramTransport]:
    """Run a name server that knows no name, and says so."""

    class NoSuchName(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data[:2] + b"\x81\x83" + data[4:], addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NoSuchName, (host, 0))
    return Address(host, transport.get_extra_info("sockname")[1]), transport


@pytest.fixture
async def names() -> AsyncIterator[Address]:
    """Have a name server for probes."""
    address, transport = await name_server()
    yield address
    transport.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("way", WAYS)
async def test_the_next_packets_after_a_server_was_killed_go_through_another_one(start: StartProgram, way: str, record: Record) -> None:
    one, two = [await start_server(start, name, way) for name in ("one", "two")]
    client = await start_client(start, upstream(one.address, way), upstream(two.address, way))
    async with udp_origin() as origin, associated(client.address) as association:
        assert await association.ask(origin.address, b"before") == b"before"
        assert carriers(client, "udp") == ["one"]
        await one.kill()
        took = await until_answered(association, origin.address, 20)
        record("seconds until the next answer", round(took, 3))
        await client.logged("upstream down", upstream="one", network="udp")
        assert took < SLACK
        assert carriers(client, "udp")[-1] == "two"
        for number in range(50):
            assert await association.ask(origin.address, b"%d" % number)


@pytest.mark.parametrize("way", WAYS)
async def test_a_silent_server_is_found_by_probes_and_left(start: StartProgram, way: str, names: Address, record: Record) -> None:
    one, two = [await start_server(start, name, way) for name in ("one", "two")]
    health = {"interval": f"{INTERVAL:g}s", "timeout": "1s"}
    probes = ["handshake"] if way == "ws-h1" else [{"type": "dns", "servers": [str(names)]}]
    client = await start_client(start, upstream(one.address, way), upstream(two.address, way), probes=probes, health=health)
    for name in ("one", "two"):
        await client.logged("upstream up", upstream=name, network="udp")
    async with udp_origin() as origin, associated(client.address) as association:
        assert await association.ask(origin.address, b"before") == b"before"
        assert carriers(client, "udp") == ["one"]
        one.process.send_signal(signal.SIGSTOP)
        try:
            took = await until_answered(association, origin.address, 40)
        finally:
            one.process.send_signal(signal.SIGCONT)
        record("seconds until the next answer", round(took, 2))
        assert took < 10 + SLACK
        assert carriers(client, "udp")[-1] == "two"


@pytest.mark.parametrize("way", WAYS)
async def test_all_servers_down_and_back_again(start: StartProgram, way: str, record: Record) -> None:
    one = await start_server(start, "one", way)
    client = await start_client(start, upstream(one.address, way), upstream(closed_port(), way))
    config = {"type": way, "address": str(one.address), **({"path": PATHS["tcp"], "packet_path": PATHS["udp"]} if way == "ws-h1" else {})}
    async with udp_origin() as origin, associated(client.address) as association:
        assert await association.ask(origin.address, b"before") == b"before"
        await one.kill()
        with pytest.raises(TimeoutError):
            await until_answered(association, origin.address, 2)
        frontend = {"type": "outline-server", "listen": [config], "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True}
        await start("again", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
        took = await until_answered(association, origin.address, 40)
        record("seconds until the next answer", round(took, 2))
        assert took < 15 + SLACK


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("broken", "other"), [("udp", "tcp"), ("tcp", "udp")])
async def test_a_server_that_carries_one_kind_of_traffic_is_used_for_that(
    start: StartProgram, way: str, broken: str, other: str, origin: Address, names: Address
) -> None:
    one, two = [await start_server(start, name, way) for name in ("one", "two")]
    half = upstream(one.address, way)
    half[broken] = half[broken] + "x" if way == "ws-h1" else f"{broken}://{closed_port()}"
    probes: list[Any] = ["handshake"] if way == "ws-h1" else ["handshake", {"type": "dns", "servers": [str(names)]}]
    client = await start_client(start, half, upstream(two.address, way), probes=probes, health={"interval": f"{INTERVAL:g}s"})
    await client.logged("upstream up", 20, upstream="one", network=other)
    async with udp_origin() as packets:
        for number in range(5):
            async with associated(client.address) as association:
                if number:
                    assert await association.ask(packets.address, b"packet") == b"packet"
                else:
                    await until_answered(association, packets.address, 20)
            connection = await connect(client.address, origin)
            connection.writer.write(b"D" + (1000).to_bytes(8, "big"))
            assert await connection.read_digest() == (1000, pattern_digest(1000))
            connection.close()
    assert set(carriers(client, other)) == {"one"}
    assert carriers(client, broken)[-1] == "two"
    assert [line for line in client.events("upstream down") if line["network"] == other] == []


@pytest.mark.parametrize("way", WAYS)
async def test_one_query_after_the_other_over_one_association_loses_none(start: StartProgram, way: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 53))
        except OSError as error:
            pytest.skip(f"port 53 cannot be had: {error}")
    server = await start_server(start, "one", way)
    client = await start_client(start, upstream(server.address, way), upstream(closed_port(), way), probes=[])
    async with udp_origin("127.0.0.1", 53) as dns, associated(client.address) as association:
        for query in range(50):
            assert await association.ask(dns.address, b"query %d" % query, 3) == b"query %d" % query
    assert client.events("upstream down") == []
