"""What a way from our SOCKS5 frontend to targets must carry as packets, whatever servers it leads through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

from origin import PATTERN
from udp_client import Association, associated
from udp_origin import OTHER_PORT, UdpOrigin, udp_origin

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

LARGEST = 4033
"""Bytes that fit into a message of 4,088 with a salt of 32, an IPv4 target of 7 and a tag of 16."""
SIZES = (0, 1, 100, 1255, LARGEST)
BURSTS = ((300, 1255), (300, 155))
SMALL_BURSTS = ((60, 1255), (120, 155))
"""What a UDP socket keeps that nobody has asked to keep more: Linux gives it 212,992 bytes, and takes 2,304 of them for the larger ones."""


def packets(count: int, size: int) -> list[bytes]:
    """Return packets of one size that can be told apart."""
    return [number.to_bytes(4, "big") + PATTERN[number : number + size - 4] for number in range(count)]


async def sizes(proxy: Address, target: Address, wanted: Sequence[int] = SIZES) -> None:
    """Have packets of these sizes sent back, one after the other."""
    async with associated(proxy) as association:
        for size in wanted:
            association.send(target, PATTERN[:size])
            source, data = await association.receive()
            assert (source, len(data)) == (target, size)
            assert sha256(data).digest() == sha256(PATTERN[:size]).digest()


async def burst(proxy: Address, origin: UdpOrigin, count: int, size: int) -> int:
    """Have packets reach a target that leave the application at once; return how many of the answers come back.

    The answers are as much of a burst to the server, whose socket may have no room for all of them.
    """
    sent = packets(count, size)
    async with associated(proxy) as association:
        await association.ask(origin.address, b"opens the way")
        origin.received.clear()
        for data in sent:
            association.send(origin.address, data)
        answers = await received(association, count, 2)
    assert_all_came(sent, Counter(origin.received))
    return answers.total()


async def count_burst(proxy: Address, target: Address, count: int, size: int) -> int:
    """Do as `burst`; return how many came, where nobody promises all of them."""
    async with associated(proxy) as association:
        await association.ask(target, b"opens the way")
        sent = packets(count, size)
        for data in sent:
            association.send(target, data)
        came = await received(association, count, 1)
        strange = came - Counter(sent)
        assert not strange
        return came.total()


async def received(association: Association, count: int, seconds: float = 5) -> Counter[bytes]:
    """Return what comes: so many packets, or fewer if no more come for some time."""
    came: Counter[bytes] = Counter()
    with contextlib.suppress(TimeoutError):
        while came.total() < count:
            came[(await association.receive(seconds))[1]] += 1
    return came


def assert_all_came(sent: Sequence[bytes], came: Counter[bytes]) -> None:
    """Fail unless each packet came once, and nothing else."""
    missing = [number for number, data in enumerate(sent) if not came[data]]
    assert not missing, f"{len(missing)} of {len(sent)} are missing: {missing[:20]}"
    extra = came.total() - len(sent)
    assert not extra


async def large_answers(proxy: Address, host: str, wanted: Sequence[int] = (4034, 4096, 8192, 30_000, 60_000)) -> None:
    """Ask for packets that are larger than those which may be sent."""
    async with giver(host) as target, associated(proxy) as association:
        for size in wanted:
            answer = await association.ask(target, size.to_bytes(4, "big"))
            assert len(answer) == size
            assert sha256(answer).digest() == sha256(PATTERN[:size]).digest()


async def many_targets(proxy: Address, hosts: Sequence[str], count: int = 50, at_once: int = 50) -> None:
    """Use many targets over one association, so many at once, and hear from each."""
    async with contextlib.AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(udp_origin(hosts[number % len(hosts)])) for number in range(count)]
        association = await stack.enter_async_context(associated(proxy))
        came = set()
        for start in range(0, count, at_once):
            some = origins[start : start + at_once]
            for origin in some:
                association.send(origin.address, str(origin.address).encode())
            came |= {await association.receive() for _ in some}
        assert came == {(origin.address, str(origin.address).encode()) for origin in origins}


async def full_cone(proxy: Address, origin: UdpOrigin) -> None:
    """Be answered by somebody who was not asked."""
    async with associated(proxy) as association:
        association.send(origin.address, OTHER_PORT + b" please")
        assert await association.receive() == (origin.other_address, OTHER_PORT + b" please")


async def name(proxy: Address, host: str, origin: UdpOrigin) -> None:
    """Reach a target by a name, which somebody further on looks up."""
    async with associated(proxy) as association:
        association.send(Address(host, origin.address.port), b"by name")
        assert await association.receive() in {(origin.address, b"by name"), (Address(host, origin.address.port), b"by name")}


@contextlib.asynccontextmanager
async def giver(host: str) -> AsyncIterator[Address]:
    """Have a target that answers a number (4 bytes) with as many bytes of the pattern."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))

    def answer() -> None:
        with contextlib.suppress(BlockingIOError):
            data, sender = sock.recvfrom(65536)
            sock.sendto(PATTERN[: int.from_bytes(data, "big")], sender)

    loop = asyncio.get_running_loop()
    loop.add_reader(sock, answer)
    try:
        yield Address(host, sock.getsockname()[1])
    finally:
        loop.remove_reader(sock)
        sock.close()


async def closed(program: Program, count: int, seconds: float = 10) -> list[dict[str, object]]:
    """Wait until so many ways were closed in all, and return what the log says of them.

    :raises TimeoutError: if they are not
    """
    async with asyncio.timeout(seconds):
        while len(lines := program.events("flow closed")) < count:
            await asyncio.sleep(0.05)
    return lines


def assert_healthy(program: Program) -> None:
    """Fail if anything was held against an upstream."""
    for event in ("upstream down", "upstream failed a flow", "flow failed"):
        assert program.events(event) == [], event
    packets = {line["flow"] for line in program.events("flow opened") if line["network"] == "udp"}
    assert [line for line in program.events("flow closed") if line["flow"] in packets and line.get("error")] == []
