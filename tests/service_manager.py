"""A service manager for tests: hears what programs say through $NOTIFY_SOCKET, as systemd does."""

from __future__ import annotations

import asyncio
import socket


class ServiceManager:
    """Listens at a Unix socket.

    :param name: a path, or an abstract name that begins with NUL
    """

    def __init__(self, name: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(name)
        self._sock.setblocking(False)

    async def told(self) -> list[str]:
        """Wait for a message, and return its lines."""
        message = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 4096), 15)
        return message.decode().split("\n")

    def close(self) -> None:
        """Listen no more."""
        self._sock.close()
