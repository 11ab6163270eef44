"""Servers that die, refuse, lie and cut: rows F1, F4, F6 to F10, F45, F46 and F50 of the fault matrix, and threat T9."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest
from client import SocksRefusedError, connect
from conftest import StartProgram, TlsFiles, free_port
from faults.bad_upstream import GREETING, TARGET, aborted, config, falls_to, good, greeted, running, until_quiet
from faults.network import server_config
from faults.traffic import download
from faults.usage import cpu_seconds, descriptors, resident
from origin import PATTERN

from outline_lb.base.address import Address
from outline_lb.datapath.cipher import ServerCipher
from outline_lb.testing.bad_server import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    BadServer,
    Close,
    Cut,
    Drip,
    Echo,
    End,
    Flood,
    Frame,
    Raw,
    Read,
    ReadAll,
    Reset,
    Send,
    Shadowsocks,
    Stall,
    Status,
    Step,
    Tampered,
    Tls,
    Until,
    Upgrade,
    frame,
)
from outline_lb.testing.program import Program
from outline_lb.testing.upstreams import closed_port

Record = Callable[..., None]
Clock = Callable[[], float]

HALF = PATTERN[:100_000]
"""What a server sends before the fault."""
MEGABYTE = 1_000_000
SLACK = 5.0
"""Seconds that a busy machine may add to what takes none."""


async def closed_with(client: Program) -> str:
    """Return the error with which the last flow was closed; "None" if with none."""
    return str((await client.logged("flow closed"))["error"])


# -- F1


async def test_f01_server_killed_in_the_middle_of_20_mb_gives_an_exact_prefix_and_a_reset(
    start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record, clock: Clock
) -> None:
    one, two = [await start(name, server_config(Address("127.0.0.1", 0), tls_files)) for name in ("one", "two")]
    client = await start("client", config(one.address, two.address, tls=tls_files))
    connection = await connect(client.address, origin)
    connection.writer.write(b"D" + (200 * MEGABYTE).to_bytes(8, "big"))  # the sockets in between hold some tens of them
    came = await connection.reader.readexactly(10 * MEGABYTE)
    await one.kill()
    killed = clock()
    came += await aborted(connection)
    record("time to fail", clock() - killed, "s")
    connection.close()
    assert came == (PATTERN * (len(came) // len(PATTERN) + 1))[: len(came)]
    assert len(came) < 200 * MEGABYTE
    began = clock()
    await download(client.address, origin, MEGABYTE)
    record("next flow on the other server", clock() - began, "s")
    assert clock() - began < 3 + SLACK
    assert (await client.carriers(2))[-1] == "two"


# -- F4


async def test_f04_connect_refused_goes_to_the_other_server(start: StartProgram, cipher: ServerCipher, record: Record, clock: Clock) -> None:
    async with BadServer(*good(cipher)) as server:
        client = await start("client", config(closed_port(), server.address))
        began = clock()
        assert await greeted(client.address) == GREETING
        record("first flow", clock() - began, "s")
        assert clock() - began < SLACK
        assert client.events("upstream failed a flow")[0]["error"] == "connect: Connection refused"


async def test_f04_connect_refused_by_all_is_told_at_once(start: StartProgram, record: Record, clock: Clock) -> None:
    client = await start("client", config(closed_port(), closed_port()))
    began = clock()
    with pytest.raises(SocksRefusedError) as refused:
        await connect(client.address, TARGET)
    record("time to be told", clock() - began, "s")
    assert refused.value.code in {1, 5}
    assert clock() - began < SLACK


# -- F6


STALLS: dict[str, Sequence[Step]] = {
    "nothing": (Stall(),),
    "half a line": (Read(1), Raw(b"HTTP/1.1 101 Switching"), Stall()),
    "a byte a second": (Drip(b"HTTP/1.1 101 Switching Protocols\r\nX-Padding: " + b"x" * 1000),),
}


@pytest.mark.fake_clock
@pytest.mark.parametrize("stall", STALLS)
async def test_f06_upgrade_stall_goes_to_the_other_server_after_two_seconds(
    cipher: ServerCipher, tmp_path: Path, stall: str, record: Record, clock: Clock
) -> None:
    async with BadServer(*STALLS[stall]) as bad, BadServer(*good(cipher)) as server, running(config(bad.address, server.address), tmp_path) as proxy:
        began = clock()
        assert await greeted(proxy) == GREETING
        record("first flow", clock() - began, "s")
        assert clock() - began == pytest.approx(2, abs=0.2)


@pytest.mark.fake_clock
@pytest.mark.parametrize("stall", STALLS)
async def test_f06_upgrade_stall_of_all_is_refused_after_ten_seconds(tmp_path: Path, stall: str, record: Record, clock: Clock) -> None:
    async with BadServer(*STALLS[stall]) as bad, running(config(bad.address), tmp_path) as proxy:
        began = clock()
        with pytest.raises(SocksRefusedError) as refused:
            await connect(proxy, TARGET)
        record("time to be told", clock() - began, "s")
        assert refused.value.code == 6
        assert clock() - began == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("status", [404, 503])
async def test_f06_http_status_instead_of_an_upgrade_is_named_in_the_log(start: StartProgram, cipher: ServerCipher, status: int) -> None:
    async with BadServer(Status(status, body=b"sorry")) as bad, BadServer(*good(cipher)) as server:
        client = await start("client", config(bad.address, server.address))
        assert await greeted(client.address) == GREETING
        assert f"the server answered {status}" in client.events("upstream failed a flow")[0]["error"]
        assert await greeted(client.address) == GREETING
        assert len(bad.visits) == 1  # it is left alone now


@pytest.mark.fake_clock
@pytest.mark.parametrize("status", [100, 200, 301, 400, 401, 403, 404, 407, 410, 426, 429, 500, 502, 503, 504, 999])
async def test_f06_http_status_instead_of_an_upgrade_goes_to_the_other_server_at_once(
    cipher: ServerCipher, tmp_path: Path, status: int, clock: Clock
) -> None:
    bad, server = BadServer(Status(status, body=b"sorry")), BadServer(*good(cipher))
    async with bad, server, running(config(bad.address, server.address), tmp_path) as proxy:
        began = clock()
        assert await greeted(proxy) == GREETING
        assert await greeted(proxy) == GREETING
        assert clock() - began < 0.2
        assert len(bad.visits) == 1


async def quarantine(bad: BadServer, proxy: Address, clock: Clock, step: float) -> float:
    """Use flow after flow, one each `step` seconds, until the bad server is tried again; return after how many seconds."""
    assert await greeted(proxy) == GREETING
    began = clock()
    while len(bad.visits) == 1:
        await asyncio.sleep(step)
        assert await greeted(proxy) == GREETING
        assert clock() - began < 1000, "never"
    return clock() - began


@pytest.mark.fake_clock
@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        *((Status(status), 300) for status in (401, 403, 404, 407, 410)),
        *((Status(status), 20) for status in (429, 500, 502, 503)),
        (Status(429, {"Retry-After": "77"}), 77),
        (Status(503, {"Retry-After": "7"}), 20),  # not sooner than after any other failure
        (Status(503, {"Retry-After": "86400"}), 300),
        (Status(503, {"Retry-After": "soon"}), 20),
    ],
    ids=lambda value: f"{value.status} {value.headers.get('Retry-After', '')}" if isinstance(value, Status) else None,
)
async def test_f06_a_server_that_refuses_is_left_alone_as_long_as_it_says(
    cipher: ServerCipher, tmp_path: Path, answer: Status, seconds: float, clock: Clock
) -> None:
    async with BadServer(answer) as bad, BadServer(*good(cipher)) as server, running(config(bad.address, server.address), tmp_path) as proxy:
        assert await quarantine(bad, proxy, clock, seconds / 20) == pytest.approx(seconds, rel=0.1)


@pytest.mark.fake_clock
@pytest.mark.parametrize(("answer", "probes"), [(Status(404), 2), (Status(503, {"Retry-After": "60"}), 7), (Status(500), 30)], ids=str)
async def test_f06_probes_respect_it_too(tmp_path: Path, answer: Status, probes: int) -> None:
    configuration = config(Address("127.0.0.1", 1))
    async with BadServer(answer) as bad:
        configuration["upstreams"]["one"]["tcp"] = f"ws://{bad.address}/tcp"
        configuration["pools"]["main"]["probes"] = [{"type": "handshake"}]
        async with running(configuration, tmp_path):
            await asyncio.sleep(320)
            if probes < 30:
                assert 1 <= len(bad.visits) <= probes
            else:
                assert len(bad.visits) >= probes


# -- F7


@pytest.mark.parametrize("close", [Close(1000), Close(None)], ids=str)
async def test_f07_close_1000_mid_stream_ends_that_direction_after_all_bytes(
    start: StartProgram, cipher: ServerCipher, close: Close, record: Record, clock: Clock
) -> None:
    async with BadServer(Upgrade(), Shadowsocks(cipher), Send(PATTERN), close, ReadAll()) as bad, BadServer(*good(cipher)) as server:
        client = await start("client", config(bad.address, server.address))
        connection = await connect(client.address, TARGET)
        began = clock()
        assert await connection.reader.read(-1) == PATTERN  # and a clean end
        record("time to the end", clock() - began, "s")
        await connection.send_pattern(3 * MEGABYTE)  # the other direction goes on
        connection.writer.write_eof()
        await client.logged("flow closed", error=None)
        peer = bad.visits[0]
        await peer.over.wait()
        assert peer.received == (PATTERN * 3)[: 3 * MEGABYTE]
        assert peer.close_codes == [1000]
        again = await connect(client.address, TARGET)  # no failure of the server: it is still the first choice
        assert await again.reader.readexactly(len(PATTERN)) == PATTERN
        again.close()
        connection.close()
        assert client.events("upstream down") == []


# -- F8


@pytest.mark.parametrize("code", [1001, 1012, 1013])
async def test_f08_close_going_away_aborts_and_the_next_flow_is_elsewhere(
    start: StartProgram, cipher: ServerCipher, code: int, record: Record, clock: Clock
) -> None:
    go = asyncio.Event()
    async with BadServer(Upgrade(), Shadowsocks(cipher), Send(HALF), Until(go), Close(code), ReadAll()) as bad, BadServer(*good(cipher)) as server:
        client = await start("client", config(bad.address, server.address, health={"fail_threshold": 2}))
        connection = await connect(client.address, TARGET)
        assert await connection.reader.readexactly(len(HALF)) == HALF
        go.set()
        began = clock()
        assert await aborted(connection) == b""
        record("time to fail", clock() - began, "s")
        connection.close()
        began = clock()
        assert await greeted(client.address) == GREETING
        record("next flow on the other server", clock() - began, "s")
        assert len(bad.visits) == 1
        assert str(code) in await closed_with(client)


def patient(bad: BadServer, server: BadServer, folder: Path) -> AbstractAsyncContextManager[Address]:
    """Run a client to whom single failures mean nothing."""
    return running(config(bad.address, server.address, health={"fail_threshold": 100}), folder)


@pytest.mark.fake_clock
@pytest.mark.parametrize("code", [1001, 1012, 1013])
async def test_f08_it_is_left_alone_for_one_cooldown(cipher: ServerCipher, tmp_path: Path, code: int, clock: Clock) -> None:
    script = (Upgrade(), Shadowsocks(cipher), Close(code), ReadAll())
    async with BadServer(*script) as bad, BadServer(*good(cipher)) as server, patient(bad, server, tmp_path) as proxy:
        with pytest.raises(ConnectionError):
            await greeted(proxy)
        began = clock()
        while len(bad.visits) == 1:
            await asyncio.sleep(1)
            with contextlib.suppress(ConnectionError):
                await greeted(proxy)
        assert clock() - began == pytest.approx(20, abs=2)


# -- F9 and T9: whatever breaks the protocol

DAMAGE: dict[str, tuple[Sequence[Step], int | None]] = {
    "close 1011": ((Close(1011, b"internal error"),), None),
    "close 1002": ((Close(1002),), None),
    "close 1009": ((Close(1009),), None),
    "close 4000": ((Close(4000),), None),
    "close with a reason that is not UTF-8": ((Close(1000, b"\xff\xfe"),), 1007),
    "close 1005": ((Close(1005),), 1002),
    "close 1006": ((Close(1006),), 1002),
    "close 999": ((Close(999),), 1002),
    "close of one byte": ((Frame(8, b"\x03"),), 1002),
    "close of 126 bytes": ((Frame(8, b"\x03\xe8" + bytes(124)),), 1002),
    "masked frame": ((Frame(BINARY, b"x", mask=b"abcd"),), 1002),
    "RSV1, as of permessage-deflate": ((Frame(BINARY, b"x", rsv=4),), 1002),
    "RSV2": ((Frame(BINARY, b"x", rsv=2),), 1002),
    "RSV3": ((Frame(BINARY, b"x", rsv=1),), 1002),
    "opcode 3": ((Frame(3, b"x"),), 1002),
    "opcode 15": ((Frame(15),), 1002),
    "fragmented ping": ((Frame(PING, b"x", fin=False),), 1002),
    "ping of 126 bytes": ((Frame(PING, bytes(126)),), 1002),
    "text": ((Frame(TEXT, b"x"),), 1003),
    "continuation of nothing": ((Frame(CONTINUATION, b"x"),), 1002),
    "message inside a message": ((Frame(BINARY, b"", fin=False), Frame(BINARY, b"x")), 1002),
    "length that is not minimal": ((Raw(b"\x82\x7e\x00\x01x"),), 1002),
    "negative length": ((Raw(b"\x82\x7f" + b"\xff" * 8),), 1002),
    "message of 2 GB": ((Frame(BINARY, length=2_000_000_000), Flood(bytes(65536), times=100)), 1009),
    "2 GB in fragments": ((Frame(BINARY, b"", fin=False), Flood(frame(CONTINUATION, bytes(65536), fin=False), times=100)), 1009),
    "tampered chunk": ((Tampered(b"x" * 1000),), None),
    "no chunk at all": ((Frame(BINARY, b"x" * 1000),), None),
}


@pytest.mark.fake_clock
@pytest.mark.parametrize("damage", DAMAGE)
async def test_f09_a_server_that_breaks_the_protocol_costs_the_flow_and_is_counted(cipher: ServerCipher, tmp_path: Path, damage: str) -> None:
    steps, answer = DAMAGE[damage]
    bad, server = BadServer(Upgrade(), Shadowsocks(cipher), Send(HALF), *steps, ReadAll()), BadServer(*good(cipher))
    async with bad, server, running(config(bad.address, server.address), tmp_path) as proxy:
        connection = await connect(proxy, TARGET)
        assert (await aborted(connection)) in HALF
        connection.close()
        assert await greeted(proxy) == GREETING  # one failure, which is the threshold here
        assert len(bad.visits) == 1
        await bad.visits[0].over.wait()
        if answer is not None and not isinstance(steps[-1], Flood):  # a server that floods does not read the answer
            assert bad.visits[0].close_codes == [answer]


@pytest.mark.fake_clock
async def test_f09_below_the_threshold_it_goes_on(cipher: ServerCipher, tmp_path: Path) -> None:
    bad, server = BadServer(Upgrade(), Shadowsocks(cipher), Close(1011), ReadAll()), BadServer(*good(cipher))
    async with bad, server, running(config(bad.address, server.address, health={"fail_threshold": 2}), tmp_path) as proxy:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await greeted(proxy)
        assert len(bad.visits) == 2


@pytest.mark.timeout(180)
async def test_t09_nothing_that_a_server_sends_grows_the_program_or_ends_it(
    start: StartProgram, cipher: ServerCipher, record: Record, clock: Clock
) -> None:
    longest = 0.0
    async with BadServer() as bad:
        client = await start("client", config(bad.address))  # with no other server it is tried each time
        memory = files = 0
        for turn in range(2):
            for steps, _ in DAMAGE.values():
                go = asyncio.Event()
                bad.script = (Upgrade(), Shadowsocks(cipher), Send(HALF), Until(go), *steps, ReadAll())
                connection = await connect(client.address, TARGET)
                assert await connection.reader.readexactly(len(HALF)) == HALF
                go.set()
                began = clock()
                assert await aborted(connection) == b""
                longest = max(longest, clock() - began)
                connection.close()
                with anyio.fail_after(10):
                    await bad.visits[-1].over.wait()
            if not turn:  # what is needed once has been made
                memory, files = resident(client), await until_quiet(lambda: descriptors(client))
        record("longest time to fail", longest, "s")
        record("RSS growth", resident(client) - memory, "KB")
        assert resident(client) - memory < 4 * 1024
        assert await falls_to(files, lambda: descriptors(client))


@pytest.mark.parametrize(
    "flood",
    [frame(PING, bytes(125)) * 100, frame(BINARY) * 1000, frame(CONTINUATION, fin=False) * 1000, frame(0xA, b"pong") * 1000],
    ids=["pings", "empty messages", "empty fragments", "pongs"],
)
async def test_t09_a_flood_of_small_frames_does_not_grow_the_program_nor_stop_the_others(
    start: StartProgram, cipher: ServerCipher, flood: bytes, record: Record, clock: Clock
) -> None:
    begin: tuple[Step, ...] = (Upgrade(), Shadowsocks(cipher), Send(HALF))
    first: tuple[Step, ...] = (Frame(BINARY, fin=False),) if flood[0] & 15 == CONTINUATION else ()
    async with BadServer(*begin, *first, Flood(flood)) as bad:
        client = await start("client", config(bad.address))
        connection = await connect(client.address, TARGET)
        with contextlib.suppress(ConnectionResetError):  # too much at once ends the flow
            assert await connection.reader.readexactly(len(HALF)) == HALF
        memory, files, cpu, began = resident(client), descriptors(client), cpu_seconds(client), clock()
        bad.script = (Upgrade(), Shadowsocks(cipher), Echo())
        slowest = 0.0
        while clock() - began < 3:
            slowest = max(slowest, await echo_once(client.address))
        record("slowest flow beside it", slowest, "s")
        record("RSS growth", resident(client) - memory, "KB")
        record("CPU", (cpu_seconds(client) - cpu) / (clock() - began), "cores")
        assert resident(client) - memory < 8 * 1024
        assert slowest < 5
        connection.close()
        assert await falls_to(files, lambda: descriptors(client))


async def echo_once(proxy: Address) -> float:
    """Send a little to a server that echoes, and get it back; return the seconds that it took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    connection = await connect(proxy, TARGET)
    connection.writer.write(b"hello")
    with anyio.fail_after(10):
        assert await connection.reader.readexactly(5) == b"hello"
    connection.close()
    return clock() - began


UPGRADES: dict[str, Sequence[Step]] = {
    "wrong accept key": (Upgrade(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="),),
    "empty accept key": (Upgrade(accept=""),),
    "permessage-deflate": (Upgrade(headers={"Sec-WebSocket-Extensions": "permessage-deflate"}),),
    "subprotocol": (Upgrade(headers={"Sec-WebSocket-Protocol": "chat"}),),
    "another protocol": (Upgrade(headers={"Upgrade": "h2c"}),),
    "no upgrade": (Upgrade(headers={"Connection": "keep-alive"}),),
    "200 header fields": (Upgrade(headers={f"X-{number}": "x" for number in range(200)}),),
    "endless header fields": (Raw(b"HTTP/1.1 101 Switching Protocols\r\n"), Flood(b"X-Endless: " + b"x" * 1000 + b"\r\n")),
    "endless line": (Raw(b"HTTP/1.1 101 "), Flood(b"x" * 1000)),
    "SSH": (Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),),
    "zeros": (Flood(bytes(65536)),),
}


@pytest.mark.fake_clock
@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_t09_an_upgrade_that_is_none_goes_to_the_other_server_at_once(cipher: ServerCipher, tmp_path: Path, upgrade: str, clock: Clock) -> None:
    bad, server = BadServer(*UPGRADES[upgrade], ReadAll()), BadServer(*good(cipher))
    async with bad, server, running(config(bad.address, server.address), tmp_path) as proxy:
        began = clock()
        assert await greeted(proxy) == GREETING
        assert clock() - began < 0.2
        assert len(bad.visits) == 1
        await bad.visits[0].over.wait()


async def test_t09_endless_answers_to_the_upgrade_do_not_grow_the_program(start: StartProgram, record: Record) -> None:
    async with BadServer() as bad:
        client = await start("client", config(bad.address))
        memory = 0
        for turn in range(2):
            for script in UPGRADES.values():
                bad.script = (*script, ReadAll())
                with pytest.raises(SocksRefusedError):
                    await connect(client.address, TARGET)
                with anyio.fail_after(10):
                    await bad.visits[-1].over.wait()
            if not turn:
                memory = resident(client)
        record("RSS growth", resident(client) - memory, "KB")
        assert resident(client) - memory < 4 * 1024


# -- F10

CUTS: dict[str, Sequence[Step]] = {
    "FIN": (Cut(),),
    "RST": (Reset(),),
    "FIN inside a message": (Frame(BINARY, b"x", length=1000), Cut()),
    "TLS: FIN": (Cut(),),
    "TLS: close_notify and FIN": (End(),),
    "TLS: RST": (Reset(),),
}


@pytest.mark.parametrize("cut", CUTS)
async def test_f10_a_cut_without_a_close_frame_is_a_reset_and_no_failure_of_the_server(
    start: StartProgram, cipher: ServerCipher, tls_files: TlsFiles, server_tls: ssl.SSLContext, cut: str, record: Record, clock: Clock
) -> None:
    secured = cut.startswith("TLS")
    steps = CUTS[cut]
    layers: Sequence[Step] = (Tls(server_tls), Upgrade()) if secured else (Upgrade(),)
    go = asyncio.Event()
    async with BadServer(*layers, Shadowsocks(cipher), Send(HALF), Until(go), *steps) as bad:
        client = await start("client", config(bad.address, closed_port(), tls=tls_files if secured else None))
        connection = await connect(client.address, TARGET)
        assert await connection.reader.readexactly(len(HALF)) == HALF
        go.set()
        began = clock()
        assert await aborted(connection) == b""
        record("time to fail", clock() - began, "s")
        connection.close()
        await client.logged("flow closed")
        again = await connect(client.address, TARGET)  # still the first choice
        with anyio.fail_after(10):
            await bad.visit(2)
        again.close()
        assert client.events("upstream down") == []


async def test_f10_cuts_alone_take_no_server_down(  # that they hurry the next probe: tests/core/test_monitor.py
    start: StartProgram, cipher: ServerCipher
) -> None:
    async with BadServer(Upgrade(), Shadowsocks(cipher), Send(HALF), Cut()) as bad:
        client = await start("client", config(bad.address, probes=[{"type": "handshake"}]))
        await client.logged("upstream probed")
        for _ in range(5):
            connection = await connect(client.address, TARGET)
            assert await aborted(connection) in (HALF, HALF[:0])
            connection.close()
        assert client.events("upstream down") == []


# -- F45


async def test_f45_a_dead_target_takes_no_server_down(start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    client = await start("client", config(server.address, tls=tls_files, standby=2))
    dead, ends = Address("127.0.0.1", free_port()), []
    for _ in range(20):
        connection = await connect(client.address, dead)  # a tunnel is told at once: the server says nothing of its dials
        connection.writer.write(b"hello?")
        try:
            with anyio.fail_after(10):
                ends.append("end" if not await connection.reader.read(100) else "data")
        except ConnectionResetError:
            ends.append("reset")
        connection.close()
        await download(client.address, origin, 1000)
    record("how 20 flows to a dead target ended", ", ".join(sorted(set(ends))))
    assert "data" not in ends
    assert client.events("upstream down") == []
    assert client.events("upstream failed a flow") == []


async def test_f45_a_target_that_resets_takes_no_server_down(start: StartProgram, tls_files: TlsFiles, origin: Address) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    client = await start("client", config(server.address, tls=tls_files, standby=2))
    for _ in range(5):
        connection = await connect(client.address, origin)
        connection.writer.write(b"r")
        assert await aborted(connection) == PATTERN[:1000]
        connection.close()
    assert client.events("upstream down") == []


async def test_f45_over_a_direct_connection_the_reply_says_what_is_wrong(start: StartProgram) -> None:
    upstreams = {"internet": {"transport": "direct"}}
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}
    client = await start("client", {"version": 1, "frontends": frontends, "upstreams": upstreams})
    for _ in range(5):
        with pytest.raises(SocksRefusedError) as refused:
            await connect(client.address, Address("127.0.0.1", free_port()))
        assert refused.value.code == 5
    assert client.events("upstream down") == []


# -- F46


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer an HTTP request."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
    writer.close()


async def test_f46_a_wrong_key_is_found_by_a_probe_that_goes_all_the_way(
    start: StartProgram, tls_files: TlsFiles, origin: Address, record: Record, clock: Clock
) -> None:
    one, two = [await start(name, server_config(Address("127.0.0.1", 0), tls_files)) for name in ("one", "two")]
    async with await asyncio.start_server(answer, "127.0.0.1") as web:
        probe = {"type": "http", "url": f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}/"}
        health = {"fail_threshold": 2, "interval": "1s"}
        configuration = config(one.address, two.address, tls=tls_files, probes=[{"type": "handshake"}, probe], health=health)
        configuration["upstreams"]["one"]["secret"] = "AnotherSecret0"
        began = clock()
        client = await start("client", configuration)
        down = await client.logged("upstream down", 30, upstream="one")
        record("found after", clock() - began, "s")
        assert down["by"] == "probe"
        await client.logged("upstream up", 30, upstream="two")
        await download(client.address, origin, 1000)
        assert await client.carriers(1) == ["two"]
        await client.stop()


async def test_f46_a_probe_of_the_handshake_alone_does_not_see_it(start: StartProgram, tls_files: TlsFiles) -> None:
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    configuration = config(server.address, tls=tls_files, probes=[{"type": "handshake"}])
    configuration["upstreams"]["one"]["secret"] = "AnotherSecret0"
    client = await start("client", configuration)
    await client.logged("upstream up", upstream="one")


# -- F50


async def test_f50_nothing_is_written_to_disk(start: StartProgram, tls_files: TlsFiles, origin: Address, tmp_path: Path, record: Record) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = {name: str(home) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "TMPDIR")}
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    client = await start("client", config(server.address, tls=tls_files, standby=2), environment=places)
    await download(client.address, origin, MEGABYTE)
    assert set(open_for_writing(client)) == {str(client.log)}  # that is the test's
    assert await client.stop() == 0
    assert os.listdir(home) == []
    record("files written", 0)


def open_for_writing(client: Program) -> list[str]:
    """Return the files that the program has open for writing."""
    folder = Path(f"/proc/{client.process.pid}")
    writable = []
    for entry in (folder / "fd").iterdir():
        flags = (folder / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0]
        if int(flags, 8) & 3 and entry.readlink().is_file():
            writable.append(str(entry.readlink()))
    return writable
