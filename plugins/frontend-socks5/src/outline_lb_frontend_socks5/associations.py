"""The associations of a frontend."""

from __future__ import annotations

from operator import attrgetter

import structlog

from outline_lb.api import Address, Drops, FrontendDeps, StartError, Stream, UdpSocket

from .association import Association
from .options import UdpOptions

log = structlog.get_logger("socks5")


class Associations:
    """No more than there may be: for one more the least recently used one is ended.

    :param options: how many, and how long each may be idle
    :param deps: what the frontend was built with
    """

    def __init__(self, options: UdpOptions, deps: FrontendDeps) -> None:
        self._options = options
        self._deps = deps
        self._drops = Drops(frontend=deps.name)
        self._associations: set[Association] = set()

    def open(self, stream: Stream, client: Address | None, user: str) -> Address:
        """Open a relay for a client.

        :param stream: the client's, with whose end the association ends; taken over, unless there is an error
        :param client: its other end, if known
        :param user: who that is
        :return: where the client sends its datagrams
        :raises StartError: if there is no socket for it
        """
        local = stream.local_address
        if local is None or client is None:
            raise StartError("cannot relay packets: the client is gone")
        sock = UdpSocket.bind(Address(local.host, 0), self._drops)
        if len(self._associations) >= self._options.max_associations:
            self._make_room()
        self._associations.add(Association(stream, sock, client, user, self._deps, self._options, self._drops, self._associations.discard))
        return sock.address

    def _make_room(self) -> None:
        """Looking at each is cheap, compared with the handshake that leads here; a list in order would cost something with every packet."""
        oldest = min(self._associations, key=attrgetter("used"))
        log.info("too many associations", frontend=self._deps.name, limit=self._options.max_associations, ended=str(oldest.peer_address))
        oldest.end("another one needs its place")

    def close(self) -> None:
        """End those that carry nothing yet; the carrier has the others."""
        for association in list(self._associations):
            if not association.carried:
                association.end("the frontend is closed")
