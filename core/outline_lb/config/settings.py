"""What a configuration says, typed and complete. All of it compares by value, so that two of them can be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..base.errors import Problem
from ..base.secret import Secret, SecretUrl
from ..datapath.cipher import Cipher
from ..datapath.frontend import Frontend, FrontendDeps
from ..datapath.transport import Transport, TransportDeps
from ..monitoring.probe import Probe
from ..net.connector import Via
from ..plugin.registration import ComponentSpec
from ..selection.health import HealthOptions
from ..selection.policy import Policy


@dataclass(frozen=True, slots=True)
class FrontendSettings:
    """A frontend.

    :param name: its name
    :param component: what it is
    :param to: the pool or upstream that its flows go to
    """

    name: str
    component: ComponentSpec[FrontendDeps, Frontend]
    to: str


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """An upstream in a pool.

    :param name: the upstream
    :param weight: how much it is preferred, above 0
    :param tier: 0 is used first
    """

    name: str
    weight: float = 1.0
    tier: int = 0


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """A group of upstreams.

    :param name: its name
    :param policy: chooses among them
    :param health: how their health is judged
    :param probes: how they are measured
    :param connect_timeout: seconds that a flow may take to open
    :param members: the upstreams; at least one
    :param standby: connections to each server in use that wait for flows
    """

    name: str
    policy: ComponentSpec[None, Policy]
    health: HealthOptions
    probes: tuple[ComponentSpec[None, Probe], ...]
    connect_timeout: float
    members: tuple[MemberSettings, ...]
    standby: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """A server, or a direct connection.

    :param name: its name
    :param tcp: where its streams go; None: to the target itself
    :param udp: where its packets go
    :param transport: how it is reached
    :param cipher: the cipher of its tunnel; None: no tunnel
    :param secret: shared with the server; there if the cipher is
    :param prefix: the first bytes of each stream
    :param via: how its sockets leave this machine
    """

    name: str
    tcp: SecretUrl | None
    udp: SecretUrl | None
    transport: ComponentSpec[TransportDeps, Transport]
    cipher: ComponentSpec[None, Cipher] | None
    secret: Secret | None
    prefix: bytes
    via: Via


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error.

    :param level: the least important lines that are shown: debug, info, warning, error
    :param format: auto, console, json
    :param rooms: other levels for single rooms (the names of loggers), such as net
    """

    level: str = "info"
    format: str = "auto"
    rooms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration.

    :param frontends: by name, in document order, as everywhere here
    :param pools: by name
    :param upstreams: by name
    :param log: what is logged
    :param plugins: names of plugins that the document wants besides those that its types need
    :param drain_timeout: seconds that flows have to end when the program is told to
    :param warnings: what is not wrong, but should be known; two configurations that differ in nothing else are equal
    """

    frontends: Mapping[str, FrontendSettings]
    pools: Mapping[str, PoolSettings]
    upstreams: Mapping[str, UpstreamSettings]
    log: LogSettings
    plugins: tuple[str, ...] = ()
    drain_timeout: float = 30.0
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
