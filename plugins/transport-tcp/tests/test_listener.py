from __future__ import annotations

import asyncio

import pytest

from outline_lb.api import Address, Connector, ListenerDeps, SocketListener, StartError, Stream
from outline_lb.testing.streams import RecordingSink, wait_lost
from outline_lb_transport_tcp.listener import TcpListener
from outline_lb_transport_tcp.options import ListenerOptions


async def prepared(address: str = "127.0.0.1:0") -> TcpListener:
    listener = TcpListener(ListenerOptions(Address.parse(address)), ListenerDeps(bind=SocketListener))
    await listener.prepare()
    return listener


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_free_port_is_taken_when_it_is_prepared(host: str) -> None:
    listener = await prepared(f"{host}:0")
    assert listener.address.port > 0
    with pytest.raises(StartError, match=f"cannot listen on .*{listener.address.port}"):
        await prepared(f"{host}:{listener.address.port}")
    await listener.close()


async def test_accepted_streams_outlive_serving() -> None:
    listener, streams = await prepared(), asyncio.Queue[Stream]()
    task = asyncio.create_task(listener.serve(streams.put_nowait))
    near, client, server = await Connector().connect(listener.address), RecordingSink(), RecordingSink()
    far = await streams.get()
    far.set_sink(server)
    near.set_sink(client)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await listener.close()
    near.resume_reading()
    far.resume_reading()
    near.write(b"still there?")
    near.write_eof()
    assert await server.received(100) == b"still there?"
    far.write(b"yes")
    far.close()
    assert await wait_lost(client) is None
    assert await wait_lost(server) is None
    assert bytes(client.data) == b"yes"


async def test_an_accepted_stream_is_paused() -> None:
    listener, streams = await prepared(), asyncio.Queue[Stream]()
    task = asyncio.create_task(listener.serve(streams.put_nowait))
    near, sink = await Connector().connect(listener.address), RecordingSink()
    near.write(b"early")
    far = await streams.get()
    far.set_sink(sink)
    await asyncio.sleep(0.02)
    assert sink.events == []
    far.resume_reading()
    assert await sink.received(5) == b"early"
    near.abort()
    assert isinstance(await wait_lost(sink), ConnectionResetError)
    task.cancel()
    await asyncio.wait([task])
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


async def test_closing_gives_the_port_back() -> None:
    listener = await prepared()
    address = listener.address
    await listener.close()
    again = await prepared(str(address))
    await again.close()


async def test_one_that_was_never_prepared_can_be_closed() -> None:
    await TcpListener(ListenerOptions(Address("127.0.0.1", 0)), ListenerDeps(bind=SocketListener)).close()
