from __future__ import annotations

import pytest

from outline_lb.base.errors import StreamError
from outline_lb.base.flow import Network
from outline_lb.datapath.carried import CarriedStream
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.streams import FakeStream, RecordingSink
from outline_lb.testing.upstreams import SilentEndpoint, fake_upstream

CUT = StreamError("the server closed the WebSocket with 1011")


class Rig:
    """A carried stream over an upstream with a server."""

    def __init__(self) -> None:
        self.lower, self.sink = FakeStream(), RecordingSink()
        self.upstream = fake_upstream(SilentEndpoint())
        self.closed: list[tuple[int, int, Exception | None]] = []
        self.stream = CarriedStream(
            self.lower, self.upstream, fake_flow(), lambda stream, exc: self.closed.append((stream.sent, stream.received, exc))
        )
        self.stream.set_sink(self.sink)
        self.stream.resume_reading()

    @property
    def failures(self) -> int:
        return self.upstream.health[Network.TCP].failures


async def test_what_goes_through_is_counted() -> None:
    rig = Rig()
    rig.stream.write(b"hello")
    rig.stream.room[:3] = b"you"
    rig.stream.commit(3)
    rig.lower.feed(b"hi")
    assert rig.lower.written == b"helloyou"
    assert (rig.stream.sent, rig.stream.received, bytes(rig.sink.data)) == (8, 2, b"hi")
    rig.lower.lose(None)
    assert rig.closed == [(8, 2, None)]


async def test_it_is_under_way_until_it_is_lost() -> None:
    rig = Rig()
    assert rig.upstream.ways[Network.TCP].carried == {rig.stream}
    assert not rig.upstream.ways[Network.UDP].carried
    rig.stream.close()
    assert rig.upstream.active == 1
    await settle()
    assert rig.upstream.active == 0


async def test_an_end_before_its_time_is_told_to_the_upstream() -> None:
    rig = Rig()
    rig.lower.lose(CUT)
    assert rig.failures == 1
    assert rig.closed == [(0, 0, CUT)]


async def test_a_stream_cannot_leave_a_removed_upstream() -> None:
    rig = Rig()
    rig.upstream.close()
    assert rig.upstream.active == 1
    rig.stream.write(b"still here")
    assert rig.lower.written == b"still here"
    rig.stream.abort()


@pytest.mark.parametrize("end", ["abort", "close", "eof"])
async def test_an_end_that_this_side_wanted_or_after_the_answer_is_not(end: str) -> None:
    rig = Rig()
    if end == "eof":
        rig.lower.feed_eof()
        rig.lower.lose(CUT)
    else:
        getattr(rig.stream, end)()
    await settle()
    assert rig.failures == 0
    assert len(rig.closed) == 1
