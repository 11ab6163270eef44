from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from channels import packets
from structlog.testing import capture_logs

from outline_lb.base.address import Address
from outline_lb.base.dialer import StreamDialer
from outline_lb.base.errors import AbortedError, DialError, Reason, TargetError, UpstreamError
from outline_lb.base.flow import Flow, Network
from outline_lb.base.packets import Packet
from outline_lb.base.stream import Stream
from outline_lb.datapath.carrier import EARLY, Carrier
from outline_lb.net.socket import SocketStream
from outline_lb.testing.candidates import fake_flow
from outline_lb.testing.clock import settle
from outline_lb.testing.dialers import Dial, FakeDialer
from outline_lb.testing.packets import FakeChannel
from outline_lb.testing.streams import FakeStream

FLOW = Flow("test", Network.TCP, None, "", Address("example.com", 443), 0.0)


class Carried:
    """One flow under test: the client's stream, the dialer, and what the frontend hears."""

    def __init__(self, carrier: Carrier, first: bytes = b"", dialer: StreamDialer | None = None) -> None:
        self.client = FakeStream()
        self.dialer = FakeDialer()
        self.heard: list[Stream | DialError] = []
        carrier.carry(FLOW, self.client, dialer or self.dialer, self._opened, self.heard.append, first)

    def _opened(self, stream: Stream) -> None:
        self.heard.append(stream)
        self.client.write(b"<go ahead>")

    async def dialled(self) -> Dial:
        return await self.dialer.dialled()

    async def answer(self, stream: Stream) -> None:
        (await self.dialled()).answer.set_result(stream)
        await settle()


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with anyio.create_task_group() as tasks:
        yield Carrier(tasks)
        tasks.cancel_scope.cancel()


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_dials_with_what_is_there_and_joins_the_streams(carrier: Carrier) -> None:
    flow, far = Carried(carrier, b"hello"), FakeStream()
    dial = await flow.dialled()
    assert (dial.flow, dial.first) == (FLOW, b"hello")
    await flow.answer(far)
    assert flow.heard == [far]
    flow.client.feed(b"question")
    far.feed(b"answer")
    assert far.take() == b"question"
    assert flow.client.take() == b"<go ahead>answer"


async def test_the_frontend_speaks_before_the_target_does(carrier: Carrier) -> None:
    flow, far = Carried(carrier), FakeStream()
    far.feed(b"220 smtp")  # there before the relay reads
    await flow.answer(far)
    assert flow.client.take() == b"<go ahead>220 smtp"


async def test_what_comes_during_the_dial_follows_in_order(carrier: Carrier) -> None:
    flow, far = Carried(carrier, b"1"), FakeStream()
    await flow.dialled()
    flow.client.feed(b"2")
    flow.client.feed(b"3")
    await flow.answer(far)
    flow.client.feed(b"4")
    assert far.take() == b"234"


async def test_an_end_during_the_dial_is_passed_on(carrier: Carrier) -> None:
    flow, far = Carried(carrier), FakeStream()
    await flow.dialled()
    flow.client.feed(b"request")
    flow.client.feed_eof()
    await flow.answer(far)
    assert far.take() == b"request"
    assert "write_eof" in far.calls
    far.feed(b"answer")
    far.feed_eof()
    assert flow.client.take() == b"<go ahead>answer"
    assert flow.client.calls[-2:] == ["write_eof", "close"]


async def test_a_client_that_talks_too_much_during_the_dial_is_not_read_any_more(carrier: Carrier) -> None:
    flow, far = Carried(carrier), FakeStream()
    await flow.dialled()
    flow.client.feed(b"a" * (EARLY - 1))
    assert not flow.client.paused
    flow.client.feed(b"bc")
    assert flow.client.paused
    flow.client.feed(b"d")
    await flow.answer(far)
    assert far.take() == b"a" * (EARLY - 1) + b"bcd"
    assert not flow.client.paused


async def test_a_client_that_goes_away_ends_the_dial(carrier: Carrier) -> None:
    flow = Carried(carrier)
    dial = await flow.dialled()
    flow.client.lose(ConnectionResetError())
    await settle()
    assert dial.answer.cancelled()
    assert flow.heard == []


async def test_a_client_that_is_gone_from_the_start_ends_the_dial(carrier: Carrier) -> None:
    flow = Carried(carrier)
    flow.client.lose(ConnectionResetError())
    await settle()
    assert [dial.answer.cancelled() for dial in flow.dialer.dials] in ([], [True])
    assert flow.heard == []


async def test_a_client_that_goes_away_while_the_stream_comes_leaves_none_open(carrier: Carrier) -> None:
    flow, far = Carried(carrier), FakeStream()
    dial = await flow.dialled()
    dial.answer.set_result(far)
    flow.client.lose(ConnectionResetError())
    await settle()
    assert far.calls == ["abort"]
    assert flow.heard == []


async def test_a_real_reset_is_noticed_during_the_dial(carrier: Carrier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        client, dialer = SocketStream(server.accept()[0]), FakeDialer()
        carrier.carry(FLOW, client, dialer, lambda _: None, lambda _: None)
        dial = await dialer.dialled()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(dial.answer), 5)
        assert dial.answer.cancelled()


@pytest.mark.parametrize("error", [UpstreamError("connect", ConnectionRefusedError()), TargetError("connect", "no", reason=Reason.REFUSED)])
async def test_a_dial_that_fails_is_the_frontends_to_tell(carrier: Carrier, error: DialError) -> None:
    flow = Carried(carrier)
    (await flow.dialled()).answer.set_exception(error)
    await settle()
    assert flow.heard == [error]
    assert not flow.client.over  # the frontend closes it, after it has told why


async def test_a_defect_in_a_dialer_fails_its_flow_and_no_other(carrier: Carrier) -> None:
    bad, good, far = Carried(carrier), Carried(carrier), FakeStream()
    with capture_logs() as logs:
        (await bad.dialled()).answer.set_exception(ZeroDivisionError("a defect"))
        await settle()
    (error,) = bad.heard
    assert isinstance(error, UpstreamError)
    assert isinstance(error.cause, ZeroDivisionError)
    assert [(line["event"], line["log_level"], line["exc_info"]) for line in logs] == [("flow failed", "error", True)]
    await good.answer(far)
    good.client.feed(b"works")
    assert far.take() == b"works"


async def test_cancelling_aborts_the_clients_that_wait() -> None:
    async with anyio.create_task_group() as tasks:
        flow = Carried(Carrier(tasks))
        dial = await flow.dialled()
        tasks.cancel_scope.cancel()
    assert dial.answer.cancelled()
    assert flow.client.calls[-1] == "abort"
    assert flow.heard == []


async def test_cancelling_leaves_the_flows_that_are_joined() -> None:
    far = FakeStream()
    async with anyio.create_task_group() as tasks:
        flow = Carried(Carrier(tasks))
        await flow.answer(far)
        tasks.cancel_scope.cancel()
    flow.client.feed(b"still here")
    assert far.take() == b"still here"


async def test_abort_all_resets_both_sides_of_every_flow(carrier: Carrier) -> None:
    flows = [(Carried(carrier), FakeStream()) for _ in range(3)]
    for flow, far in flows:
        await flow.answer(far)
    carrier.abort_all()
    for flow, far in flows:
        for stream in flow.client, far:
            assert stream.calls[-1] == "abort"
            assert isinstance(stream.cause, AbortedError)
    await settle()
    carrier.abort_all()  # nothing is left, nothing happens


async def test_abort_all_knows_only_the_flows_that_are_not_over(carrier: Carrier) -> None:
    flow, far = Carried(carrier), FakeStream()
    await flow.answer(far)
    far.feed_eof()
    flow.client.feed_eof()
    await settle()
    carrier.abort_all()
    assert flow.client.calls[-1] == far.calls[-1] == "close"


# -- packets


def associated(carrier: Carrier, first: list[Packet] | None = None) -> tuple[FakeChannel[Packet], FakeDialer]:
    """Begin a flow of packets."""
    client, dialer = FakeChannel[Packet](), FakeDialer()
    carrier.carry_packets(fake_flow(Network.UDP), client, dialer, first)
    return client, dialer


async def test_packets_go_both_ways_and_what_is_there_first(carrier: Carrier) -> None:
    client, dialer = associated(carrier, packets("1", "2"))
    [far] = dialer.channels
    assert dialer.flows[0].network is Network.UDP
    client.feed(*packets("3"))
    far.feed(*packets("answer"))
    assert far.batches == [packets("1", "2"), packets("3")]
    assert client.batches == [packets("answer")]
    assert carrier.active == 1
    client.close()


async def test_nothing_is_sent_where_nothing_is_there(carrier: Carrier) -> None:
    client, dialer = associated(carrier)
    assert dialer.channels[0].batches == []
    client.close()


@pytest.mark.parametrize("end", ["client", "far"])
async def test_a_flow_of_packets_is_active_until_both_channels_are_over_and_nobody_waits_for_it(carrier: Carrier, end: str) -> None:
    client, dialer = associated(carrier, packets("1"))
    [far] = dialer.channels
    await carrier.drained()
    first, other = (client, far) if end == "client" else (far, client)
    first.lose()
    assert other.closed
    assert (carrier.active, carrier.streams) == (1, 0)
    await settle()
    assert carrier.active == 0


async def test_abort_all_closes_both_channels_of_every_flow(carrier: Carrier) -> None:
    flows = [associated(carrier, packets("1")) for _ in range(3)]
    carrier.abort_all()
    assert all(client.closed and dialer.channels[0].closed for client, dialer in flows)
    assert carrier.active == 3, "over from the loop only"
    await settle()
    assert carrier.active == 0
    carrier.abort_all()


@pytest.mark.usefixtures("without_gc")
async def test_nothing_of_a_flow_of_packets_is_left_for_the_collector(carrier: Carrier) -> None:
    client, dialer = associated(carrier, packets("1"))
    remains = weakref.ref(client), weakref.ref(dialer.channels[0])
    client.lose()
    await settle()
    del client, dialer
    assert [ref() for ref in remains] == [None, None]


# -- the end


@pytest.mark.parametrize("how", ["carried", "failed", "given up"])
async def test_it_is_drained_when_the_last_flow_is_over(carrier: Carrier, how: str) -> None:
    await carrier.drained()  # at once
    first, far = Carried(carrier), FakeStream()
    await first.answer(far)
    last = Carried(carrier)
    assert carrier.active == 2
    drained = asyncio.create_task(carrier.drained())
    far.lose(ConnectionResetError())
    await settle()
    assert carrier.active == 1
    assert not drained.done()
    if how == "carried":
        await last.answer(far := FakeStream())
        assert not drained.done()
        last.client.feed_eof()
        far.feed_eof()
    elif how == "failed":
        (await last.dialled()).answer.set_exception(UpstreamError("connect", "no"))
    else:
        last.client.lose(ConnectionResetError())
    await settle()
    assert carrier.active == 0
    assert drained.done()


@pytest.mark.parametrize("how", ["carried", "failed", "given up"])
@pytest.mark.usefixtures("without_gc")
async def test_nothing_is_left_for_the_collector(carrier: Carrier, how: str) -> None:
    flow, far = Carried(carrier), FakeStream()
    dial = await flow.dialled()
    if how == "carried":
        flow.client.feed(b"early")
        await flow.answer(far)
        flow.client.feed_eof()
        far.feed_eof()
    elif how == "failed":
        dial.answer.set_exception(UpstreamError("connect", "no"))
        await settle()
        flow.client.close()
    else:
        flow.client.lose(ConnectionResetError())
    await settle()
    flow.heard.clear()  # an error knows the frames that it came through
    flow.dialer.dials.clear()
    remains = weakref.ref(flow.client), weakref.ref(far)
    del flow, far, dial
    await settle()
    assert [ref() for ref in remains] == [None, None]
