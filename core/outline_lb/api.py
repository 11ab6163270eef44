"""Everything that a plugin may import. What is here is stable; what is not here is not for plugins."""

from __future__ import annotations

from .base.address import Address, AddressTypeError, decode_address, encode_address, is_public
from .base.dialer import StreamDialer
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
from .base.secret import Secret, SecretUrl
from .base.stream import NOBODY, ROOM, Buffer, Hop, Stream, StreamSink
from .datapath.access import AccessKey
from .datapath.carrier import Carrier
from .datapath.cipher import Accepted, Cipher, ClientCipher, Opener, RejectedError, Sealer, ServerCipher
from .datapath.frontend import Frontend, FrontendDeps
from .datapath.transport import Listener, ListenerDeps, StandbyEndpoint, StreamEndpoint, StreamTransport, Transport, TransportDeps
from .datapath.tunnel import TunnelStream
from .datapath.upstream import Upstream
from .monitoring.probe import Probe
from .net.connector import Connector, Via
from .net.listener import SocketListener
from .net.resolver import Resolver, SocketAddress
from .net.socket import SocketStream
from .net.tls import ClientTls, TlsStream, server_context
from .plugin.markers import hookimpl
from .plugin.registration import ComponentSpec, Registration
from .selection.policy import Candidate, Outcome, Policy

__all__ = [
    "NOBODY",
    "ROOM",
    "AbortedError",
    "Accepted",
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
    "DialError",
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
    "SocketStream",
    "StandbyEndpoint",
    "StartError",
    "Stream",
    "StreamDialer",
    "StreamEndpoint",
    "StreamError",
    "StreamSink",
    "StreamTransport",
    "TargetError",
    "TlsStream",
    "Transport",
    "TransportDeps",
    "TruncatedError",
    "TunnelStream",
    "Upstream",
    "UpstreamError",
    "Via",
    "decode_address",
    "describe",
    "encode_address",
    "format_duration",
    "hookimpl",
    "is_public",
    "parse_duration",
    "server_context",
]
