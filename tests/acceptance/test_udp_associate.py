"""UDP ASSOCIATE from outside: packets through SOCKS5 to their targets and back, and what must not get through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client import SocksRefusedError, connect
from conftest import StartProgram
from udp_client import Association, associate, associated
from udp_origin import OTHER_PORT, UdpOrigin, udp_origin

from outline_lb.base.address import Address, encode_address
from outline_lb.testing.program import Program

DIRECT = {"transport": "direct"}


def config(drain_timeout: str = "30s", **frontend: Any) -> dict[str, Any]:
    """Return the configuration of a proxy that sends packets by itself."""
    local = {"type": "socks5", "listen": "127.0.0.1:0", **frontend}
    return {"version": 1, "drain_timeout": drain_timeout, "frontends": {"local": local}, "upstreams": {"internet": DIRECT}}


@pytest.fixture
async def echo() -> AsyncIterator[UdpOrigin]:
    """Run an origin on IPv4."""
    async with udp_origin() as origin:
        yield origin


@pytest.fixture
async def proxy(start: StartProgram) -> Program:
    """Start a proxy."""
    return await start("proxy", config())


def plain(target: Address, data: bytes) -> bytes:
    """Return a datagram for a relay."""
    return bytes(3) + encode_address(target) + data


async def test_targets_are_reached_by_both_kinds_of_address_and_by_name(proxy: Program, echo: UdpOrigin) -> None:
    port = echo.address.port
    async with udp_origin("::1", port), associated(proxy.address) as association:
        for host in ("127.0.0.1", "::1"):
            association.send(Address(host, port), host.encode())
            assert await association.receive() == (Address(host, port), host.encode())
        association.send(Address("localhost", port), b"by name")
        source, data = await association.receive()
        assert (source.host in {"127.0.0.1", "::1"}, source.port, data) == (True, port, b"by name")
    opened = await proxy.logged("flow opened")
    assert opened["target"] == f"127.0.0.1:{port}"


async def test_the_relay_is_where_the_client_came_to(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(listen="0.0.0.0:0", allow_open=True))
    for host in ("127.0.0.1", "127.0.0.2"):
        async with associated(Address(host, proxy.address.port)) as association:
            assert association.relay.host == host
            assert await association.ask(echo.address, b"hello") == b"hello"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
                elsewhere.bind(("127.0.0.9", association.relay.port))  # free there: no relay listens on all addresses


async def test_ipv6_applications(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(listen="[::1]:0"))
    async with associated(proxy.address) as association:
        assert association.relay.host == "::1"
        assert await association.ask(echo.address, b"hello") == b"hello"


async def test_answers_from_another_port_come_through_and_say_so(proxy: Program, echo: UdpOrigin) -> None:
    async with associated(proxy.address) as association:
        association.send(echo.address, OTHER_PORT)
        assert await association.receive() == (echo.other_address, OTHER_PORT)


async def test_nobody_else_can_use_an_association(proxy: Program, echo: UdpOrigin) -> None:
    async with associated(proxy.address) as association:
        with association.other_socket("127.0.0.2") as stranger, association.other_socket() as other_port:
            stranger.send(plain(echo.address, b"before"))
            await proxy.logged("packets dropped", reason="not from the client's address", frontend="local")
            assert await association.ask(echo.address, b"mine") == b"mine"
            stranger.send(plain(echo.address, b"after"))
            other_port.send(plain(echo.address, b"from another port"))
            await proxy.logged("packets dropped", reason="not from the client's port", frontend="local")
            assert await association.ask(echo.address, OTHER_PORT + b", mine") == OTHER_PORT + b", mine"
            for sock in (stranger, other_port):
                with pytest.raises(BlockingIOError):
                    sock.recv(1)
    assert echo.received == [b"mine", OTHER_PORT + b", mine"]


async def test_fragments_and_nonsense_are_dropped_and_what_comes_behind_is_not(proxy: Program, echo: UdpOrigin) -> None:
    address, good = encode_address(echo.address), b"good"
    bad = [b"\0\0\1" + address + b"part", b"\0\0\x80" + address + b"last part", b"\1\0\0" + address + b"reserved", bytes(3) + address[:-1], b""]
    bad += [bytes(9), b"\0\0\0\2" + bytes(30), b"\0\0\0\3\0\0\x35empty", b"\0\0\0\3\4a..b\0\x35bad name"]
    async with associated(proxy.address) as association:
        for datagram in bad:
            association.sock.send(datagram)
            assert await association.ask(echo.address, good) == good
    assert echo.received == [good] * len(bad)
    reasons = {line["reason"] for line in proxy.events("packets dropped")}
    assert {"a fragment", "reserved bytes are not zero", "without a whole header"} < reasons


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_nothing_is_forwarded_once_the_connection_is_over(proxy: Program, echo: UdpOrigin, how: str) -> None:
    association = await associate(proxy.address)
    assert await association.ask(echo.address, b"in time") == b"in time"
    if how == "end":
        association.writer.write_eof()
    else:
        raw: socket.socket = association.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        association.writer.transport.abort()
    await proxy.logged("association ended")
    for _ in range(20):  # a second
        with contextlib.suppress(ConnectionRefusedError):
            association.send(echo.address, b"late")
        await asyncio.sleep(0.05)
    association.close()
    assert echo.received == [b"in time"]


async def test_what_is_said_after_the_request_is_ignored(proxy: Program, echo: UdpOrigin) -> None:
    async with associated(proxy.address) as association:
        association.writer.write(b"\5\1\0" * 100_000)
        await association.writer.drain()
        assert await association.ask(echo.address, b"hello") == b"hello"
        assert not association.reader.at_eof()


async def test_an_idle_association_ends_with_its_connection_and_a_busy_one_does_not(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(udp_idle_timeout="2s"))
    async with associated(proxy.address) as idle, associated(proxy.address) as busy:
        ended = asyncio.ensure_future(idle.ended())
        while not ended.done():
            assert await busy.ask(echo.address, b"still here") == b"still here"
            await asyncio.sleep(0.2)
        await ended
        assert await busy.ask(echo.address, b"still here") == b"still here"
        idle.send(echo.address, b"late")
        with pytest.raises(ConnectionRefusedError):
            await idle.receive()
    assert set(echo.received) == {b"still here"}


async def test_one_too_many_ends_the_least_recently_used(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(max_associations=2))
    async with associated(proxy.address) as one, associated(proxy.address) as two:
        assert await two.ask(echo.address, b"two") == b"two"
        await asyncio.sleep(0.01)  # the clock of uvloop's loop goes in steps of a millisecond
        assert await one.ask(echo.address, b"one") == b"one"
        async with associated(proxy.address) as three:
            await two.ended()
            for association in (one, three):
                assert await association.ask(echo.address, b"still here") == b"still here"
    assert (await proxy.logged("too many associations"))["limit"] == 2


async def test_more_targets_than_are_remembered_are_all_reached(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(max_targets=2))
    async with contextlib.AsyncExitStack() as stack, associated(proxy.address) as association:
        origins = [await stack.enter_async_context(udp_origin()) for _ in range(5)]
        for origin in [*origins, *reversed(origins), echo] * 3:
            association.send(origin.address, b"x")
            assert await association.receive() == (origin.address, b"x")


async def test_the_largest_datagrams_go_both_ways(proxy: Program, echo: UdpOrigin) -> None:
    largest = bytes(range(256)) * 256
    largest = largest[: 65507 - len(plain(echo.address, b""))]
    async with associated(proxy.address) as association:
        for size in (0, 1, 1472, 1473, 9000, len(largest)):
            assert await association.ask(echo.address, largest[:size]) == largest[:size]


async def test_a_thousand_datagrams_in_bursts_all_arrive_once_and_unchanged(proxy: Program, echo: UdpOrigin) -> None:
    sent = [number.to_bytes(2, "big") * 300 for number in range(1000)]
    async with associated(proxy.address) as association:
        got = []
        for start in range(0, 1000, 50):
            for data in sent[start : start + 50]:
                association.send(echo.address, data)
            got += [(await association.receive())[1] for _ in range(50)]
    assert sorted(got) == sent
    assert sorted(echo.received) == sent
    assert not proxy.events("packets dropped")


async def test_a_client_that_floods_garbage_does_not_disturb_another(proxy: Program, echo: UdpOrigin) -> None:
    async with associated(proxy.address) as rude, associated(proxy.address) as polite:

        async def flood() -> None:
            while True:
                with contextlib.suppress(BlockingIOError):
                    for _ in range(100):
                        rude.sock.send(b"\0\0\1garbage" * 20)
                await asyncio.sleep(0)

        flooding = asyncio.ensure_future(flood())
        for number in range(100):
            assert await polite.ask(echo.address, b"%d" % number) == b"%d" % number
        flooding.cancel()
    assert len(echo.received) == 100
    assert len(proxy.events("packets dropped")) == 1, "told once"


async def test_many_associations_do_not_mix_their_answers(proxy: Program, echo: UdpOrigin) -> None:
    async def one(number: int) -> None:
        async with associated(proxy.address) as association:
            for turn in range(20):
                assert await association.ask(echo.address, b"%d/%d" % (number, turn)) == b"%d/%d" % (number, turn)

    await asyncio.gather(*(one(number) for number in range(50)))


async def test_users_are_asked_for_and_their_flows_say_whose_they_are(start: StartProgram, echo: UdpOrigin) -> None:
    proxy = await start("proxy", config(users={"ann": "pass:word"}))
    async with associated(proxy.address, user=("ann", "pass:word")) as association:
        assert await association.ask(echo.address, b"hello") == b"hello"
    assert (await proxy.logged("flow opened"))["user"] == "ann"
    with pytest.raises(AssertionError):
        await associate(proxy.address)
    with pytest.raises((AssertionError, asyncio.IncompleteReadError)):
        await associate(proxy.address, user=("ann", "guess"))


@pytest.mark.parametrize("why", ["udp: false", "no upstream carries any"])
async def test_packets_that_nobody_carries_are_refused_with_the_reason(start: StartProgram, origin: Address, why: str) -> None:
    settings = config(udp="false" not in why)
    if "false" not in why:
        settings["upstreams"] = {"server": {"tcp": f"ws://{origin}/", "secret": "Secret0"}}
    proxy = await start("proxy", settings)
    with pytest.raises(SocksRefusedError) as refused:
        await associate(proxy.address)
    assert refused.value.code == 7
    assert why in (await proxy.logged("handshake refused"))["reason"]


async def test_a_program_that_ends_waits_for_streams_and_carries_packets_meanwhile(start: StartProgram, echo: UdpOrigin, origin: Address) -> None:
    proxy = await start("proxy", config("1h"))
    stream = await connect(proxy.address, origin)
    async with associated(proxy.address) as running, associated(proxy.address) as unused:
        assert await running.ask(echo.address, b"before") == b"before"
        proxy.process.send_signal(signal.SIGTERM)
        assert (await proxy.logged("stopping"))["flows"] == 1
        assert await running.ask(echo.address, b"after") == b"after"
        assert proxy.process.returncode is None
        stream.close()
        assert await asyncio.wait_for(proxy.process.wait(), 10) == 0
        await running.ended()
        await unused.ended()
    assert not proxy.events("aborting flows")


async def test_an_association_outlives_its_frontend(start: StartProgram, echo: UdpOrigin, tmp_path: Path) -> None:
    settings = config()
    proxy = await start("proxy", settings)
    async with associated(proxy.address) as association:
        assert await association.ask(echo.address, b"before") == b"before"
        settings["frontends"] = {"another": settings["frontends"]["local"]}
        (tmp_path / "proxy.yaml").write_text(json.dumps(settings))
        proxy.process.send_signal(signal.SIGHUP)
        await proxy.logged("listening no more", frontend="local")
        assert await association.ask(echo.address, b"after") == b"after"


async def test_streams_go_on_beside_packets(proxy: Program, echo: UdpOrigin, origin: Address) -> None:
    async def stream() -> None:
        connection = await connect(proxy.address, origin)
        connection.writer.write(b"D" + (5_000_000).to_bytes(8, "big"))
        assert (await connection.read_digest())[0] == 5_000_000
        connection.close()

    async def packets(association: Association) -> None:
        for number in range(200):
            assert await association.ask(echo.address, b"%d" % number) == b"%d" % number

    async with associated(proxy.address) as association:
        await asyncio.gather(stream(), packets(association))
