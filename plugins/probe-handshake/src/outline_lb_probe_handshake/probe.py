"""Measures the handshake."""

from __future__ import annotations

from outline_lb.api import Network, Probe, Upstream


class HandshakeProbe(Probe):
    """Opens a stream to the server as its transport does (TCP, TLS, WebSocket), sends nothing over it, and closes it politely.

    It says nothing about upstreams without a server, nor about packets. It does not know the cipher: a wrong secret goes unnoticed.
    """

    async def measure(self, upstream: Upstream, network: Network) -> float | None:
        return await upstream.handshake() if network is Network.TCP else None
