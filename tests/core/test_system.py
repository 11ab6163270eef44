from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import anyio
import pytest
from channels import packets
from machinery import Door, Machinery, PacketRoad, Road

from outline_lb.base.errors import StartError
from outline_lb.base.packets import Packet
from outline_lb.datapath.balancer import FlowListeners
from outline_lb.datapath.carrier import Carrier
from outline_lb.running.system import LINGER, LOOK, System
from outline_lb.selection.health import HealthOptions
from outline_lb.testing.clock import ClockLoop, settle
from outline_lb.testing.packets import FakeChannel
from outline_lb.testing.streams import FakeStream

pytestmark = pytest.mark.fake_clock


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with anyio.create_task_group() as tasks:
        carrier = Carrier(tasks)
        system = System(tasks, carrier, FlowListeners(), lambda *_: None)
        yield system
        carrier.abort_all()
        await system.close()
        tasks.cancel_scope.cancel()


async def advance(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    loop.autojump = False
    await loop.advance(seconds)


async def begin(door: Door, road: Road) -> tuple[FakeStream, FakeStream]:
    """Begin a flow that takes a road; return its two ends."""
    client, far = FakeStream(), FakeStream()
    dials = len(road.dials)
    door.carry(client)
    (await road.dialled(dials + 1)).answer.set_result(far)
    await settle()
    return client, far


def listens(door: Door) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((door.addresses[0].host, door.addresses[0].port)) == 0


async def test_nothing_is_left_of_a_start_that_fails(system: System) -> None:
    machinery = Machinery()
    with pytest.raises(StartError, match="a bad door"):
        await system.apply(machinery.settings(frontends=("good", "next:bad")))
    good, _ = machinery.built.doors
    assert good.state == machinery.built.roads[0].state == "closed"
    assert not listens(good)
    assert system.frontends == {}


@pytest.mark.parametrize(("upstreams", "frontends"), [(("one:other", "two:bad"), ("local",)), (("one",), ("local:other", "next:bad"))])
async def test_a_change_that_fails_changes_nothing(system: System, upstreams: tuple[str, ...], frontends: tuple[str, ...]) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    [door], [road] = machinery.built.doors, machinery.built.roads
    await settle()
    parts = system.parts
    with pytest.raises(StartError):
        await system.apply(machinery.settings(upstreams, frontends, health=HealthOptions(fail_threshold=9)))
    assert system.parts is parts
    assert (door.state, road.state) == ("serving", "prepared")
    assert listens(door)
    assert [health.options for health in parts.upstreams["one"].upstream.health.values()] == [HealthOptions()]
    assert {other.state for other in machinery.built.doors[1:]} | {other.state for other in machinery.built.roads[1:]} <= {"built", "closed"}


async def test_a_replaced_frontend_hands_its_socket_over_and_may_finish_its_handshakes(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    await settle()
    await system.apply(machinery.settings(frontends=("local:other",), upstreams=("two",)))
    old, new = machinery.built.doors
    await settle()
    assert old.addresses == new.addresses
    assert listens(new)
    assert (old.state, new.state) == ("serving", "serving")
    await begin(old, machinery.built.roads[1])  # its handshake is done: it takes the new way
    await advance(LINGER + 1)
    assert (old.state, new.state) == ("closed", "serving")


async def test_a_replaced_frontend_hands_its_udp_socket_over_and_sends_what_is_on_its_way(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings(frontends=("local:udp",)))
    await settle()
    with pytest.raises(StartError):
        await system.apply(machinery.settings(frontends=("local:udp and more", "next:bad")))
    await system.apply(machinery.settings(frontends=("local:udp too",)))
    old, failed, new = [door.udp for door in machinery.built.doors if door.udp]
    assert old.address == failed.address == new.address
    await settle()
    assert (old.closed, failed.closed, new.closed) == (False, True, False)
    await advance(LINGER + 1)
    assert (old.closed, new.closed) == (True, False)


async def test_udp_sockets_stay_open_until_the_flows_through_them_had_their_time(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings(frontends=("local:udp",)))
    await settle()
    [door] = machinery.built.doors
    assert door.udp
    system.stop_accepting()
    await settle()
    assert not listens(door)
    assert not door.udp.closed
    await system.close()
    await settle()
    assert door.udp.closed


async def test_a_removed_frontend_is_closed(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings(frontends=("local", "other")))
    await settle()
    await system.apply(machinery.settings())
    await settle()
    local, other = machinery.built.doors
    assert (local.state, other.state) == ("serving", "closed")
    assert not listens(other)


async def test_flows_go_on_over_a_removed_upstream_which_is_closed_after_the_last(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    [door], [old] = machinery.built.doors, machinery.built.roads
    client, far = await begin(door, old)
    await system.apply(machinery.settings(("two",)))
    _, new = machinery.built.roads
    await begin(door, new)
    await advance(1000)
    assert old.state == "prepared"
    client.feed(b"still here")
    assert far.take() == b"still here"
    client.feed_eof()
    far.feed_eof()
    await advance(LOOK)
    assert (old.state, new.state) == ("closed", "prepared")
    assert len(old.dials) == 1


async def test_a_dial_under_way_keeps_a_removed_upstream_open(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    [door], [old] = machinery.built.doors, machinery.built.roads
    door.carry(client := FakeStream())
    dial = await old.dialled()
    await system.apply(machinery.settings(("two",)))
    await advance(2 * LOOK)
    assert old.state == "prepared"
    dial.answer.set_result(far := FakeStream())
    await advance(2 * LOOK)
    assert old.state == "prepared"
    client.feed(b"question")
    assert far.take() == b"question"
    far.lose(ConnectionResetError())
    await advance(2 * LOOK)
    assert old.state == "closed"


async def test_packets_leave_a_removed_upstream_which_is_closed_at_once(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings(("one:packets",)))
    [door], [old] = machinery.built.doors, packet_roads(machinery)
    door.carry_packets(client := FakeChannel[Packet]())
    client.feed(*packets("1"))
    await settle()
    old.asked[0].set_result(first := FakeChannel[Packet]())
    await settle()
    await system.apply(machinery.settings(("two:packets",)))
    await advance(LOOK)
    assert (first.sent, first.closed, old.state) == (packets("1"), True, "closed")
    client.feed(*packets("2"))
    await settle()
    packet_roads(machinery)[1].asked[0].set_result(second := FakeChannel[Packet]())
    await settle()
    assert second.sent == packets("2")
    assert not client.closed


async def test_packets_whose_way_was_being_opened_leave_a_removed_upstream_too(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings(("one:packets",)))
    [door], [old] = machinery.built.doors, packet_roads(machinery)
    door.carry_packets(client := FakeChannel[Packet]())
    client.feed(*packets("1"))
    await settle()
    await system.apply(machinery.settings(("two:packets",)))
    await advance(LOOK)
    assert old.state == "prepared"
    old.asked[0].set_result(first := FakeChannel[Packet]())
    await advance(2 * LOOK)
    assert (first.sent, first.closed, old.state) == (packets("1"), True, "closed")
    assert not client.closed


def packet_roads(machinery: Machinery) -> list[PacketRoad]:
    return [road for road in machinery.built.roads if isinstance(road, PacketRoad)]


async def test_monitors_follow_the_pools(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    await advance(60)
    [first] = machinery.built.probes
    assert first.asked > 1
    await system.apply(machinery.settings())
    await advance(60)
    assert machinery.built.probes == [first]
    await system.apply(machinery.settings(health=HealthOptions(interval=1.0)))
    asked = first.asked
    await advance(60)
    _, second = machinery.built.probes
    assert first.asked == asked
    assert second.asked > 1


async def test_what_is_known_about_an_upstream_stays_and_is_judged_anew(system: System) -> None:
    machinery = Machinery()
    await system.apply(machinery.settings())
    await settle()
    upstream = system.parts.upstreams["one"].upstream
    [health] = upstream.health.values()
    assert health.latency == pytest.approx(0.01)
    await system.apply(machinery.settings(("one", "two"), health=HealthOptions(fail_threshold=9)))
    assert system.parts.upstreams["one"].upstream is upstream
    assert health.latency == pytest.approx(0.01)
    assert health.options.fail_threshold == 9


async def test_close_ends_everything() -> None:
    machinery = Machinery()
    async with anyio.create_task_group() as tasks:
        system = System(tasks, Carrier(tasks), FlowListeners(), lambda *_: None)
        await system.apply(machinery.settings())
        await settle()
        await system.close()
    assert machinery.built.doors[0].state == machinery.built.roads[0].state == "closed"
    assert not listens(machinery.built.doors[0])
