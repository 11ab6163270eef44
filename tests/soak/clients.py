"""Fifty applications of all sorts. Each runs one flow after the other, and knows every byte that it has to get."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from client import Connection, SocksRefusedError, connect
from soak.ledger import PIECE, CorruptedError, End, Ledger, part
from soak.target import HEAD, Target, reset

from outline_lb.base.address import Address

PATIENCE: Final = 120.0
"""Seconds without any movement after which a stream is stuck: a dead server is found out in less."""
RATE: Final = 1_000_000
"""Bytes a second of one flow with much to carry, so that the machine has time for others."""
ANSWER: Final = 8

_T = TypeVar("_T")


@dataclass
class Application:
    """One application.

    :param ledger: where its streams are written down
    :param target: where they go
    :param address: its address
    :param proxies: the ways there, the balancer first; it takes that one or any other
    :param chance: what decides
    :param pace: 1 in a long soak; less makes long flows shorter
    """

    ledger: Ledger
    target: Target
    address: Address
    proxies: list[Address]
    chance: random.Random
    pace: float

    async def run(self, kind: str) -> None:
        """Run flows of a kind, for ever."""
        while True:
            end = await self._flow(kind)
            self.ledger.ends[kind, end] += 1
            if end in {End.REFUSED, End.ABORTED}:
                await asyncio.sleep(self.chance.uniform(0.2, 1))

    async def _flow(self, kind: str) -> End:
        flow = self.ledger.number()
        proxy = self.proxies[0] if self.chance.random() < 0.5 else self.chance.choice(self.proxies[1:])
        try:
            connection = await moving(connect(proxy, self.address))
        except TimeoutError:
            self.ledger.stuck.append(f"{kind} {flow}: no answer from the proxy")
            return End.REFUSED
        except (SocksRefusedError, OSError, asyncio.IncompleteReadError):
            return End.REFUSED
        name = connection.writer.get_extra_info("sockname")
        self.ledger.open[flow] = f"{kind} from port {name[1]} over {proxy}, since {time.strftime('%X')}"
        try:
            return await KINDS[kind](self, connection, kind, flow)
        except TimeoutError:
            self.ledger.stuck.append(f"{kind} {flow}: nothing moved for {PATIENCE:.0f} s")
            return End.ABORTED
        except (OSError, asyncio.IncompleteReadError):
            return End.ABORTED
        except CorruptedError as error:
            self.ledger.corrupt(flow, error)
            return End.ABORTED
        except asyncio.CancelledError:
            self.ledger.ends[kind, End.GIVEN_UP] += 1
            raise
        finally:
            reset(connection.writer)
            asyncio.get_running_loop().call_later(PATIENCE, self.ledger.open.pop, flow)

    async def download(self, connection: Connection, kind: str, flow: int) -> End:
        """Much from the target."""
        return await self._read_all(connection, kind, flow, self.chance.randint(500_000, int(20_000_000 * self.pace) + 500_000), PIECE, RATE)

    async def short(self, connection: Connection, kind: str, flow: int) -> End:
        """Little from the target."""
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        return await self._read_all(connection, kind, flow, self.chance.randint(0, 20_000), PIECE, RATE)

    async def slow(self, connection: Connection, kind: str, flow: int) -> End:
        """Some from the target, and slower than it comes."""
        return await self._read_all(connection, kind, flow, int(3_000_000 * self.pace) + 200_000, 4096, 40_000)

    async def _read_all(self, connection: Connection, kind: str, flow: int, size: int, piece: int, rate: int) -> End:
        connection.writer.write(HEAD.pack(b"D", flow, size))
        offset = 0
        while data := await moving(connection.reader.read(piece)):
            offset = self.ledger.compare(kind, flow, offset, data)
            await asyncio.sleep(len(data) / rate)
        if offset != size:
            raise CorruptedError(f"{kind} {flow}: a clean end after {offset} of {size} bytes")
        return End.COMPLETE

    async def upload(self, connection: Connection, kind: str, flow: int) -> End:
        """Much to the target, which says at the end that it has it."""
        size = self.chance.randint(500_000, int(20_000_000 * self.pace) + 500_000)
        connection.writer.write(HEAD.pack(b"U", flow, size))
        await self._write_all(connection, kind, flow, size)
        answer = await moving(connection.reader.read(-1))
        if answer != flow.to_bytes(ANSWER, "big"):
            raise CorruptedError(f"{kind} {flow}: a clean end after {len(answer)} of {ANSWER} bytes of the answer")
        return End.COMPLETE

    async def half_close(self, connection: Connection, kind: str, flow: int) -> End:
        """To a target that ends its direction before anything else."""
        size = self.chance.randint(1, int(3_000_000 * self.pace) + 100_000)
        end = self.target.ends[flow] = asyncio.get_running_loop().create_future()
        try:
            connection.writer.write(HEAD.pack(b"F", flow, size))
            if await moving(connection.reader.read(1)):
                raise CorruptedError(f"{kind} {flow}: bytes that nobody sent")
            await self._write_all(connection, kind, flow, size)
            return await moving(end)
        finally:
            self.target.ends.pop(flow, None)

    async def _write_all(self, connection: Connection, kind: str, flow: int, size: int) -> None:
        for offset in range(0, size, PIECE):
            piece = part(flow, offset, min(PIECE, size - offset))
            connection.writer.write(piece)
            await moving(connection.writer.drain())
            self.ledger.carried[kind] += len(piece)
            await asyncio.sleep(len(piece) / RATE)
        connection.writer.write_eof()

    async def echo(self, connection: Connection, kind: str, flow: int) -> End:
        """Question and answer, again and again."""
        return await self._exchange(connection, kind, flow, self.chance.randint(1, 300), 0.2)

    async def idle(self, connection: Connection, kind: str, flow: int) -> End:
        """A question now and then, and long silence."""
        return await self._exchange(connection, kind, flow, self.chance.randint(2, 6), 60 * self.pace)

    async def _exchange(self, connection: Connection, kind: str, flow: int, times: int, pause: float) -> End:
        connection.writer.write(HEAD.pack(b"E", flow, 0))
        offset = 0
        for _ in range(times):
            size = self.chance.choice((1, 100, 2000, 20_000))
            connection.writer.write(part(flow, offset, size))
            offset = self.ledger.compare(kind, flow, offset, await moving(connection.reader.readexactly(size)))
            await asyncio.sleep(self.chance.uniform(0, pause))
        connection.writer.write_eof()
        if await moving(connection.reader.read(1)):
            raise CorruptedError(f"{kind} {flow}: bytes that nobody sent")
        return End.COMPLETE


async def moving(step: Awaitable[_T]) -> _T:
    """Wait for something that must happen.

    :raises TimeoutError: if it does not
    """
    async with asyncio.timeout(PATIENCE):
        return await step


KINDS: Final[dict[str, Callable[[Application, Connection, str, int], Awaitable[End]]]] = {
    "download": Application.download,
    "upload": Application.upload,
    "echo": Application.echo,
    "short": Application.short,
    "idle": Application.idle,
    "slow reader": Application.slow,
    "half-close": Application.half_close,
}

APPLICATIONS: Final = {"download": 10, "upload": 8, "echo": 10, "short": 8, "idle": 6, "slow reader": 4, "half-close": 4}
"""How many there are of each kind: fifty."""
