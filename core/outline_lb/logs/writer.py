"""Takes lines to an output that may be full, closed, or read by nobody: lines get lost then, and are counted, but nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LIMIT: Final = 1024 * 1024
"""Bytes that may wait to be written."""
PAUSE: Final = 0.05
"""Seconds before an output that another program has made non-blocking is tried again."""


class Writer:
    """Writes lines in a thread of its own, because the only harmless way to write to an output that is shared with others is a blocking one.

    :param write: as `os.write`: takes bytes, returns how many it took, raises OSError
    :param tell_lost: makes the line that says how many were lost, which is written as soon as anything can be
    """

    def __init__(self, write: Callable[[memoryview], int], tell_lost: Callable[[int], bytes]) -> None:
        self._write = write
        self._tell_lost = tell_lost
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._waiting = 0  # bytes
        self._lost = 0
        self._closed = False
        self._cut = False  # the output ends inside a line
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)  # it may hang for ever
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Have a line written. Never waits, and may be called from any thread."""
        with self._changed:
            if self._closed or self._waiting + len(line) > LIMIT:
                self._lost += 1
            else:
                self._lines.append(line)
                self._waiting += len(line)
                self._changed.notify()

    def close(self, seconds: float) -> None:
        """Write what waits, and end.

        :param seconds: that this may take
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while lines := self._take():
            self._tell_loss()
            for line in lines:
                written = self._send(line)
                with self._changed:
                    self._waiting -= len(line)
                    self._lost += not written
        self._tell_loss()

    def _take(self) -> list[bytes]:
        """Wait for lines; none means the end."""
        with self._changed:
            while not self._lines and not self._closed:
                self._changed.wait()
            lines, self._lines = self._lines, []
            return lines

    def _tell_loss(self) -> None:
        lost = self._lost
        if lost and self._send(self._tell_lost(lost)):
            with self._changed:
                self._lost -= lost

    def _send(self, line: bytes) -> bool:
        rest = whole = memoryview(b"\n" + line if self._cut else line)
        try:
            while rest:
                try:
                    rest = rest[self._write(rest) :]
                except BlockingIOError:
                    time.sleep(PAUSE)
        except (OSError, ValueError):  # ValueError: Python closed it
            self._cut = self._cut or len(rest) < len(whole)
            return False
        self._cut = False
        return True
