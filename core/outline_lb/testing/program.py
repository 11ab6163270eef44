"""Runs outline-lb as a process of its own: for acceptance from outside, with real signals and a real log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from ..base.address import Address
from ..base.errors import StartError

START_TIMEOUT: Final = 20.0


@dataclass(slots=True)
class Program:
    """An outline-lb process that listens.

    :param name: for messages
    :param process: the process
    :param log: where its lines go, as JSON
    """

    name: str
    process: asyncio.subprocess.Process
    log: Path
    _address: Address | None = None

    @classmethod
    async def start(
        cls, name: str, config: object, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Program:
        """Start a process, and wait until it listens. Its lines are as many as ``--log-level debug`` gives.

        :param name: of the files in the folder
        :param config: what the configuration file says, as plain data
        :param folder: for configuration and log
        :param arguments: more for the command line
        :param environment: more variables; those that would go over the configuration are not inherited
        :param prefix: a command that becomes the program in the end, such as ``nice`` or ``ip netns exec NAME``
        :raises StartError: with its log, if it ends or takes longer than `START_TIMEOUT`
        """
        file, log = folder / f"{name}.yaml", folder / f"{name}.log"
        file.write_text(json.dumps(config, indent=2))  # JSON is YAML
        file.chmod(0o600)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OUTLINE_LB__")}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(*prefix, sys.executable, "-m", "outline_lb", "run", "-c", str(file), "--log-level", "debug", "--log-format", "json", *arguments),
                stdin=subprocess.DEVNULL,
                stderr=output,
                env={**inherited, "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,  # a Ctrl-C is for whoever started it
            )
        program = cls(name, process, log)
        try:
            with anyio.move_on_after(START_TIMEOUT):
                while process.returncode is None:
                    if program.events("listening"):
                        return program
                    await anyio.sleep(0.02)
        except BaseException:  # nobody will ever know of it
            process.kill()
            raise
        await program.stop()
        raise StartError(f"{name} did not start; its log says:\n{log.read_text()}")

    @property
    def address(self) -> Address:
        """Where its first frontend listens first."""
        if self._address is None:
            self._address = Address.parse(self.events("listening")[0]["addresses"][0])
        return self._address

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event that it logged so far."""
        complete = self.log.read_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in complete.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def logged(self, event: str, seconds: float = 10, **fields: object) -> dict[str, Any]:
        """Wait for a line of an event with these fields, and return it.

        :raises TimeoutError: if it does not come
        """
        with anyio.fail_after(seconds):
            while True:
                for line in self.events(event):
                    if all(line.get(key) == value for key, value in fields.items()):
                        return line
                await anyio.sleep(0.02)

    async def carriers(self, flows: int, seconds: float = 10) -> list[str]:
        """Wait until so many flows were opened in all, and return the upstreams that they went to. (Bytes may be faster than lines of the log.)

        :raises TimeoutError: if there are not as many
        """
        with anyio.fail_after(seconds):
            while len(opened := self.events("flow opened")) < flows:
                await anyio.sleep(0.02)
        return [str(line["upstream"]) for line in opened]

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """End it without waiting for its flows, and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)  # of two equal signals one may get lost
        return await self.process.wait()
