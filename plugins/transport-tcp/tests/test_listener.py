from __future__ import annotations

import asyncio

from outline_lb.api import Address, Connector, ListenerDeps, SecretUrl, SocketListener, Stream
from outline_lb_transport_tcp.listener import TcpListener
from outline_lb_transport_tcp.options import ListenerOptions


async def prepared(address: str = "127.0.0.1:0") -> TcpListener:
    listener = TcpListener(ListenerOptions(Address.parse(address)), ListenerDeps(bind=SocketListener))
    await listener.prepare()
    return listener


async def test_listens_on_ipv6() -> None:
    listener = await prepared("[::1]:0")
    assert listener.address.host == "::1"
    assert listener.address.port > 0
    await listener.close()


async def test_who_is_not_served_waits_until_somebody_serves_again() -> None:
    listener, streams = await prepared(), asyncio.Queue[Stream]()
    task = asyncio.create_task(listener.serve(streams.put_nowait))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    near = await Connector().connect(listener.address)
    await asyncio.sleep(0.02)
    assert streams.empty()
    task = asyncio.create_task(listener.serve(streams.put_nowait))
    far = await streams.get()
    assert far.peer_address == near.local_address
    for stream in (near, far):
        stream.abort()
    task.cancel()
    await asyncio.wait([task])
    await listener.close()


async def test_one_that_was_never_prepared_can_be_closed() -> None:
    await TcpListener(ListenerOptions(Address("127.0.0.1", 0)), ListenerDeps(bind=SocketListener)).close()


def test_url_names_the_host_by_which_clients_reach_it() -> None:
    listener = TcpListener(ListenerOptions(Address("0.0.0.0", 8388)), ListenerDeps(SocketListener))
    assert listener.url("server.example") == SecretUrl("tcp://server.example:8388")
    assert listener.url("2001:db8::1") == SecretUrl("tcp://[2001:db8::1]:8388")
