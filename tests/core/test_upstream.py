from __future__ import annotations

from typing import Any

import pytest
from channels import ChannelServer
from menagerie import Menagerie, document, registration

from outline_lb.base.dialer import PacketDialer, StreamDialer
from outline_lb.base.errors import AddressError, ConfigError
from outline_lb.base.flow import Flow
from outline_lb.base.packets import Packet, PacketChannel
from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.base.stream import Stream
from outline_lb.config.build import build_settings
from outline_lb.config.settings import UpstreamSettings
from outline_lb.datapath.transport import Endpoint, PacketTransport, StreamTransport, Transport
from outline_lb.net.connector import Via
from outline_lb.testing.upstreams import SilentEndpoint


def settings(upstream: str) -> UpstreamSettings:
    text = f"version: 1\nfrontends: {{local: {{type: socks5}}}}\nupstreams: {{a: {{{upstream}}}}}"
    return build_settings(document(text), Menagerie()).upstreams["a"]


def problems(upstream: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        settings(upstream)
    return [f"{problem.pointer}: {problem.message}" for problem in raised.value.problems]


def test_a_server() -> None:
    found = settings("tcp: 'wss://example.com/path', udp: 'wss://example.com/udp', secret: s, prefix: \"\\x16\\0ÿ\", cipher: AES-256-GCM")
    assert (found.name, found.tcp, found.udp) == ("a", SecretUrl("wss://example.com/path"), SecretUrl("wss://example.com/udp"))
    assert (found.transport.type, found.secret, found.prefix) == ("ws-h1", Secret("s"), b"\x16\x00\xff")
    assert found.cipher is not None
    assert found.cipher.type == "aes-256-gcm"


def test_a_secret_makes_a_tunnel_with_the_usual_cipher() -> None:
    cipher = settings("tcp: 'tcp://example.com:443', secret: s").cipher
    assert cipher is not None
    assert cipher.type == "chacha20-ietf-poly1305"


def test_without_anything_it_is_a_direct_connection() -> None:
    found = settings("")
    assert (found.tcp, found.cipher, found.secret, found.prefix, found.via) == (None, None, None, b"", Via())
    assert found.transport.type == "direct"


def test_the_way_out() -> None:
    assert settings("via: {source: '::1', interface: eth0, fwmark: 0x7b}").via == Via("::1", "eth0", 123)


@pytest.mark.parametrize(
    ("transport", "value"),
    [
        ("", "defer"),
        (", transport: ws-h2", "defer"),
        (", transport: {type: ws-h1}", "defer"),
        (", transport: {type: ws-h1, half_close: close-frame}", "close-frame"),
    ],
)
def test_half_close_is_short_for_the_transports_own(transport: str, value: str) -> None:
    options: Any = settings(f"tcp: 'ws://x', secret: s, half_close: defer{transport}").transport.options
    assert options["half_close"] == value


@pytest.mark.parametrize(
    ("upstream", "problem"),
    [
        ("tcp: 'wss://x:y:z'", "/upstreams/a/tcp: no URL: "),
        ("tcp: 'tcp://x', udp: 'tcp://x'", "/upstreams/a/tcp: a tcp:// URL needs a port"),
        ("tcp: 'https://x'", "/upstreams/a/tcp: no transport is known for https:// URLs"),
        ("tcp: 'tcp://x:1', transport: ws-h1", "/upstreams/a/tcp: the transport ws-h1 takes ws:// or wss:// URLs, not tcp://"),
        ("tcp: 'tcp://x:1', transport: direct", "/upstreams/a/tcp: the transport direct takes no URL"),
        ("transport: ws-h1", "/upstreams/a: tcp is missing, or udp: the transport ws-h1 needs a ws:// or wss:// URL"),
        ("secret: s", "/upstreams/a/secret: the transport direct goes to no server that could know a secret"),
        ("tcp: 'wss://x', cipher: aes-256-gcm", "/upstreams/a/cipher: this needs a secret beside it"),
        ("tcp: 'wss://x', prefix: abc", "/upstreams/a/prefix: this needs a secret beside it"),
        ("tcp: 'wss://x', secret: s, prefix: abcde", "/upstreams/a: secret or prefix do not fit this cipher"),
        ("tcp: 'wss://x', secret: s, prefix: Ā", "/upstreams/a/prefix: expected text of characters up to U+00FF, each of which is a byte"),
        ("tcp: 'wss://x', secret: s, cipher: rc4", "/upstreams/a/cipher: cipher rc4 is not installed"),
        ("tcp: 'tcp://x:1', half_close: defer", "/upstreams/a/half_close: the transport tcp has no half_close"),
        ("tcp: 'ws://x', half_close: never", "/upstreams/a/half_close: expected close-frame or defer"),
        ("via: {source: eth0}", "/upstreams/a/via/source: expected an IP address such as 192.0.2.7"),
        ("via: {interface: 'much too long for one'}", "/upstreams/a/via/interface: expected the name of a network interface such as eth0"),
        ("via: {fwmark: -1}", "/upstreams/a/via/fwmark: expected a number of at least 0"),
        ("weight: 0", "/upstreams/a/weight: expected a number above 0"),
        ("weight: .inf", "/upstreams/a/weight: expected a number above 0, found text"),
        ("transport: dodo", "/upstreams/a/transport: transport dodo is not installed"),
        ("transport: {type: dodo}", "/upstreams/a/transport/type: transport dodo is not installed"),
        ("transport: [ws-h1, ws-h2]", "/upstreams/a/transport: expected a type, or a mapping with a type and its options, found a list"),
    ],
)
def test_what_is_wrong(upstream: str, problem: str) -> None:
    assert problems(upstream)[0].startswith(problem)


def test_a_transport_to_servers_needs_a_secret_and_one_to_targets_takes_none() -> None:
    class ToServers(StreamTransport):
        async def prepare(self) -> None: ...

        def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
            raise NotImplementedError

    class ToTargets(Transport, StreamDialer):
        async def prepare(self) -> None: ...

        async def dial_stream(self, flow: Flow, first: bytes = b"") -> Stream:
            raise NotImplementedError

    menagerie = Menagerie()
    menagerie.types["transport"] = [
        registration("tcp", schemes=("tcp",), component=ToServers()),
        registration("ws-h1", schemes=("ws",), component=ToTargets()),
    ]
    text = "version: 1\nfrontends: {local: {type: socks5}}\nupstreams: {a: {tcp: 'tcp://x:1'}, b: {tcp: 'ws://x', secret: s}}"
    with pytest.raises(ConfigError) as raised:
        build_settings(document(text), menagerie)
    assert [problem.message for problem in raised.value.problems] == [
        "secret is missing: the transport tcp needs one that it shares with the server",
        "the transport ws-h1 cannot carry a cipher",
    ]


# -- packets

NO_PACKETS = "carries no packets: leave udp out, or name another transport"
NO_STREAMS = "carries no streams: leave tcp out, or name another transport"


class ForStreams(StreamTransport):
    """Goes to servers, with streams only."""

    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        if url.scheme == "udp":
            raise AddressError(f"{url}: streams need a tcp:// URL")
        return SilentEndpoint()


class ForPackets(PacketTransport):
    """Goes to servers, with packets only."""

    def packet_endpoint(self, url: SecretUrl) -> Endpoint[PacketChannel[bytes]]:
        if url.scheme == "tcp":
            raise AddressError(f"{url}: packets need a udp:// URL")
        return ChannelServer()


class ForBoth(ForStreams, ForPackets):
    """Goes to servers, with both."""


class DirectForPackets(Transport, PacketDialer):
    """Goes to targets, with packets only."""

    async def dial_packets(self, flow: Flow) -> PacketChannel[Packet]:
        raise NotImplementedError


def with_packets(upstream: str, component: Transport | None = None) -> UpstreamSettings:
    """Read an upstream where the transport tcp takes both kinds of URLs, and ws-h1 is for streams only."""
    menagerie = Menagerie()
    menagerie.types["transport"] = [
        registration("tcp", schemes=("tcp", "udp"), component=component or ForBoth()),
        registration("ws-h1", schemes=("ws", "wss"), component=ForStreams()),
        registration("direct", component=DirectForPackets()),
    ]
    text = f"version: 1\nfrontends: {{local: {{type: socks5}}}}\nupstreams: {{a: {{{upstream}}}}}"
    return build_settings(document(text), menagerie).upstreams["a"]


def test_a_server_for_packets_only() -> None:
    found = with_packets("udp: 'udp://x:1', secret: s", ForPackets())
    assert (found.tcp, found.udp, found.transport.type) == (None, SecretUrl("udp://x:1"), "tcp")


def test_a_plain_server_for_both() -> None:
    found = with_packets("tcp: 'tcp://x:1', udp: 'udp://y:2', secret: s")
    assert (found.tcp, found.udp, found.transport.type) == (SecretUrl("tcp://x:1"), SecretUrl("udp://y:2"), "tcp")


def test_a_direct_connection_for_packets_only() -> None:
    assert with_packets("").transport.type == "direct"


@pytest.mark.parametrize(
    ("upstream", "component", "expected"),
    [
        ("udp: 'wss://x', secret: s", None, [f"/upstreams/a/udp: the transport ws-h1 {NO_PACKETS}"]),
        (
            "tcp: 'wss://x', udp: 'wss://x', secret: s",
            None,
            ["/upstreams/a/udp: the transport ws-h1 carries no packets: leave udp out, or name another transport"],
        ),
        (
            "tcp: 'tcp://x:1', udp: 'udp://x:1', secret: s",
            ForPackets(),
            [f"/upstreams/a/tcp: the transport tcp {NO_STREAMS}"],
        ),
        ("tcp: 'tcp://x:1', udp: 'tcp://x:1', secret: s", None, ["/upstreams/a/udp: tcp://x:1/: packets need a udp:// URL"]),
        ("tcp: 'udp://x:1', secret: s", None, ["/upstreams/a/tcp: udp://x:1/: streams need a tcp:// URL"]),
        ("tcp: 'tcp://x:1', udp: 'wss://x', secret: s", None, ["/upstreams/a/udp: the transport tcp takes tcp:// or udp:// URLs, not wss://"]),
        (
            "udp: 'https://x', secret: s",
            None,
            ["/upstreams/a/udp: no transport is known for https:// URLs: write one of ws://, wss://, tcp://, udp://"],
        ),
        ("udp: 'udp://x', secret: s", None, ["/upstreams/a/udp: a udp:// URL needs a port"]),
        ("udp: 'udp://x:1'", None, ["/upstreams/a: secret is missing: the transport tcp needs one that it shares with the server"]),
        ("udp: 'udp://x:1', transport: direct", None, ["/upstreams/a/udp: the transport direct takes no URL"]),
        ("transport: tcp, secret: s", None, ["/upstreams/a: tcp is missing, or udp: the transport tcp needs a tcp:// or udp:// URL"]),
        (
            "tcp: 'wss://x:y:z', udp: 'udp://x', secret: s",
            None,
            ["/upstreams/a/tcp: no URL", "/upstreams/a/udp: a udp:// URL needs a port"],
        ),
    ],
)
def test_what_is_wrong_with_packets(upstream: str, component: Transport | None, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        with_packets(upstream, component)
    found = [f"{problem.pointer}: {problem.message}" for problem in raised.value.problems]
    assert len(found) == len(expected)
    assert all(problem.startswith(start) for problem, start in zip(found, expected, strict=True)), found


def test_what_had_to_be_taken_out_is_not_missed() -> None:
    assert problems("tcp: 5, secret: s, transport: {type: tcp, connect_timeout: soon}, cipher: rc4") == [
        "/upstreams/a/tcp: expected a URL such as wss://example.com/SECRET_PATH, found a number",
        "/upstreams/a/transport/connect_timeout: expected a duration such as 20ms",
        "/upstreams/a/cipher: cipher rc4 is not installed",
    ]
