from __future__ import annotations

import asyncio

import pytest

from outline_lb_websocket.encoder import ServerEncoder
from outline_lb_websocket.frames import PING, PONG
from outline_lb_websocket.heartbeat import DEAD, QUIET, Heartbeat, Pongs

ENCODER = ServerEncoder()
A_PING = ENCODER.control(PING)


def pong(payload: bytes) -> bytes:
    return ENCODER.control(PONG, payload)


def test_pings_are_answered_in_their_order() -> None:
    pings = [b"one", b"two"]
    assert Pongs(ENCODER).answer(pings, full=False) == pong(b"one") + pong(b"two")
    assert pings == []


def test_while_there_is_no_room_the_last_ping_stands_for_all() -> None:
    pongs = Pongs(ENCODER)
    for number in range(100):
        assert pongs.answer([b"%d" % number], full=True) == b""
    assert pongs.kept() == pong(b"99")
    assert pongs.kept() == b""


def test_who_is_silent_is_pinged_and_then_counts_as_gone() -> None:
    heartbeat = Heartbeat(ENCODER)
    assert [heartbeat.due(False) for _ in range(DEAD)] == [b""] * (QUIET - 1) + [A_PING] * (DEAD - QUIET) + [None]


def test_any_sign_of_life_begins_anew() -> None:
    heartbeat = Heartbeat(ENCODER)
    for _ in range(10):
        assert None not in [heartbeat.due(False) for _ in range(DEAD - 1)]
        heartbeat.heard()


def test_after_a_doubt_one_ping_decides() -> None:
    heartbeat = Heartbeat(ENCODER)
    assert heartbeat.due(True) == A_PING
    assert heartbeat.due(True) == A_PING, "a second doubt waits again"
    assert heartbeat.due(False) is None


async def test_who_asks_is_answered_by_anything() -> None:
    heartbeat = Heartbeat(ENCODER)
    assert heartbeat.ask() == A_PING
    heartbeat.heard()
    heartbeat.heard()
    await heartbeat.answered()


async def test_who_asks_hears_what_ended_it() -> None:
    heartbeat = Heartbeat(ENCODER)
    heartbeat.ask()
    heartbeat.lost(ConnectionResetError())
    heartbeat.lost(TimeoutError())
    with pytest.raises(ConnectionResetError):
        await heartbeat.answered()


async def test_nobody_needs_to_ask() -> None:
    heartbeat = Heartbeat(ENCODER)
    heartbeat.ask()
    asking = asyncio.create_task(heartbeat.answered())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    heartbeat.heard()
    heartbeat.lost(ConnectionResetError())
