"""The associations of a frontend."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import structlog

from outline_lb.api import Drops, Flow, FrontendDeps, Network, Packet, PacketChannel, ServerCipher

from .association import Association
from .newcomer import Newcomer

log = structlog.get_logger("outline-server")

MAX_WAITING: Final = 4096
"""Channels over which nothing came. For one more the oldest is closed; there is no deadline, as other servers have none."""
MAX_ASSOCIATIONS: Final = 8192
"""At a time. For one more the least recently used one is closed."""


class Associations:
    """Takes channels for packets, and makes flows of them.

    :param deps: what the frontend was built with
    :param ciphers: find out whose they are
    :param public_only: whether targets must be of the public internet
    :param timeout: seconds without a packet of the user after which an association ends
    """

    def __init__(self, deps: FrontendDeps, ciphers: Sequence[ServerCipher], public_only: bool, timeout: float) -> None:
        self._deps = deps
        self._ciphers = ciphers
        self._public_only = public_only
        self._timeout = timeout
        self._drops = Drops(frontend=deps.name)
        self._waiting: dict[Newcomer, None] = {}  # the oldest first
        self._associations: OrderedDict[Association, None] = OrderedDict()  # the least recently used first
        self._was_full = False

    def begin(self, channel: PacketChannel[bytes]) -> None:
        """Take a channel. Nothing is known of it yet.

        :param channel: becomes ours
        """
        if len(self._waiting) >= MAX_WAITING:
            next(iter(self._waiting)).close()
        self._waiting[Newcomer(channel, self._ciphers, self._drops, self._accepted, self._known)] = None

    def close(self) -> None:
        """End them all."""
        for newcomer in list(self._waiting):
            newcomer.close()
        for association in list(self._associations):
            association.close()

    def _known(self, newcomer: Newcomer) -> None:
        self._waiting.pop(newcomer, None)

    def _accepted(self, channel: PacketChannel[Packet], user: str, first: Packet) -> None:
        if len(self._associations) >= MAX_ASSOCIATIONS:
            self._make_room()
        association = Association(channel, first, self._timeout, self._associations.move_to_end, self._over)
        self._associations[association] = None
        deps, now = self._deps, asyncio.get_running_loop().time()
        flow = Flow(deps.name, Network.UDP, channel.peer_address, user, first.address, now, self._public_only)
        deps.carrier.carry_packets(flow, association, deps.dialer, [first])

    def _make_room(self) -> None:
        if not self._was_full:  # told once: it may be so for long
            self._was_full = True
            log.warning("too many associations", frontend=self._deps.name, limit=MAX_ASSOCIATIONS)
        next(iter(self._associations)).close()

    def _over(self, association: Association) -> None:
        self._associations.pop(association, None)
