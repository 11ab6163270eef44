"""Where the flows of the soak go to. It runs beside the clients, so that both ends of each stream can be compared.

A connection begins with a letter, the number of the flow and a size, eight bytes each:

* ``D``: sends so many bytes and ends
* ``U``: reads so many bytes to the end of the stream, answers with the flow's number and ends; answers nothing else
* ``E``: sends back what comes, to the end
* ``F``: ends its direction at once, and reads so many bytes to the end of the stream
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field

from soak.ledger import PIECE, CorruptedError, End, Ledger, part

from outline_lb.base.address import Address

HEAD = struct.Struct("!cQQ")


@dataclass
class Target:
    """The target, and what it saw.

    :param ledger: where it is written down
    :param killed: when a server was last killed
    """

    ledger: Ledger
    killed: float = 0.0
    ends: dict[int, asyncio.Future[End]] = field(default_factory=dict)
    _server: asyncio.Server | None = None

    async def start(self) -> Address:
        """Listen, and return where."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2 * PIECE)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Accept nothing more."""
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun, flow = time.monotonic(), 0
        try:
            mode, flow, size = HEAD.unpack(await reader.readexactly(HEAD.size))
            await self._answer(mode, flow, size, reader, writer, begun)
        except (OSError, asyncio.IncompleteReadError):
            reset(writer)
        except CorruptedError as error:
            self.ledger.corrupt(flow, error)
            reset(writer)
        else:
            writer.close()

    async def _answer(self, mode: bytes, flow: int, size: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: float) -> None:
        if mode == b"D":
            for offset in range(0, size, PIECE):
                writer.write(part(flow, offset, min(PIECE, size - offset)))
                await writer.drain()
        elif mode == b"E":
            while data := await reader.read(PIECE):
                writer.write(data)
                await writer.drain()
        elif mode == b"U":
            await self._read(flow, size, reader, begun)
            writer.write(flow.to_bytes(8, "big"))
        elif mode == b"F":
            writer.write_eof()
            end = End.ABORTED
            try:
                await self._read(flow, size, reader, begun)
                end = End.COMPLETE
            finally:
                if waiting := self.ends.pop(flow, None):
                    waiting.set_result(end)

    async def _read(self, flow: int, size: int, reader: asyncio.StreamReader, begun: float) -> None:
        """Read a stream to its end.

        :raises OSError: if it ended too early in a way that may be
        :raises CorruptedError: if it is another one, or ended as if it were whole
        """
        offset = 0
        while data := await reader.read(PIECE):
            offset = self.ledger.compare("at the target", flow, offset, data)
        if offset == size:
            return
        if self.killed >= begun:
            self.ledger.short_after_kill += 1
            raise ConnectionAbortedError
        raise CorruptedError(f"at the target {flow}: a clean end after {offset} of {size} bytes")


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
