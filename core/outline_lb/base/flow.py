"""A flow: one conversation of one application with one target."""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass, field

from .address import Address

_ids = itertools.count(1)


class Network(enum.Enum):
    """What kind of traffic; health is kept apart for each."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Who wants what: made by a frontend, read by policies, dialers and observers.

    :param frontend: name of the frontend that accepted it
    :param network: streams or packets
    :param client: where the application speaks from, if known
    :param user: authenticated user name, or ""
    :param target: where it wants to go; of packets, where the first one goes
    :param started: the loop's time in seconds when it was accepted
    :param public_only: whether targets outside the public internet are refused (a server for strangers wants that)
    :param id: number of the flow in this process
    """

    frontend: str
    network: Network
    client: Address | None
    user: str
    target: Address
    started: float
    public_only: bool = False
    id: int = field(default_factory=_ids.__next__)
