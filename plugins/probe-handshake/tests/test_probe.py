from __future__ import annotations

import asyncio

import pytest

from outline_lb.api import Endpoint, Network, PacketChannel, Probe, Stream, Upstream, UpstreamError
from outline_lb.testing.conformance.probe import ProbeSuite
from outline_lb.testing.packets import FakeChannel
from outline_lb.testing.streams import FakeStream
from outline_lb.testing.upstreams import PortEndpoint, closed_port, fake_upstream
from outline_lb_probe_handshake.probe import HandshakeProbe


class TestConformance(ProbeSuite):
    def make_probe(self) -> Probe:
        return HandshakeProbe()


class TestConformanceOfPackets(TestConformance):
    network = Network.UDP


class SlowEndpoint(Endpoint[Stream]):
    """Opens a stream in 42 ms."""

    def __init__(self) -> None:
        self.stream = FakeStream()

    async def connect(self) -> Stream:
        await asyncio.sleep(0.042)
        return self.stream


class PacketEndpoint(Endpoint[PacketChannel[bytes]]):
    """Opens a channel in 24 ms.

    :param answers: whether the server has a part in that
    """

    def __init__(self, answers: bool) -> None:
        self.answers = answers
        self.channel = FakeChannel[bytes]()

    async def connect(self) -> PacketChannel[bytes]:
        await asyncio.sleep(0.024)
        return self.channel


@pytest.mark.fake_clock
async def test_it_measures_the_opening_and_closes_politely_without_a_byte() -> None:
    endpoint = SlowEndpoint()
    assert await HandshakeProbe().measure(fake_upstream(endpoint), Network.TCP) == pytest.approx(0.042)
    assert endpoint.stream.calls == ["close"]
    assert not endpoint.stream.written


@pytest.mark.fake_clock
async def test_each_network_is_measured_by_its_own_way() -> None:
    streams, packets = SlowEndpoint(), PacketEndpoint(answers=True)
    both = {Network.TCP: fake_upstream(streams), Network.UDP: fake_upstream(packets)}
    upstream = Upstream("both", {network: of.ways[network] for network, of in both.items()})
    assert await HandshakeProbe().measure(upstream, Network.UDP) == pytest.approx(0.024)
    assert packets.channel.closed
    assert not packets.channel.sent
    assert not streams.stream.calls
    assert await HandshakeProbe().measure(upstream, Network.TCP) == pytest.approx(0.042)


@pytest.mark.fake_clock
async def test_it_says_nothing_about_packets_where_nothing_answers() -> None:
    endpoint = PacketEndpoint(answers=False)
    assert await HandshakeProbe().measure(fake_upstream(endpoint), Network.UDP) is None
    assert endpoint.channel.closed
    assert not endpoint.channel.sent


@pytest.mark.parametrize("network", Network)
async def test_it_says_nothing_without_a_server(network: Network) -> None:
    assert await HandshakeProbe().measure(fake_upstream(None), network) is None


@pytest.mark.parametrize("network", Network)
async def test_a_server_that_is_not_there_is_the_upstream_s_fault(network: Network) -> None:
    with pytest.raises(UpstreamError, match="connect"):
        await HandshakeProbe().measure(fake_upstream(PortEndpoint(closed_port())), network)
