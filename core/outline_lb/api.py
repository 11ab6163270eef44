"""Everything that a plugin may import. What is here is stable; what is not here is not for plugins."""

from __future__ import annotations

from .base.address import Address, AddressTypeError, decode_address, encode_address, is_public
from .base.dialer import Dialer, PacketDialer, StreamDialer
from .base.drops import Drops
from .base.duration import format_duration, parse_duration
from .base.errors import (
    AbortedError,
    AddressError,
    DialError,
    GoingAwayError,
    OutlineLBError,
    ProtocolError,
    Reason,
    StartError,
    StreamError,
    TargetError,
    TruncatedError,
    UpstreamError,
    describe,
)
from .base.flow import Flow, Network
from .base.packets import MAX_PACKET, NO_PACKET_SINK, Packet, PacketChannel, PacketHop, PacketSink
from .base.secret import Secret, SecretUrl
from .base.stream import NOBODY, ROOM, Buffer, Hop, Stream, StreamSink
from .datapath.access import AccessKey
from .datapath.carrier import Carrier
from .datapath.cipher import Accepted, AcceptedPackets, Cipher, ClientCipher, Opener, PacketCodec, RejectedError, Sealer, ServerCipher
from .datapath.frontend import Frontend, FrontendDeps
from .datapath.transport import Endpoint, Listener, ListenerDeps, PacketTransport, StandbyEndpoint, StreamTransport, Transport, TransportDeps
from .datapath.tunnel import TunnelChannel, TunnelStream
from .datapath.upstream import Upstream
from .monitoring.probe import Probe
from .net.connector import Connector, Via
from .net.listener import SocketListener
from .net.resolver import Resolver, SocketAddress
from .net.socket import SocketStream, name_of
from .net.tls import ClientTls, TlsStream, server_context
from .net.udp import Datagram, SocketName, UdpSocket
from .plugin.markers import hookimpl
from .plugin.registration import ComponentSpec, Registration
from .selection.policy import Candidate, Outcome, Policy

__all__ = [
    "MAX_PACKET",
    "NOBODY",
    "NO_PACKET_SINK",
    "ROOM",
    "AbortedError",
    "Accepted",
    "AcceptedPackets",
    "AccessKey",
    "Address",
    "AddressError",
    "AddressTypeError",
    "Buffer",
    "Candidate",
    "Carrier",
    "Cipher",
    "ClientCipher",
    "ClientTls",
    "ComponentSpec",
    "Connector",
    "Datagram",
    "DialError",
    "Dialer",
    "Drops",
    "Endpoint",
    "Flow",
    "Frontend",
    "FrontendDeps",
    "GoingAwayError",
    "Hop",
    "Listener",
    "ListenerDeps",
    "Network",
    "Opener",
    "Outcome",
    "OutlineLBError",
    "Packet",
    "PacketChannel",
    "PacketCodec",
    "PacketDialer",
    "PacketHop",
    "PacketSink",
    "PacketTransport",
    "Policy",
    "Probe",
    "ProtocolError",
    "Reason",
    "Registration",
    "RejectedError",
    "Resolver",
    "Sealer",
    "Secret",
    "SecretUrl",
    "ServerCipher",
    "SocketAddress",
    "SocketListener",
    "SocketName",
    "SocketStream",
    "StandbyEndpoint",
    "StartError",
    "Stream",
    "StreamDialer",
    "StreamError",
    "StreamSink",
    "StreamTransport",
    "TargetError",
    "TlsStream",
    "Transport",
    "TransportDeps",
    "TruncatedError",
    "TunnelChannel",
    "TunnelStream",
    "UdpSocket",
    "Upstream",
    "UpstreamError",
    "Via",
    "decode_address",
    "describe",
    "encode_address",
    "format_duration",
    "hookimpl",
    "is_public",
    "name_of",
    "parse_duration",
    "server_context",
]
