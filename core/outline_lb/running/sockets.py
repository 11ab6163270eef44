"""The listening sockets of the program: they belong to it, and frontends have them on loan, so that one can hand over to the next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..base.address import Address
from ..net.listener import SocketListener


@dataclass(frozen=True, slots=True)
class Loan:
    """A socket that a frontend uses.

    :param frontend: its name
    :param wanted: the address that it asked for; its port may be 0
    :param listener: what it got
    """

    frontend: str
    wanted: Address
    listener: SocketListener

    def fits(self, frontend: str, wanted: Address) -> bool:
        """Tell whether this socket is what a frontend asks for. A port that the system chose stays with the frontend's name."""
        return self.listener.address == wanted or (self.wanted == wanted and self.frontend == frontend)


class ListeningSockets:
    """Who listens where."""

    def __init__(self) -> None:
        self.loans: Sequence[Loan] = ()

    def hand_over(self, staying: Collection[str]) -> HandOver:
        """Begin to pass on the sockets of all frontends but some, which keep theirs."""
        return HandOver(self, staying)

    def close(self) -> None:
        """Listen nowhere any more."""
        for loan in self.loans:
            loan.listener.close()
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
        self._passed = list(self._going)  # is left to be passed on
        self._new: list[Loan] = []

    def bind(self, frontend: str, address: Address) -> SocketListener:
        """Return the listening socket of an address: that of a frontend which goes, else a new one.

        :param frontend: name of who wants it
        :param address: where
        :raises StartError: if it cannot be had
        """
        old = next((loan for loan in self._passed if loan.fits(frontend, address)), None)
        if old is None:
            listener = SocketListener(address)
        else:
            listener = old.listener.share()
            self._passed.remove(old)
        self._new.append(Loan(frontend, address, listener))
        return listener

    def commit(self) -> None:
        """Close what the frontends had that go."""
        self._sockets.loans = [*self._staying, *self._new]
        for loan in self._going:
            loan.listener.close()

    def roll_back(self) -> None:
        """Take back what was given."""
        for loan in self._new:
            loan.listener.close()
