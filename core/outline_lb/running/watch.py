"""Sees that the configuration file has another content, however that came about."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio
import structlog
import watchfiles

from ..base.errors import StartError, describe

log = structlog.get_logger("config")

QUIET: Final = 100
"""Milliseconds without another change after which a change counts: editors write in several steps."""
BUSY: Final = 1000
"""Milliseconds after which it counts even so, because something else in the folder changes all the time."""
LOOK: Final = 5.0
"""Seconds between two looks at the content where the system tells of no change: network file systems, folders that come later."""
_MAX_LINKS = 40


class ConfigFile:
    """A file whose content is known, and watched.

    :param path: the file
    :raises StartError: if it cannot be read
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: bytes | None = None
        try:
            mode = path.stat().st_mode
            self._once = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)  # <(…), /dev/stdin: what is read here is gone
            if not self._once:
                self._seen = _digest(path)
        except OSError as exc:
            raise StartError(f"{path}: cannot be read: {describe(exc)}") from exc

    def look(self) -> bool:
        """Look at the content, and tell whether it is another one than at the last look. A file that is not there is no change."""
        if self._once:
            return False
        try:
            found = _digest(self.path)
        except OSError:
            return False
        before, self._seen = self._seen, found
        return found != before

    async def watch(self, changed: Callable[[], object]) -> None:
        """Look at the content whenever something happens on the way to the file, until cancelled.

        :param changed: called after each look that found another content
        """
        told = False
        while not self._once:
            try:
                await self._watch(changed, way_to(self.path))
            except* (OSError, RuntimeError):  # a folder is not there, or the system watches enough already
                if not told:
                    told = True
                    log.info("looking at the configuration file from time to time", file=str(self.path), seconds=LOOK)
                await anyio.sleep(LOOK)
                await self._look(changed)

    async def _watch(self, changed: Callable[[], object], folders: set[Path]) -> None:
        """Watch folders, until they are not the right ones any more."""
        stop = anyio.Event()
        notices = watchfiles.awatch(
            *folders,
            watch_filter=None,
            debounce=BUSY,
            step=QUIET,
            stop_event=stop,
            rust_timeout=int(LOOK * 1000),
            yield_on_timeout=True,
            recursive=False,
        )
        async with anyio.create_task_group() as tasks, aclosing(notices):
            tasks.start_soon(_set_when_cancelled, stop)
            tasks.start_soon(self._look, changed)  # runs when the folders are watched: for what happened just before
            async for _ in notices:
                await self._look(changed)
                if way_to(self.path) != folders:
                    break
            tasks.cancel_scope.cancel()

    async def _look(self, changed: Callable[[], object]) -> None:
        if await anyio.to_thread.run_sync(self.look):
            changed()


def way_to(file: Path) -> set[Path]:
    """Return the folders in which something happens when the content of a file becomes another one: the one where it really is, and that of each
    symbolic link on the way to it. Kubernetes swaps the link to the folder that holds a ConfigMap's files.
    """
    folders = set()
    path = file.absolute()
    for _ in range(_MAX_LINKS):
        link = next((step for step in (*reversed(path.parents), path) if step.is_symlink()), None)
        if link is None:
            break
        folders.add(link.parent)
        path = link.parent / link.readlink() / path.relative_to(link)
    return {*folders, path.parent}


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


async def _set_when_cancelled(stop: anyio.Event) -> None:
    """The thread that watches ends by this alone."""
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()
