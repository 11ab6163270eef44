from __future__ import annotations

import asyncio

import pytest

from outline_lb.api import OutlineLBError, TruncatedError
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream
from outline_lb_transport_ws_h1.upgrade import read_head
from outline_lb_websocket.head import MAX_HEAD, HeadError, HeadTooLargeError


def begin() -> tuple[FakeStream, asyncio.Task[tuple[bytes, bytes]]]:
    stream = FakeStream()
    return stream, asyncio.get_running_loop().create_task(read_head(stream))


async def test_head_and_what_came_behind_it() -> None:
    stream, task = begin()
    await settle()
    for byte in b"start\r\nname: value\r\n\r":
        stream.feed(bytes((byte,)))
    stream.feed(b"\nrest")
    assert await task == (b"start\r\nname: value", b"rest")
    assert stream.paused


@pytest.mark.parametrize(("data", "error"), [(b"x\n", HeadError), (b"x" * MAX_HEAD, HeadTooLargeError)])
async def test_malformed_heads(data: bytes, error: type[HeadError]) -> None:
    stream, task = begin()
    await settle()
    stream.feed(data)
    stream.feed(b"more of it\r\n\r\n")
    with pytest.raises(error):
        await task
    assert not stream.over, "there may be an answer to send"


async def test_end_before_the_head() -> None:
    stream, task = begin()
    await settle()
    stream.feed(b"start\r\n")
    stream.feed_eof()
    with pytest.raises(TruncatedError):
        await task


@pytest.mark.parametrize("cause", [ConnectionResetError("reset"), None])
async def test_loss_before_the_head(cause: Exception | None) -> None:
    stream, task = begin()
    await settle()
    stream.lose(cause)
    with pytest.raises((ConnectionResetError, OutlineLBError)) as caught:
        await task
    assert cause is None or caught.value is cause
