"""What stands on the wire between our client and a WebSocket server when packets go through it, read by a parser that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import StartProgram
from interop import udp_ways
from interop.outline_ss_server import PACKET_PATH, SECRET, RealServer, public_address
from interop.recorder import BINARY, CLOSE, PING, PONG, Frame, Recording, recorder
from udp_client import associated
from udp_origin import udp_origin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

OVERHEAD = 32 + 7 + 16
"""Salt, IPv4 target, tag."""
PUBLIC = "203.0.113.44"


@dataclass
class Setting:
    """A client, a server, and who listens between them."""

    client: Program
    recordings: list[Recording]
    host: str


@pytest.fixture(params=["ours", "real"])
async def setting(request: pytest.FixtureRequest, start: StartProgram, tmp_path: Path) -> AsyncIterator[Setting]:
    """Have a recorder before our server, and before the real one."""
    if request.param == "ours":
        listener = {"type": "ws-h1", "address": "127.0.0.1:0", "path": "/SECRET_PATH/tcp", "packet_path": PACKET_PATH}
        frontend = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": SECRET}}, "allow_private_targets": True}
        server = await start("server", {"version": 1, "frontends": {"server": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
        async with recorder(server.address) as (address, recordings):
            yield Setting(await start_client(start, address), recordings, "127.0.0.1")
    else:
        with public_address(PUBLIC):
            real = RealServer.start(tmp_path)
            try:
                async with recorder(real.web) as (address, recordings):
                    yield Setting(await start_client(start, address), recordings, PUBLIC)
            finally:
                real.stop()


async def start_client(start: StartProgram, server: Address) -> Program:
    """Start a client that opens nothing by itself."""
    upstream: dict[str, Any] = {"udp": f"ws://{server}{PACKET_PATH}", "secret": SECRET}
    pools = {"main": {"standby": 0, "probes": []}}
    local = {"type": "socks5", "listen": "127.0.0.1:0"}
    return await start("client", {"version": 1, "frontends": {"local": local}, "pools": pools, "upstreams": {"server": upstream}})


async def test_each_packet_is_one_message_in_one_frame_and_the_end_is_polite(setting: Setting, record: Callable[..., None]) -> None:
    sizes = [0, 1, 100, 1255, udp_ways.LARGEST] * 20
    async with udp_origin(setting.host) as origin, associated(setting.client.address) as association:
        for size in sizes:
            association.send(origin.address, bytes(size))
            assert (await association.receive())[1] == bytes(size)
        burst = udp_ways.packets(100, 155)
        for data in burst:
            association.send(origin.address, data)
        udp_ways.assert_all_came(burst, await udp_ways.received(association, len(burst)))
    [recording] = setting.recordings
    await asyncio.wait_for(recording.over.wait(), 10)
    client, server = recording.client, recording.server
    *frames, close = client.frames
    messages = [frame for frame in frames if frame.opcode not in {PING, PONG}]
    record("pings beside them", len(frames) - len(messages))
    assert_plain(messages, masked=True)
    assert [len(frame.payload) for frame in messages] == [size + OVERHEAD for size in sizes] + [155 + OVERHEAD] * len(burst)
    assert (close.opcode, close.final, close.payload[:2]) == (CLOSE, True, (1000).to_bytes(2, "big"))
    assert client.ended == "FIN"
    *frames, their_close = server.frames
    answers = [frame for frame in frames if frame.opcode not in {PING, PONG}]
    assert len(answers) == len(messages)
    assert their_close.opcode == CLOSE
    assert server.ended == "FIN"
    assert b"Sec-WebSocket-Extensions" not in client.head


def assert_plain(frames: list[Frame], masked: bool) -> None:
    """Fail unless each frame is a whole binary message."""
    for frame in frames:
        assert (frame.final, frame.reserved, frame.opcode, frame.masked, bool(frame.payload)) == (True, 0, BINARY, masked, True)


async def test_two_packets_alike_are_two_messages_that_differ(setting: Setting) -> None:
    async with udp_origin(setting.host) as origin, associated(setting.client.address) as association:
        for _ in range(50):
            assert await association.ask(origin.address, b"alike") == b"alike"
    [recording] = setting.recordings
    await asyncio.wait_for(recording.over.wait(), 10)
    assert len({frame.payload[:32] for frame in recording.client.frames if frame.opcode == BINARY}) == 50
