from __future__ import annotations

import pytest

from outline_lb.api import Address, ClientTls, Listener, ListenerDeps, PacketTransport, Secret, SecretUrl, StreamTransport, TransportDeps
from outline_lb.testing.conformance.packets import PacketTransportSuite
from outline_lb.testing.conformance.transport import StreamTransportSuite
from outline_lb_transport_ws_h1.listener import WsH1Listener
from outline_lb_transport_ws_h1.options import ConnectOptions, ListenOptions, ServerTls
from outline_lb_transport_ws_h1.transport import WsH1Transport


class TestWs(StreamTransportSuite):
    scheme = "ws"
    client_tls = ClientTls()
    server_tls: ServerTls | None = None

    def make_transport(self, deps: TransportDeps) -> StreamTransport:
        return WsH1Transport(ConnectOptions(self.client_tls, (), 10, None), deps)

    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        return WsH1Listener(ListenOptions(address, Secret("/secret"), self.server_tls, 10), deps)

    def make_url(self, address: Address) -> SecretUrl:
        return SecretUrl(f"{self.scheme}://{address}/secret")


class TestWss(TestWs):
    scheme = "wss"

    @pytest.fixture(autouse=True)
    def _use_files(self, tls_files: tuple[ClientTls, ServerTls]) -> None:
        self.client_tls, self.server_tls = tls_files


class TestPacketsOverWs(PacketTransportSuite):
    smallest, largest = 1, 65_600
    scheme = "ws"
    client_tls = ClientTls()
    server_tls: ServerTls | None = None

    def make_transport(self, deps: TransportDeps) -> PacketTransport:
        return WsH1Transport(ConnectOptions(self.client_tls, (), 10, None, packet_max_message=self.largest), deps)

    def make_listener(self, deps: ListenerDeps, address: Address) -> Listener:
        return WsH1Listener(ListenOptions(address, Secret("/stream"), self.server_tls, 10, packet_path=Secret("/secret")), deps)

    def make_url(self, address: Address) -> SecretUrl:
        return SecretUrl(f"{self.scheme}://{address}/secret")


class TestPacketsOverWss(TestPacketsOverWs):
    scheme = "wss"

    @pytest.fixture(autouse=True)
    def _use_files(self, tls_files: tuple[ClientTls, ServerTls]) -> None:
        self.client_tls, self.server_tls = tls_files


class TestPacketsInPortions(TestPacketsOverWs):
    """As to servers that cut messages."""

    largest = 4088

    @pytest.mark.parametrize("first", ["client"])  # our server has no such limit
    async def test_a_packet_that_is_too_large_is_dropped_and_nothing_else(self, first: str) -> None:
        await super().test_a_packet_that_is_too_large_is_dropped_and_nothing_else(first)
