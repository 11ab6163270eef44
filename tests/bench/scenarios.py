"""What is measured. A scenario runs in rounds; in each round all contenders come in turn, over the same server."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from outline_lb.base.address import Address

from . import loads, packets
from .contenders import Contender
from .loads import Figures
from .processes import Running, Workshop
from .servers import SERVERS, Endpoint

CHACHA: Final = "chacha20-ietf-poly1305"
AES: Final = "aes-256-gcm"
CIPHERS: Final = (CHACHA, AES)
REFERENCE: Final = "v2ray"
"""The server that everything is measured with that does not depend on the size of units."""
STREAM_SERVERS: Final = tuple(server.name for server in SERVERS if not server.packets)
PACKET_SERVERS: Final = tuple(server.name for server in SERVERS if server.packets)
PLAIN_SERVER: Final = "udp-libev"
"""As `REFERENCE`, for datagrams."""

SIZES: Final = (64, 512, 1400)
"""Bytes in a datagram: a question to DNS or a voice, the answer, a download by QUIC."""
WINDOWS: Final = {1: 32, 100: 64}
"""Numbers of associations, and how many datagrams are on their way over all of them: 64 of the largest fill two thirds of a socket's buffer."""


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    :param rounds: turns of all contenders
    :param megabytes: of each transfer
    :param seconds: of the loads that last some time; those of datagrams, which are many, last a tenth of it
    :param idle: numbers of idle flows
    :param servers: names, with commas between; empty: all
    :param ciphers: likewise
    """

    rounds: int
    megabytes: int
    seconds: float
    idle: tuple[int, ...]
    servers: str = ""
    ciphers: str = ",".join(CIPHERS)


FULL: Final = Scale(rounds=5, megabytes=100, seconds=5, idle=(1000, 5000))
QUICK: Final = Scale(rounds=2, megabytes=25, seconds=2, idle=(1000,), servers="v2ray,xray,outline,udp", ciphers=CHACHA)


@dataclass(frozen=True)
class Place:
    """Where contenders are measured.

    :param workshop: starts them
    :param endpoint: the server that they go through
    :param origin: what they reach over it
    :param cipher: of the tunnel
    """

    workshop: Workshop
    endpoint: Endpoint
    origin: Address
    cipher: str

    def start(self, contender: Contender) -> Running:
        """Start a client, and see that it works."""
        client = contender.start(self.workshop, self.endpoint, self.cipher)
        if self.endpoint.packets:
            packets.check(self.workshop, client, self.origin)
        else:
            loads.bulk(self.workshop, client, self.origin, "up", 1, 1_000_000)
        return client


@dataclass(frozen=True)
class Scenario:
    """Something to measure.

    :param name: such as ``down × 1``
    :param run: measures a client that runs already; None: `start` measures its start
    :param servers: with which it is measured
    :param ciphers: likewise
    :param rounds: no more than so many, where they hardly differ and take long
    """

    name: str
    run: Callable[[Place, Running, Scale], Figures] | None = None
    servers: Collection[str] = (REFERENCE,)
    ciphers: Collection[str] = (CHACHA,)
    start: Callable[[Place, Contender, Scale], Figures] | None = None
    rounds: int = 1000

    def fits(self, server: str, cipher: str) -> bool:
        """Tell whether it is measured with this server and cipher."""
        return server in self.servers and cipher in self.ciphers

    @property
    def word(self) -> str:
        """The name for a command line, such as ``down-1``."""
        return re.sub(r"\W+", "-", self.name)


def _bulk(mode: str, flows: int, place: Place, client: Running, scale: Scale) -> Figures:
    return loads.bulk(place.workshop, client, place.origin, mode, flows, scale.megabytes * 1_000_000)


def _echo(place: Place, client: Running, scale: Scale) -> Figures:
    return loads.echo(place.workshop, client, place.origin, int(scale.seconds * 1000))


def _flows(place: Place, client: Running, scale: Scale) -> Figures:
    return loads.flows(place.workshop, client, place.origin, 4, scale.seconds)


def _paced(place: Place, client: Running, scale: Scale) -> Figures:
    return loads.paced(place.workshop, client, place.origin, int(scale.seconds / 0.02), 0.02)


def _start(place: Place, contender: Contender, scale: Scale) -> Figures:
    """Start it three times, and take the second fastest."""
    del scale
    taken = []
    for _ in range(3):
        client = contender.start(place.workshop, place.endpoint, place.cipher)
        taken.append((client.seconds, client.cpu_seconds()))
        place.workshop.stop(client)
    seconds, cpu = sorted(taken)[1]
    return {"s": seconds, "CPU s": cpu}


def _memory(place: Place, contender: Contender, scale: Scale) -> Figures:
    """Measure a process that has carried nothing yet, and a fresh one for each number of flows."""
    figures: Figures = {}
    for count in scale.idle:
        client = contender.start(place.workshop, place.endpoint, place.cipher)
        loads.settle()
        figures["MB idle"] = client.memory() / 1e6
        figures[f"KB/flow at {count}"] = loads.idle(place.workshop, client, place.origin, count)
        place.workshop.stop(client)
    return figures


def _packets(associations: int, size: int, place: Place, client: Running, scale: Scale) -> Figures:
    return packets.echoes(place.workshop, client, place.origin, associations, WINDOWS[associations], size, scale.seconds / 10)


def _packet_echo(place: Place, client: Running, scale: Scale) -> Figures:
    return packets.echo(place.workshop, client, place.origin, SIZES[0], scale.seconds / 10)


def _packet_memory(place: Place, contender: Contender, scale: Scale) -> Figures:
    """Measure a process that has carried nothing yet."""
    count = scale.idle[0]
    client = contender.start(place.workshop, place.endpoint, place.cipher)
    loads.settle()
    figures = {f"KB/association at {count}": packets.idle(place.workshop, client, place.origin, count)}
    place.workshop.stop(client)
    return figures


def _all() -> Iterator[Scenario]:
    for mode in ("down", "up"):
        for flows in (1, 16):
            yield Scenario(f"{mode} × {flows}", partial(_bulk, mode, flows), STREAM_SERVERS, CIPHERS)
    yield Scenario("echo", _echo)
    yield Scenario("flows", _flows)
    yield Scenario("paced", _paced)
    yield Scenario("start", start=_start)
    yield Scenario("memory", start=_memory, rounds=2)
    for associations in WINDOWS:
        for size in SIZES:
            usual = size == 512
            servers, ciphers = (PACKET_SERVERS, CIPHERS) if usual else ((PLAIN_SERVER,), (CHACHA,))
            yield Scenario(f"udp × {associations}, {size} B", partial(_packets, associations, size), servers, ciphers)
    yield Scenario("udp echo", _packet_echo, PACKET_SERVERS)
    yield Scenario("udp memory", servers=PACKET_SERVERS, start=_packet_memory, rounds=2)


SCENARIOS: Final = tuple(_all())
