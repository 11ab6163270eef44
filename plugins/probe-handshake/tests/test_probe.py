from __future__ import annotations

import asyncio

import pytest

from outline_lb.api import Network, Probe, Stream, StreamEndpoint
from outline_lb.testing.conformance.probe import ProbeSuite
from outline_lb.testing.streams import FakeStream
from outline_lb.testing.upstreams import fake_upstream
from outline_lb_probe_handshake.probe import HandshakeProbe


class TestConformance(ProbeSuite):
    def make_probe(self) -> Probe:
        return HandshakeProbe()


class SlowEndpoint(StreamEndpoint):
    """Opens a stream in 42 ms."""

    def __init__(self) -> None:
        self.stream = FakeStream()

    async def connect_stream(self) -> Stream:
        await asyncio.sleep(0.042)
        return self.stream


@pytest.mark.fake_clock
async def test_it_measures_the_opening_and_closes_politely_without_a_byte() -> None:
    endpoint = SlowEndpoint()
    assert await HandshakeProbe().measure(fake_upstream(endpoint), Network.TCP) == pytest.approx(0.042)
    assert endpoint.stream.calls == ["close"]
    assert not endpoint.stream.written


async def test_it_says_nothing_about_packets_nor_without_a_server() -> None:
    assert await HandshakeProbe().measure(fake_upstream(SlowEndpoint()), Network.UDP) is None
    assert await HandshakeProbe().measure(fake_upstream(None), Network.TCP) is None
