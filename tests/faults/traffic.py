"""Applications for the fault tests: short transfers whose bytes are checked, and a pulse that feels every hold-up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import anyio
from client import Connection, SocksRefusedError, connect
from origin import pattern_digest

from outline_lb.base.address import Address


async def download(proxy: Address, target: Address, size: int) -> None:
    """Load so many bytes; fail unless they are the right ones."""
    connection = await connect(proxy, target)
    try:
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        assert await connection.read_digest() == (size, pattern_digest(size))
    finally:
        connection.close()


async def upload(proxy: Address, target: Address, size: int) -> None:
    """Send so many bytes; fail unless the target got the right ones."""
    connection = await connect(proxy, target)
    try:
        connection.writer.write(b"u")
        await connection.send_pattern(size)
        connection.writer.write_eof()
        assert await connection.reader.readexactly(32) == bytes.fromhex(pattern_digest(size))
    finally:
        connection.close()


@dataclass
class Refusal:
    """How a flow was refused: the reply code, and the seconds that it took."""

    code: int
    seconds: float


async def refused(proxy: Address, target: Address) -> Refusal:
    """Open a flow that must be refused."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        (await connect(proxy, target)).close()
    except SocksRefusedError as error:
        return Refusal(error.code, clock() - began)
    raise AssertionError("the flow was opened")


async def echo(connection: Connection, data: bytes) -> float:
    """Send bytes to a target that echoes, and wait for them; return the seconds that it took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    connection.writer.write(data)
    assert await connection.reader.readexactly(len(data)) == data
    return clock() - began


async def open_echo(proxy: Address, target: Address) -> Connection:
    """Open a flow to a target that echoes, and use it once."""
    connection = await connect(proxy, target)
    connection.writer.write(b"e")
    await echo(connection, b"first")
    return connection


async def lost(connection: Connection, seconds: float) -> float:
    """Wait until a flow is aborted; return the seconds that it took.

    :raises TimeoutError: if it is not, for so long
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    with anyio.fail_after(seconds):
        try:
            rest = await connection.reader.read(-1)
        except ConnectionResetError:
            return clock() - began
    raise AssertionError(f"a clean end after {len(rest)} bytes more")


@dataclass
class Pulse:
    """Small echoes, one after the other, on one flow.

    :param connection: to a target that echoes
    :param period: seconds between two
    """

    connection: Connection
    period: float = 0.02
    times: list[float] = field(default_factory=list)

    async def beat(self, seconds: float) -> float:
        """Go on for so long; return the second slowest time, in seconds: the slowest may be the machine's fault. All of them are in `times` then."""
        self.times = times = []
        with anyio.move_on_after(seconds):
            while True:
                times.append(await echo(self.connection, b"p"))
                await anyio.sleep(self.period)
        return sorted(times)[-2]
