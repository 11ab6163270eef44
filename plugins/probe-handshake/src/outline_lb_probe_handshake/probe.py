"""Measures the handshake."""

from __future__ import annotations

from outline_lb.api import Network, Probe, Upstream


class HandshakeProbe(Probe):
    """Opens a stream to the server, or a channel for packets, as its transport does (TCP, TLS, WebSocket), sends nothing over it, and closes it.

    It says nothing about upstreams without a server, nor about plain UDP, where nothing answers. It does not know the cipher: a wrong secret goes
    unnoticed.
    """

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        return await upstream.ways[network].handshake()
