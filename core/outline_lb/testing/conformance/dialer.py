"""What every transport that dials targets itself must do, tried with real sockets on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Final

import pytest

from ...base.address import Address
from ...base.dialer import StreamDialer
from ...base.errors import DialError, Reason
from ...base.flow import Flow, Network
from ...datapath.transport import TransportDeps
from ...net.connector import Connector
from ..streams import RecordingSink, wait_lost

MANY: Final = 2_000_000


def flow_to(target: Address) -> Flow:
    """Return a flow to a target."""
    return Flow("test", Network.TCP, None, "", target, asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def target() -> AsyncIterator[tuple[Address, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]]:
    """Listen on this machine; yield where, and the connections that come."""
    arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await arrived.put((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2]), arrived
    finally:
        server.close()


class StreamDialerSuite:
    """Subclass it, say how the transport is made, and pytest does the rest::

    class TestConformance(StreamDialerSuite):
        def make_dialer(self, deps):
            return Direct(Options.parse({...}), deps)
    """

    @abstractmethod
    def make_dialer(self, deps: TransportDeps) -> StreamDialer:
        """Return the transport, as its registration would build it."""

    def dialer(self) -> StreamDialer:
        """Return one that connects as this machine does."""
        return self.make_dialer(TransportDeps(Connector()))

    async def test_what_comes_first_goes_first(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address), b"first, ")
            stream.write(b"second")
            reader, writer = await arrived.get()
            assert await reader.readexactly(13) == b"first, second"
            stream.close()
            writer.close()

    async def test_is_born_paused(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink = RecordingSink()
            stream.set_sink(sink)
            _, writer = await arrived.get()
            writer.write(b"hello")
            await asyncio.sleep(0.05)  # time enough to do it wrong
            assert not sink.data
            stream.resume_reading()
            assert await sink.received(5) == b"hello"
            stream.close()
            writer.close()

    async def test_carries_much_both_ways_and_ends_each_by_itself(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink, data = RecordingSink(), os.urandom(MANY)
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(data)
            stream.write_eof()
            reader, writer = await arrived.get()
            assert await reader.read(-1) == data
            writer.write(data)
            writer.write_eof()
            assert await sink.received(MANY) == data
            assert await wait_lost(sink) is None
            assert "eof" in sink.events
            writer.close()

    async def test_a_reset_is_never_a_clean_end(self) -> None:
        async with target() as (address, arrived):
            stream = await self.dialer().dial_stream(flow_to(address))
            sink = RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            _, writer = await arrived.get()
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            writer.transport.abort()
            assert await wait_lost(sink) is not None
            assert "eof" not in sink.events

    async def test_a_refused_target_says_so(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            closed = Address(*sock.getsockname())
            with pytest.raises(DialError) as refused:
                await self.dialer().dial_stream(flow_to(closed))
        assert refused.value.reason is Reason.REFUSED

    async def test_a_name_that_is_none_says_so(self) -> None:
        with pytest.raises(DialError) as unknown:
            await self.dialer().dial_stream(flow_to(Address("no-such-name.invalid", 80)))
        assert unknown.value.reason is Reason.HOST_UNREACHABLE

    async def test_a_dial_that_is_cancelled_leaves_nothing(self) -> None:
        dialer, tasks = self.dialer(), asyncio.all_tasks()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()  # nobody accepts, so every descriptor here is the dialer's
            before = len(os.listdir("/dev/fd"))
            for turns in range(6):
                dial = asyncio.create_task(dialer.dial_stream(flow_to(Address(*listener.getsockname()))))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dial.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await dial).abort()
            assert len(os.listdir("/dev/fd")) == before
        assert asyncio.all_tasks() <= tasks
