"""Tells the service manager how it goes: sd_notify(3), for systemd units with ``Type=notify`` and ``Type=notify-reload``."""

from __future__ import annotations

import os
import socket
import time

import structlog

from ..base.errors import describe

log = structlog.get_logger("net")


def notify(*states: str) -> None:
    """Send states such as ``READY=1`` to the socket that ``$NOTIFY_SOCKET`` names. Without one nothing happens; trouble is logged."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name  # an abstract name (unix(7))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(states).encode(), address)
    except OSError as exc:
        log.warning("cannot tell the service manager", error=describe(exc))


def notify_reloading() -> None:
    """Say that a reload begins; ``READY=1`` says that it has ended."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", "STATUS=reloading")
