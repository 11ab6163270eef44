"""The examples in Markdown pages, and what makes them run.

The word behind the language of a block says what it is::

    ```yaml client.yaml       a file; the commands of the page see it
    ```console run            commands behind "$ ", and what they print; "..." stands for anything
    ```console serve          the same with one command that goes on; it has printed this before the next block begins
    ```yaml wrong.yaml broken a file that is not accepted
    ```python contrib/x.py    the file, or a part of it

A page with ``run`` or ``serve`` is a story: its blocks run in order, in one empty folder. A block of YAML is a configuration, or a part of one.
"""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs import require_program

SECONDS = 30.0
_BLOCK = re.compile(r"^( *)```(\w+)(?: +(\S+))?(?: +(broken))?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PORT = re.compile(r"(?<=[\w\]]:)\d{4,5}\b")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :param place: page and line, for people
    :param language: the first word behind the fence
    :param role: the second; "" if there is none
    :param broken: whether it is to be wrong
    :param text: what is in it
    """

    place: str
    language: str
    role: str
    broken: bool
    text: str


def blocks(page: Path, root: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        content = re.sub(f"^{match[1]}", "", match[5], flags=re.MULTILINE)
        found.append(Block(f"{page.relative_to(root)}:{line}", match[2], match[3] or "", match[4] is not None, content))
    return found


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n", "\\\\\0", part).partition("\n")
        yield command.replace("\0", "\n"), output


def whole(fragment: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a part of a configuration with what it leaves out, so that it can be loaded."""
    parts = {"listen": {"frontends": {"server": {"type": "outline-server", **fragment}}}}.get(next(iter(fragment)), fragment)
    config: dict[str, Any] = {"version": 1, **parts}
    config.setdefault("frontends", {"local": {"type": "socks5"}})
    for frontend in config["frontends"].values():
        if frontend["type"] == "outline-server":
            frontend.setdefault("keys", {"user": {"secret": "secret"}})
    members = [member for pool in (config.get("pools") or {}).values() for member in pool.get("upstreams", ())]
    names = [member if isinstance(member, str) else member["name"] for member in members] or ["internet"]
    config.setdefault("upstreams", {name: {"transport": "direct"} for name in names})
    return config


class Story:
    """The blocks of a page, at work.

    :param folder: where; empty
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, str] = {}
        self._programs: list[_Program] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "COLUMNS": "150", "TERM": "xterm"}

    def tell(self, page: list[Block]) -> None:
        """Run the blocks, and compare."""
        for port in {port for block in page for port in _PORT.findall(block.text)}:
            self._ports[port] = str(_free_port())
        try:
            for block in page:
                self._do(block, self._with_our_ports(block.text))
        finally:
            for program in self._programs:
                program.end()

    def _do(self, block: Block, text: str) -> None:
        if block.language != "console":
            if "." in block.role and "/" not in block.role:
                (self._folder / block.role).write_text(text)
        elif block.role:
            for command, output in commands(text):
                self._require(command)
                printed = self._start(command, output) if block.role == "serve" else self._run(command)
                assert matches(output, printed), f"{block.place}: $ {command}\nprinted\n{printed}\ninstead of\n{output}"

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def _start(self, command: str, output: str) -> str:
        program = _Program(command, self._folder, self._environment)
        self._programs.append(program)
        return program.wait_for(output)

    def _with_our_ports(self, text: str) -> str:
        return re.sub(r"\b\d{4,5}\b", lambda match: self._ports.get(match[0], match[0]), text)

    @staticmethod
    def _require(command: str) -> None:
        for program in (word for part in re.split(r"[|;]|&&", command) for word in shlex.split(part, comments=True)[:1]):
            if re.fullmatch(r"[\w-]+", program):
                require_program(program, f"apt-get install {program}") if program not in {"outline-lb", "export", "cd"} else None


def _free_port() -> int:
    """Return a port that is free, and that the system gives to nobody by itself: it will be needed only later."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class _Program:
    """A command that goes on, at a terminal of its own."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._terminal, theirs = pty.openpty()
        self._printed = bytearray()
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._terminal, 65536):
                self._printed += data
        except OSError:  # the other end is gone
            pass

    def wait_for(self, output: str) -> str:
        """Return what it printed, once that is what was expected, or no hope is left."""
        end = time.monotonic() + SECONDS
        while True:
            printed = _COLOUR.sub("", self._printed.decode(errors="replace")).replace("\r\n", "\n")
            if matches(output, printed) or time.monotonic() > end or self._process.poll() is not None:
                return printed
            time.sleep(0.02)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        os.close(self._terminal)


def matches(expected: str, printed: str) -> bool:
    """Tell whether this was printed: runs of blanks are one, and ``...`` stands for anything."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in expected.split("...")]
    return re.fullmatch(r"\s*" + r".*?".join(rf"\s*{part}\s*" for part in parts), printed, re.DOTALL) is not None
