"""What a way from our SOCKS5 frontend to an origin must carry, whatever servers it leads through."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from client import connect, curl
from origin import PATTERN, pattern_digest

from outline_lb.base.address import Address

MEGABYTE = 1_000_000
SIZES = (1, 2, 1_000, 16_383, 16_384, 65_536, MEGABYTE + 1)


def _digest(size: int) -> bytes:
    return bytes.fromhex(pattern_digest(size))


async def many_sizes(proxy: Address, origin: Address) -> None:
    """Load so many bytes down and up, from one byte on, and check the hashes."""

    async def down(size: int) -> None:
        connection = await connect(proxy, origin)
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        assert await connection.read_digest() == (size, pattern_digest(size))
        connection.close()

    async def up(size: int) -> None:
        connection = await connect(proxy, origin)
        connection.writer.write(b"e")
        sending = asyncio.create_task(connection.send_pattern(size))
        assert await connection.reader.readexactly(size) == (PATTERN * 2)[:size]
        await sending
        connection.close()

    # At once, since some ways take their time to tell of an end.
    await asyncio.gather(*(load(size) for size in SIZES for load in (down, up)))


async def much_both_ways(proxy: Address, origin: Address, folder: Path) -> None:
    """Load 100 MB down and up with curl, and check the hashes."""
    size, through = 100 * MEGABYTE, ("--socks5-hostname", str(proxy))
    down = await curl(*through, f"http://{origin}/bytes/{size}", "-o", str(folder / "down"))
    assert down.code == 0, down.error
    with (folder / "down").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == pattern_digest(size)
    up = await curl(*through, f"http://{origin}/", "--data-binary", f"@{folder / 'down'}")
    assert (up.code, up.output.decode()) == (0, pattern_digest(size)), up.error


async def server_speaks_first(proxy: Address, origin: Address, half_close: bool = True) -> None:
    """Hear a server that says hello, without having said anything.

    :param half_close: whether the way carries our end by itself
    """
    connection = await connect(proxy, Address(origin.host, origin.port + 1))
    assert await connection.reader.readexactly(5) == b"hello"
    connection.writer.write(b"and you")
    assert await connection.reader.readexactly(7) == b"and you"
    if half_close:
        connection.writer.write_eof()
        assert await connection.reader.read() == b""
    connection.close()


async def many_flows(proxy: Address, origin: Address, count: int = 200) -> None:
    """Run many flows at once, and check their hashes."""

    async def flow(size: int) -> None:
        connection = await connect(proxy, origin)
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        assert await connection.read_digest() == (size, pattern_digest(size))
        connection.close()

    await asyncio.gather(*(flow(100_000 + index) for index in range(count)))


async def we_end_first(proxy: Address, origin: Address) -> None:
    """Get an answer that begins after the target saw our end."""
    connection = await connect(proxy, origin)
    connection.writer.write(b"u")
    await connection.send_pattern(MEGABYTE)
    connection.writer.write_eof()
    assert await connection.reader.read() == _digest(MEGABYTE)
    connection.close()


async def they_end_first(proxy: Address, origin: Address) -> None:
    """Say everything after the target's end."""
    connection = await connect(proxy, origin)
    connection.writer.write(b"f" + MEGABYTE.to_bytes(8, "big"))
    assert await connection.reader.read() == b""
    await connection.send_pattern(MEGABYTE)
    connection.writer.write_eof()
    await connection.writer.drain()
    connection.close()
    async with asyncio.timeout(20):
        while await _verdict(proxy, origin) != MEGABYTE + 8:  # the number came too
            await asyncio.sleep(0.1)


async def _verdict(proxy: Address, origin: Address) -> int:
    connection = await connect(proxy, origin)
    connection.writer.write(b"v")
    verdict = int.from_bytes(await connection.reader.readexactly(8), "big")
    connection.close()
    return verdict
