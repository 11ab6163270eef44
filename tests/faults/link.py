"""A bad line between two network namespaces, as a process of its own; needs root and /dev/net/tun, no kernel module.

``python link.py NAMESPACE_A DEVICE_A ADDRESS_A NAMESPACE_B DEVICE_B ADDRESS_B [KEY=VALUE ...]``

Makes a TUN device in each namespace and carries the IP packets between them. Prints ``ready``. Each line on standard input changes the line while
traffic goes over it (``loss=100``, ``delay=200 loss=0``); at its end, or after ``stats``, prints what happened as JSON. The end of standard input
ends the program, so that it cannot outlive the test, and the devices end with it.

=============  ======================================================================
delay          milliseconds one way
loss           percent of packets that vanish
reorder        percent of packets that overtake: they have no delay
duplicate      percent of packets that come twice
corrupt        percent of packets with a flipped bit behind the IP header: checksums find it
forge          percent of TCP segments with a flipped bit in the payload and a checksum that fits: only TLS and the cipher can find it
rate           bits per second, 0: no limit
queue          packets that may wait in each direction; what comes on top is dropped
hole           bytes: longer packets vanish without a word, as where ICMP is filtered (a black hole for path MTU discovery); 0: none
=============  ======================================================================
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import Final

DEFAULTS: Final[dict[str, float]] = {
    "delay": 0,
    "loss": 0,
    "reorder": 0,
    "duplicate": 0,
    "corrupt": 0,
    "forge": 0,
    "rate": 0,
    "queue": 1000,
    "hole": 0,
}
BATCH: Final = 64  # packets that are read from one side before the other has its turn
_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001
_TCP = 6


def enter(namespace: str) -> None:
    """Move this thread into a network namespace (Python has `os.setns` from 3.12 on).

    :param namespace: a path, such as ``/run/netns/NAME``
    :raises OSError: if that is not allowed
    """
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), namespace)
    finally:
        os.close(descriptor)


def open_device(namespace: str, device: str, address: str, peer: str) -> int:
    """Make a TUN device that leads from one address to the other; return its descriptor."""
    enter(f"/run/netns/{namespace}")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
    subprocess.run(["ip", "address", "add", address, "peer", peer, "dev", device], check=True)
    subprocess.run(["ip", "link", "set", device, "mtu", "1500", "up"], check=True)
    return descriptor


class Line:
    """The line: packets that are under way, and what is done to them.

    :param seed: of all chance
    """

    def __init__(self, seed: int = 1) -> None:
        self.options = dict(DEFAULTS)
        self.stats: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._under_way: list[tuple[float, int, int, bytes]] = []  # due, number, descriptor, packet
        self._number = 0
        self._waiting: Counter[int] = Counter()  # by descriptor
        self._free_at: dict[int, float] = {}  # by descriptor: when the last packet has left a line of limited rate

    def change(self, settings: str) -> None:
        """Read ``key=value`` pairs."""
        for pair in settings.split():
            key, _, value = pair.partition("=")
            self.options[key.strip()] = float(value)
            assert self.options.keys() == DEFAULTS.keys(), key

    def take(self, packet: bytes, out: int, now: float) -> None:
        """Put a packet on the line to a descriptor, or lose it."""
        options = self.options
        if options["hole"] and len(packet) > options["hole"]:
            self.stats["swallowed"] += 1
            return
        if self._chance("loss"):
            self.stats["lost"] += 1
            return
        copies = 2 if self._chance("duplicate") else 1
        self.stats["duplicated"] += copies - 1
        for _ in range(copies):
            if self._waiting[out] >= options["queue"]:
                self.stats["dropped"] += 1
                return
            self._send(self._damage(packet), out, now)

    def deliver(self, now: float) -> None:
        """Write the packets that are due."""
        while self._under_way and self._under_way[0][0] <= now:
            _, _, out, packet = heapq.heappop(self._under_way)
            self._waiting[out] -= 1
            try:
                os.write(out, packet)
                self.stats["delivered"] += 1
            except OSError:  # the device's queue is full, or it refuses what we damaged
                self.stats["dropped"] += 1

    def next_due(self, now: float) -> float | None:
        """Return the seconds until a packet is due; None if none is under way."""
        return max(0.0, self._under_way[0][0] - now) if self._under_way else None

    def _chance(self, key: str) -> bool:
        percent = self.options[key]
        return bool(percent) and self._random.random() * 100 < percent

    def _damage(self, packet: bytes) -> bytes:
        if self._chance("corrupt"):
            self.stats["corrupted"] += 1
            return flip(packet, self._random.randrange(20, len(packet)))
        if self.options["forge"] and (start := payload_start(packet)) and self._chance("forge"):
            self.stats["forged"] += 1
            return forge(packet, self._random.randrange(start, len(packet)))
        return packet

    def _send(self, packet: bytes, out: int, now: float) -> None:
        due = now
        if self.options["rate"]:
            due = self._free_at[out] = max(now, self._free_at.get(out, now)) + len(packet) * 8 / self.options["rate"]
        if not self._chance("reorder"):
            due += self.options["delay"] / 1000
        self._number += 1
        self._waiting[out] += 1
        heapq.heappush(self._under_way, (due, self._number, out, packet))


def payload_start(packet: bytes) -> int:
    """Return where the payload of a TCP segment over IPv4 begins; 0 if there is none."""
    if packet[0] >> 4 != 4 or packet[9] != _TCP:
        return 0
    header = (packet[0] & 15) * 4
    start = header + (packet[header + 12] >> 4) * 4
    return start if start < len(packet) else 0


def flip(packet: bytes, place: int) -> bytes:
    """Flip a bit of one byte."""
    return packet[:place] + bytes([packet[place] ^ 1]) + packet[place + 1 :]


def forge(packet: bytes, place: int) -> bytes:
    """Flip a bit of a TCP payload over IPv4, and mend the checksum (RFC 1624, equation 3)."""
    forged = bytearray(flip(packet, place))
    header = (packet[0] & 15) * 4
    even = header + (place - header) // 2 * 2
    before, after = (int.from_bytes((bytes(data[even : even + 2]) + b"\0")[:2], "big") for data in (packet, forged))
    checksum = int.from_bytes(packet[header + 16 : header + 18], "big")
    total = (checksum ^ 0xFFFF) + (before ^ 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    forged[header + 16 : header + 18] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(forged)


def carry(line: Line, one: int, two: int) -> None:
    """Carry packets between two descriptors until standard input ends."""
    selector = selectors.DefaultSelector()
    for here, there in ((one, two), (two, one)):
        selector.register(here, selectors.EVENT_READ, there)
    selector.register(sys.stdin, selectors.EVENT_READ)
    os.set_blocking(sys.stdin.fileno(), False)
    while True:
        line.deliver(time.monotonic())
        for key, _ in selector.select(line.next_due(time.monotonic())):
            if key.data is None:
                commands = os.read(sys.stdin.fileno(), 4096).decode()
                if not commands:
                    return
                for command in commands.splitlines():
                    if command == "stats":
                        print(json.dumps(line.stats), flush=True)
                    else:
                        line.change(command)
                continue
            for _packet in range(BATCH):
                try:
                    packet = os.read(key.fd, 65536)
                except BlockingIOError:
                    break
                line.take(packet, key.data, time.monotonic())


def main() -> None:
    """Make the devices, and carry."""
    namespace_a, device_a, address_a, namespace_b, device_b, address_b, *settings = sys.argv[1:]
    line = Line()
    line.change(" ".join(settings))
    one = open_device(namespace_a, device_a, address_a, address_b)
    two = open_device(namespace_b, device_b, address_b, address_a)
    print("ready", flush=True)
    carry(line, one, two)


if __name__ == "__main__":
    main()
