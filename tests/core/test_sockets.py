from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.errors import StartError
from outline_lb.net.listener import SocketListener
from outline_lb.net.udp import Datagram, UdpSocket
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


# -- UDP


def bind_udp(sockets: ListeningSockets, name: str, address: Address, staying: tuple[str, ...] = ()) -> UdpSocket:
    """Give a frontend a UDP socket, at once and for good."""
    change = sockets.hand_over(staying)
    sock = change.bind_udp(name, address)
    change.commit()
    return sock


def is_free(address: Address) -> bool:
    """Tell whether nobody has the UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address.host, address.port))
        except OSError:
            return False
    return True


async def test_a_udp_socket_is_handed_over_and_what_came_in_between_is_not_lost(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "old", ANY)
    old.start(lambda datagrams: pytest.fail(f"the old one heard {datagrams}"))
    change = sockets.hand_over(())
    new = change.bind_udp("new", old.address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((old.address.host, old.address.port))
        client.send(b"before")
        change.commit()
        client.send(b"after")
        old.send(b"an answer on its way", client.getsockname())
        assert client.recv(100) == b"an answer on its way"
        came: list[bytes] = []
        done = asyncio.Event()

        def received(datagrams: list[Datagram]) -> None:
            came.extend(data for data, _ in datagrams)
            if len(came) == 2:
                done.set()

        new.start(received)
        async with asyncio.timeout(10):
            await done.wait()
        assert came == [b"before", b"after"]
    old.close()
    new.close()


def test_a_udp_port_that_the_system_chose_stays_with_its_name(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "a", ANY)
    change = sockets.hand_over(())
    other, same = change.bind_udp("b", ANY), change.bind_udp("a", ANY)
    assert other.address != old.address
    assert same.address == old.address
    change.commit()
    for sock in (old, other, same):
        sock.close()


def test_tcp_and_udp_of_one_address_are_two_sockets_and_each_is_passed_on(sockets: ListeningSockets) -> None:
    change = sockets.hand_over(())
    listener = change.bind("a", ANY)
    sock = change.bind_udp("a", listener.address)
    change.commit()
    change = sockets.hand_over(())
    new_sock, new_listener = change.bind_udp("b", listener.address), change.bind("b", listener.address)
    change.commit()
    assert isinstance(new_sock, UdpSocket)
    assert new_listener.address == new_sock.address == listener.address
    assert listens(listener.address)
    assert (listener.closed, sock.closed) == (True, False)
    sock.close()
    new_sock.close()


def test_a_udp_socket_that_is_not_wanted_any_more_is_closed(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "a", ANY)
    bind(sockets, "b", ANY)
    assert is_free(old.address)


def test_rolling_back_closes_the_new_udp_sockets_and_leaves_the_old(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "a", ANY)
    change = sockets.hand_over(())
    shared, new = change.bind_udp("a", ANY), change.bind_udp("b", ANY)
    address = new.address
    change.roll_back()
    assert is_free(address)
    assert not is_free(old.address)
    assert shared._sock.fileno() == -1
    old.close()


def test_nobody_gets_a_udp_socket_that_somebody_has(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "a", ANY)
    change = sockets.hand_over(("a",))
    with pytest.raises(StartError, match=f"cannot listen on UDP {old.address}"):
        change.bind_udp("b", old.address)
    change.roll_back()
    old.close()


def test_udp_sockets_stay_open_when_nobody_listens_any_more_because_flows_go_through_them(sockets: ListeningSockets) -> None:
    sock, listener = bind_udp(sockets, "a", ANY), bind(sockets, "b", ANY, staying=("a",))
    sockets.close()
    assert not listens(listener.address)
    assert not is_free(sock.address)
    sock.close()


def test_a_udp_socket_that_its_frontend_closed_is_not_passed_on(sockets: ListeningSockets) -> None:
    old = bind_udp(sockets, "a", ANY)
    old.close()
    new = bind_udp(sockets, "a", ANY)
    assert not is_free(new.address)
    new.close()


def test_what_a_frontends_udp_socket_drops_is_told_with_its_name(sockets: ListeningSockets) -> None:
    sock = bind_udp(sockets, "front", ANY)
    with capture_logs() as log:
        sock.send(bytes(70_000), ("127.0.0.1", 9))
    assert [(line["event"], line["frontend"]) for line in log] == [("packets dropped", "front")]
    sock.close()
