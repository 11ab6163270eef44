from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from outline_lb.base.address import Address
from outline_lb.base.errors import StartError
from outline_lb.net.listener import SocketListener
from outline_lb.running.sockets import ListeningSockets

ANY = Address("127.0.0.1", 0)


@pytest.fixture
def sockets() -> Iterator[ListeningSockets]:
    sockets = ListeningSockets()
    yield sockets
    sockets.close()


def bind(sockets: ListeningSockets, name: str, address: Address, staying: tuple[str, ...] = ()) -> SocketListener:
    """Give a frontend a socket, at once and for good."""
    change = sockets.hand_over(staying)
    listener = change.bind(name, address)
    change.commit()
    return listener


def listens(address: Address) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address.host, address.port)) == 0


def test_a_socket_is_handed_over_and_never_stops_listening(sockets: ListeningSockets) -> None:
    old = bind(sockets, "old", ANY)
    change = sockets.hand_over(())
    new = change.bind("new", old.address)
    with socket.create_connection((old.address.host, old.address.port)):  # waits for whoever accepts
        assert listens(old.address)
        change.commit()
        assert listens(new.address)
        assert new.address == old.address


def test_a_port_that_the_system_chose_stays_with_its_name(sockets: ListeningSockets) -> None:
    old = bind(sockets, "a", ANY)
    change = sockets.hand_over(())
    assert change.bind("b", ANY).address != old.address
    assert change.bind("a", ANY).address == old.address
    change.commit()


def test_what_is_not_wanted_any_more_is_closed(sockets: ListeningSockets) -> None:
    old = bind(sockets, "a", ANY)
    bind(sockets, "b", ANY)
    assert not listens(old.address)


def test_who_stays_keeps_its_socket(sockets: ListeningSockets) -> None:
    old = bind(sockets, "a", ANY)
    bind(sockets, "b", ANY, staying=("a",))
    assert listens(old.address)
    assert [loan.frontend for loan in sockets.loans] == ["a", "b"]


@pytest.mark.parametrize("staying", [("a",), ()])
def test_nobody_gets_a_socket_that_somebody_has(sockets: ListeningSockets, staying: tuple[str, ...]) -> None:
    old = bind(sockets, "a", ANY)
    change = sockets.hand_over(staying)
    if not staying:
        change.bind("a", ANY)  # passed on
    with pytest.raises(StartError, match=str(old.address)):
        change.bind("b", old.address)
    change.roll_back()


def test_rolling_back_closes_the_new_and_leaves_the_old(sockets: ListeningSockets) -> None:
    old = bind(sockets, "a", ANY)
    change = sockets.hand_over(())
    shared, new = change.bind("a", ANY), change.bind("b", ANY)
    change.roll_back()
    assert listens(old.address)
    assert not listens(new.address)
    assert shared._sock.fileno() == -1


def test_close_ends_them_all(sockets: ListeningSockets) -> None:
    listener = bind(sockets, "a", ANY)
    sockets.close()
    assert not listens(listener.address)
