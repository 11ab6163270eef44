"""An origin for packets: sends back what comes. What begins with ``OTHER_PORT`` is answered from another port.

For a process of its own, in a network namespace say: ``python udp_origin.py HOST PORT``; prints ``ready``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

from outline_lb.base.address import Address

OTHER_PORT: Final = b"other"
"""What a datagram begins with whose answer comes from the other port."""
BUFFER: Final = 1 << 20
"""Bytes that the kernel is asked to keep: what is lost in a test is not to be lost here."""
_BATCH = 64


class UdpOrigin:
    """Two ports on one address of this machine.

    :param host: IP address
    :param port: of the first one; 0: any
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.received: list[bytes] = []
        self._socks = [_bound(host, port), _bound(host, 0)]
        self.address, self.other_address = (Address(host, sock.getsockname()[1]) for sock in self._socks)
        for sock in self._socks:
            asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    async def until(self, count: int, seconds: float = 10) -> list[bytes]:
        """Wait until so many datagrams came in all, and return them.

        :raises TimeoutError: if they do not come
        """
        async with asyncio.timeout(seconds):
            while len(self.received) < count:
                await asyncio.sleep(0.002)
        return self.received

    def close(self) -> None:
        """Give both ports back."""
        for sock in self._socks:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    def _readable(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(_BATCH):
                self._take(sock, *sock.recvfrom(65536))

    def _take(self, sock: socket.socket, data: bytes, sender: Any) -> None:
        self.received.append(data)
        with contextlib.suppress(OSError):
            self._socks[data.startswith(OTHER_PORT) ^ (sock is self._socks[1])].sendto(data, sender)


@contextlib.asynccontextmanager
async def udp_origin(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[UdpOrigin]:
    """Have an origin for a block.

    :param host: IP address of this machine
    :param port: 0: any
    """
    origin = UdpOrigin(host, port)
    try:
        yield origin
    finally:
        origin.close()


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def main() -> None:
    """Serve on the address of the command line."""
    async with udp_origin(sys.argv[1], int(sys.argv[2])):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
