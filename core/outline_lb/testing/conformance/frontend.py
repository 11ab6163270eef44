"""What every frontend must do. Subclass the suite, and say how the frontend is made and used::

class TestMine(FrontendSuite):
    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        return MyFrontend(Options(listen), deps)

    async def open_flow(self, server: Address) -> Stream:
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import pytest

from ...base.address import Address
from ...base.dialer import StreamDialer
from ...base.errors import StartError, StreamError
from ...base.flow import Network
from ...base.stream import Stream
from ...datapath.carrier import Carrier
from ...datapath.frontend import Frontend, FrontendDeps
from ...net.listener import SocketListener
from ...net.socket import name_of
from ..clock import settle
from ..dialers import EchoDialer
from ..streams import RecordingSink, wait_lost

ANY_PORT: Final = Address("127.0.0.1", 0)
PATIENCE: Final = 10.0
"""Seconds that something may take that should happen at once."""


class FrontendSuite(ABC):
    """The suite. A frontend listens on one address here, and its flows go to an `EchoDialer`."""

    @abstractmethod
    def make_frontend(self, deps: FrontendDeps, listen: Address) -> Frontend:
        """Return a new frontend.

        :param deps: what it is built with
        :param listen: where it listens; no other address
        """

    @abstractmethod
    async def open_flow(self, server: Address) -> Stream:
        """Open a flow to any target, as an application does.

        :param server: where the frontend listens
        :return: the application's stream, still paused
        """

    def make(self, dialer: StreamDialer, carrier: Carrier, listen: Address = ANY_PORT) -> Frontend:
        """Return a new frontend, not prepared yet."""
        return self.make_frontend(FrontendDeps("suite", dialer, carrier, SocketListener), listen)

    @contextlib.asynccontextmanager
    async def serving(self, dialer: StreamDialer) -> AsyncIterator[Address]:
        """Run a frontend, and give its address."""
        async with anyio.create_task_group() as tasks:
            carrier = Carrier(tasks)
            frontend = self.make(dialer, carrier)
            await frontend.prepare()
            tasks.start_soon(frontend.serve)
            await settle()
            try:
                yield frontend.addresses[0]
            finally:
                await frontend.close()
                carrier.abort_all()
                tasks.cancel_scope.cancel()

    async def test_carries_bytes_and_ends_both_ways(self) -> None:
        payload = os.urandom(300_000)
        async with self.serving(dialer := EchoDialer()) as server:
            sink = await self._echo(server, payload)
        assert sink.data == payload
        assert sink.events == ["data", "eof", "lost"], "the end comes as an end"
        [flow] = dialer.flows
        assert flow.frontend == "suite"
        assert flow.network is Network.TCP
        assert flow.client is not None
        assert flow.client.host == "127.0.0.1"

    async def test_an_end_of_the_target_leaves_the_other_direction_open(self) -> None:
        payload = os.urandom(300_000)
        async with self.serving(dialer := EchoDialer()) as server:
            stream, sink = await self.open_flow(server), RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(b"x")
            await sink.received(1)
            [target] = dialer.streams
            target.feed_eof()
            await sink.ended.wait()
            stream.write(payload)
            stream.write_eof()
            assert await wait_lost(sink) is None
            await _until(lambda: "write_eof" in target.calls)
        assert target.written == b"x" + payload

    async def test_an_abort_of_the_application_reaches_the_target(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server:
            stream = await self.open_flow(server)
            stream.write(b"x")
            await _until(lambda: bool(dialer.streams and dialer.streams[0].written))
            stream.abort()
            await _until(lambda: "abort" in dialer.streams[0].calls)

    async def test_an_abort_of_the_target_reaches_the_application(self) -> None:
        async with self.serving(dialer := EchoDialer()) as server:
            stream, sink = await self.open_flow(server), RecordingSink()
            stream.set_sink(sink)
            stream.resume_reading()
            stream.write(b"x")
            await sink.received(1)
            dialer.streams[0].lose(ConnectionResetError("reset by peer"))
            assert isinstance(await wait_lost(sink), (StreamError, OSError)), "an abort is no clean end"
            assert "eof" not in sink.events

    async def test_a_taken_port_stops_the_start(self) -> None:
        async with anyio.create_task_group() as tasks:
            with socket.create_server(("127.0.0.1", 0)) as other:
                taken = name_of(other.getsockname())
                frontend = self.make(EchoDialer(), Carrier(tasks), taken)
                with pytest.raises(StartError, match=re.escape(str(taken))):
                    await frontend.prepare()
            await frontend.prepare()  # the port is free now, and nothing is left of the first try
            assert frontend.addresses == [taken]
            await frontend.close()

    async def test_close_gives_the_port_back(self) -> None:
        async with anyio.create_task_group() as tasks:
            frontend = self.make(EchoDialer(), Carrier(tasks))
            await frontend.prepare()
            [address] = frontend.addresses
            assert address.port
            await frontend.close()
            again = self.make(EchoDialer(), Carrier(tasks), address)
            await again.prepare()
            assert again.addresses == [address]
            await again.close()

    async def test_serving_ends_when_cancelled_and_flows_outlive_it(self) -> None:
        async with anyio.create_task_group() as tasks:
            frontend = self.make(EchoDialer(), Carrier(tasks))
            await frontend.prepare()
            with anyio.CancelScope() as serving:
                async with anyio.create_task_group() as servers:
                    servers.start_soon(frontend.serve)
                    stream, sink = await self.open_flow(frontend.addresses[0]), RecordingSink()
                    stream.set_sink(sink)
                    stream.resume_reading()
                    stream.write(b"before")
                    assert await sink.received(6) == b"before"
                    serving.cancel()
            await frontend.close()
            stream.write(b" and after")
            assert await sink.received(16) == b"before and after"
            stream.write_eof()
            assert await wait_lost(sink) is None

    async def test_connections_that_come_and_go_leave_nothing(self) -> None:
        async with self.serving(EchoDialer()) as server:
            before = _open_files(), len(asyncio.all_tasks())
            for _ in range(10):
                async with anyio.create_task_group() as tasks:
                    for _ in range(5):
                        tasks.start_soon(self._come_and_go, server)
            after = 0, 0
            with anyio.move_on_after(PATIENCE):
                while after != before:
                    await asyncio.sleep(0.02)
                    after = _open_files(), len(asyncio.all_tasks())
            assert after == before, "descriptors or tasks are left"

    async def _come_and_go(self, server: Address) -> None:
        """Make four connections: a whole flow, and three that never become one."""
        assert (await self._echo(server, b"hello")).data == b"hello"
        for last_words in (b"", b"\0", None):
            with socket.socket() as sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, (server.host, server.port))
                if last_words is None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif last_words:
                    sock.send(last_words)

    async def _echo(self, server: Address, payload: bytes) -> RecordingSink:
        stream, sink = await self.open_flow(server), RecordingSink()
        stream.set_sink(sink)
        stream.resume_reading()
        stream.write(payload)
        stream.write_eof()
        assert await wait_lost(sink, PATIENCE) is None
        return sink


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))
