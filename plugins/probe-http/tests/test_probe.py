from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from outline_lb.api import Address, Endpoint, Network, Probe, Stream, Upstream, UpstreamError
from outline_lb.testing.clock import settle
from outline_lb.testing.conformance.probe import ProbeSuite
from outline_lb.testing.streams import FakeStream
from outline_lb.testing.upstreams import PortEndpoint, fake_upstream
from outline_lb_probe_http.options import Options
from outline_lb_probe_http.probe import HttpProbe


def probe() -> HttpProbe:
    return HttpProbe(Options.parse({"url": "http://example.com/x"}))


class TestConformance(ProbeSuite):
    def make_probe(self) -> Probe:
        return probe()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Upstream]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            yield fake_upstream(PortEndpoint(Address(*server.sockets[0].getsockname())))


class Slow(Endpoint[Stream]):
    """Opens a stream in 100 ms."""

    def __init__(self) -> None:
        self.stream = FakeStream()

    async def connect(self) -> Stream:
        await asyncio.sleep(0.1)
        return self.stream


async def measuring() -> tuple[asyncio.Task[float | None], FakeStream]:
    """Return a probe that has sent its request."""
    endpoint = Slow()
    task = asyncio.create_task(probe().measure(fake_upstream(endpoint), Network.TCP))
    while not endpoint.stream.written:
        await asyncio.sleep(0.01)
    return task, endpoint.stream


@pytest.mark.fake_clock
async def test_the_time_is_that_of_the_first_bytes_of_any_answer() -> None:
    task, stream = await measuring()
    assert stream.written == b"HEAD /x HTTP/1.1\r\nHost: example.com\r\nUser-Agent: outline-lb\r\nConnection: close\r\n\r\n"
    await asyncio.sleep(0.2)
    stream.feed(b"HT")
    await asyncio.sleep(0.1)
    assert not task.done()
    stream.feed(b"TP/1.1 500 Oh no\r\n")
    assert await task == pytest.approx(0.4, abs=0.02)
    assert stream.calls[-1] == "close"
    await settle()


@pytest.mark.fake_clock
async def test_no_answer_is_a_failure_however_it_does_not_come() -> None:
    for end in (
        lambda stream: stream.feed(b"SSH-2.0-x"),
        lambda stream: stream.feed(b"\x00"),
        lambda stream: stream.feed_eof(),
        lambda stream: stream.lose(ConnectionResetError()),
        lambda stream: stream.lose(None),
    ):
        task, stream = await measuring()
        end(stream)  # type: ignore[no-untyped-call]
        with pytest.raises(UpstreamError, match=r"^http: "):
            await task
        await settle()


@pytest.mark.fake_clock
async def test_what_comes_after_the_answer_is_left_alone() -> None:
    task, stream = await measuring()
    stream.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    stream.feed(b"and more")
    stream.feed_eof()
    assert await task is not None
    await settle()


async def test_it_says_nothing_about_packets() -> None:
    assert await probe().measure(fake_upstream(None), Network.UDP) is None
