"""The listening sockets of the program: they belong to it, and frontends have them on loan, so that one can hand over to the next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..base.address import Address
from ..base.drops import Drops
from ..net.listener import SocketListener
from ..net.udp import UdpSocket

SocketT = TypeVar("SocketT", SocketListener, UdpSocket)


@dataclass(frozen=True, slots=True)
class Loan:
    """A socket that a frontend uses.

    :param frontend: its name
    :param wanted: the address that it asked for; its port may be 0
    :param socket: what it got
    """

    frontend: str
    wanted: Address
    socket: SocketListener | UdpSocket

    def fits(self, frontend: str, wanted: Address) -> bool:
        """Tell whether this socket is what a frontend asks for. A port that the system chose stays with the frontend's name."""
        return self.socket.address == wanted or (self.wanted == wanted and self.frontend == frontend)


class ListeningSockets:
    """Who listens where."""

    def __init__(self) -> None:
        self.loans: Sequence[Loan] = ()

    def hand_over(self, staying: Collection[str]) -> HandOver:
        """Begin to pass on the sockets of all frontends but some, which keep theirs."""
        return HandOver(self, staying)

    def close(self) -> None:
        """Listen nowhere any more. UDP sockets stay with their frontends: flows go through them, and so through their end."""
        for loan in self.loans:
            if isinstance(loan.socket, SocketListener):
                loan.socket.close()
        self.loans = ()


class HandOver:
    """Gives sockets to frontends that are about to take over. Until `commit`, the old ones go on accepting.

    :param sockets: the program's
    :param staying: names of the frontends that keep theirs
    """

    def __init__(self, sockets: ListeningSockets, staying: Collection[str]) -> None:
        self._sockets = sockets
        self._staying = [loan for loan in sockets.loans if loan.frontend in staying]
        self._going = [loan for loan in sockets.loans if loan.frontend not in staying]
        self._passed = [loan for loan in self._going if not loan.socket.closed]  # is left to be passed on
        self._new: list[Loan] = []

    def bind(self, frontend: str, address: Address) -> SocketListener:
        """Return the listening TCP socket of an address: that of a frontend which goes, else a new one.

        :param frontend: name of who wants it
        :param address: where
        :raises StartError: if it cannot be had
        """
        return self._lend(SocketListener, frontend, address, SocketListener)

    def bind_udp(self, frontend: str, address: Address) -> UdpSocket:
        """As `bind`, for UDP."""
        return self._lend(UdpSocket, frontend, address, lambda address: UdpSocket.bind(address, Drops(frontend=frontend)))

    def _lend(self, kind: type[SocketT], frontend: str, address: Address, make: Callable[[Address], SocketT]) -> SocketT:
        for loan in self._passed:
            if isinstance(loan.socket, kind) and loan.fits(frontend, address):
                self._passed.remove(loan)
                sock = loan.socket.share()
                break
        else:
            sock = make(address)
        self._new.append(Loan(frontend, address, sock))
        return sock

    def commit(self) -> None:
        """Close what the frontends had that go. A UDP socket that was passed on only hears nothing more: answers may be on their way to it."""
        self._sockets.loans = [*self._staying, *self._new]
        for loan in self._going:
            if isinstance(loan.socket, UdpSocket) and loan not in self._passed:
                loan.socket.stop()
            else:
                loan.socket.close()

    def roll_back(self) -> None:
        """Take back what was given."""
        for loan in self._new:
            loan.socket.close()
