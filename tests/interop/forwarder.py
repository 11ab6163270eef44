"""A local port whose datagrams go to one target through a SOCKS5 proxy, for programs that speak no SOCKS; and the same for connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from client import connect
from conftest import free_port
from udp_client import Association, associate

from outline_lb.base.address import Address, encode_address


class UdpForwarder(asyncio.DatagramProtocol):
    """Takes datagrams, with an association for each client.

    :param proxy: speaks SOCKS5
    :param target: of all that comes
    """

    transport: asyncio.DatagramTransport

    def __init__(self, proxy: Address, target: Address) -> None:
        self.associations: dict[Any, Association | None] = {}
        self._proxy = proxy
        self._header = bytes(3) + encode_address(target)
        self._waiting: dict[Any, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # before Python 3.12 it is not even one

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        association = self.associations.get(addr)
        if association is not None:
            with contextlib.suppress(OSError):  # as a network
                association.sock.send(self._header + data)
            return
        self._waiting.setdefault(addr, []).append(data)
        if addr not in self.associations:
            self.associations[addr] = None
            task = asyncio.get_running_loop().create_task(self._associate(addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _associate(self, client: Any) -> None:
        association = self.associations[client] = await associate(self._proxy)
        header_size = 10  # of an answer from an IPv4 target

        def answer() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while True:
                    self.transport.sendto(association.sock.recv(65536)[header_size:], client)

        asyncio.get_running_loop().add_reader(association.sock, answer)
        for data in self._waiting.pop(client):
            association.sock.send(self._header + data)

    async def close(self) -> None:
        """End all of it."""
        for task in self._tasks:
            task.cancel()
        for association in self.associations.values():
            if association is not None:
                asyncio.get_running_loop().remove_reader(association.sock)
                association.close()
        self.transport.close()
        await self._over.wait()


@contextlib.asynccontextmanager
async def udp_forwarder(proxy: Address, target: Address, port: int | None = None) -> AsyncIterator[int]:
    """Forward datagrams for a block; yield the port on 127.0.0.1.

    :param proxy: speaks SOCKS5
    :param target: an IPv4 address
    :param port: where; None: anywhere
    """
    loop = asyncio.get_running_loop()
    port = port or free_port()
    _, forwarder = await loop.create_datagram_endpoint(lambda: UdpForwarder(proxy, target), ("127.0.0.1", port))
    try:
        yield port
    finally:
        await forwarder.close()


@contextlib.asynccontextmanager
async def forwarder(proxy: Address, target: Address) -> AsyncIterator[int]:
    """Forward connections and datagrams for a block; yield the port on 127.0.0.1, which is the same for both.

    :param proxy: speaks SOCKS5
    :param target: an IPv4 address
    """
    tasks: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there = await connect(proxy, target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_pump(reader, there.writer), _pump(there.reader, writer))
        there.close()
        writer.close()
        tasks.discard(task)

    port = free_port()
    server = await asyncio.start_server(forward, "127.0.0.1", port)
    try:
        async with udp_forwarder(proxy, target, port):
            yield port
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
