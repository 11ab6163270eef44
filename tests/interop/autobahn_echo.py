"""Echoes WebSocket messages, as the Autobahn suite wants its subjects to: at both ends made of the parts of which our transports are made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import anyio

from outline_lb.base.address import Address
from outline_lb.base.stream import Stream
from outline_lb.net.connector import Connector
from outline_lb.net.listener import SocketListener
from outline_lb_transport_ws_h1.upgrade import read_head
from outline_lb_websocket.client_handshake import build_request, check_response
from outline_lb_websocket.frames import Close, Role
from outline_lb_websocket.key import new_key
from outline_lb_websocket.message_decoder import Message
from outline_lb_websocket.messages import MessageSink, WebSocketMessages
from outline_lb_websocket.server_handshake import answer

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of the largest message in the suite."""


class Echo(MessageSink):
    """Sends back what comes.

    :param websocket: paused
    """

    def __init__(self, websocket: WebSocketMessages) -> None:
        self.websocket = websocket
        self.last: Message | None = None
        self.lost = asyncio.Event()
        websocket.set_sink(self)
        websocket.resume_reading()

    def messages_received(self, messages: list[Message]) -> None:
        self.last = messages[-1]
        self.websocket.send(messages)

    def close_received(self, close: Close) -> None: ...

    def pause_writing(self) -> None:
        self.websocket.pause_reading()

    def resume_writing(self) -> None:
        self.websocket.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[Address]:
    """Run an echo server; yields where it listens."""
    listener = SocketListener(Address("127.0.0.1", 0))
    async with anyio.create_task_group() as tasks:

        def accepted(stream: Stream) -> None:
            tasks.start_soon(_serve, stream)

        listener.start(accepted)
        yield listener.address
        listener.close()
        tasks.cancel_scope.cancel()


async def _serve(stream: Stream) -> None:
    head, leftover = await read_head(stream)
    reply = answer(head, "/")
    stream.write(reply.response)
    assert reply.accepted, reply.response
    await Echo(WebSocketMessages(stream, Role.SERVER, leftover, MAX_MESSAGE)).lost.wait()


async def echo_client(server: Address, target: str) -> Message | None:
    """Connect to a server, and echo until it ends.

    :param target: path and query
    :return: the last message that came
    """
    stream = await Connector().connect(server)
    key = new_key()
    stream.write(build_request(str(server), target, key))
    head, leftover = await read_head(stream)
    check_response(head, key)
    echo = Echo(WebSocketMessages(stream, Role.CLIENT, leftover, MAX_MESSAGE))
    await echo.lost.wait()
    return echo.last
