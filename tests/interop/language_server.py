"""yaml-language-server, which editors ask: from the npm registry into build/, and spoken to over stdio (Language Server Protocol 3.17)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from programs import NO_SKIP, require_program

VERSION: Final = "1.25.0"
FOLDER: Final = Path(__file__).parents[2] / "build" / f"yaml-language-server-{VERSION}"
PROGRAM: Final = FOLDER / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
SETTINGS: Final = {"yaml": {"schemaStore": {"enable": False}, "validate": True, "completion": True}}
"""Without the schema store, nothing is fetched from anywhere."""


def require_language_server() -> list[str]:
    """Return the command that starts it; install it if it is not there, and skip the test where that is not possible."""
    node, npm = require_program("node", "apt-get install nodejs"), require_program("npm", "apt-get install npm")
    if not PROGRAM.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--ignore-scripts", f"yaml-language-server@{VERSION}"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            reason = f"yaml-language-server cannot be installed: {done.stderr.strip()[-300:]}"
            pytest.fail(reason, pytrace=False) if "npm" in os.environ.get(NO_SKIP, "").split() else pytest.skip(reason)
    return [node, str(PROGRAM), "--stdio"]


class LanguageServer:
    """A session with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._count = 0

    @classmethod
    async def start(cls, command: list[str]) -> LanguageServer:
        """Start one."""
        pipe = asyncio.subprocess.PIPE
        server = cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL))
        capabilities = {"workspace": {"configuration": True}, "textDocument": {}}
        await server.request("initialize", {"processId": None, "rootUri": None, "capabilities": capabilities})
        await server._send({"method": "initialized", "params": {}})
        return server

    async def stop(self) -> None:
        """End it."""
        try:
            await self.request("shutdown", None)
            await self._send({"method": "exit"})
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.communicate()

    async def diagnostics(self, uri: str, text: str) -> list[tuple[int, str]]:
        """Open a text; return lines, from 1, and what is wrong there."""
        item = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        await self._send({"method": "textDocument/didOpen", "params": {"textDocument": item}})
        message = await self._until(lambda message: message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri)
        return [(found["range"]["start"]["line"] + 1, found["message"]) for found in message["params"]["diagnostics"]]

    async def completions(self, uri: str, line: int, column: int) -> set[str]:
        """Return what could be written at a place, both from 1, in an open text."""
        position = {"line": line - 1, "character": column - 1}
        result = await self.request("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
        return {item["label"] for item in (result["items"] if isinstance(result, dict) else result)}

    async def request(self, method: str, params: Any) -> Any:
        """Ask, and return the answer."""
        self._count += 1
        number = self._count
        await self._send({"id": number, "method": method, "params": params})
        return (await self._until(lambda message: message.get("id") == number and "method" not in message))["result"]

    async def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                message = await self._receive()
                if "method" in message and "id" in message:
                    await self._send({"id": message["id"], "result": _answer(message)})
                if wanted(message):
                    return message

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await self._process.stdin.drain()

    async def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        head = (await self._process.stdout.readuntil(b"\r\n\r\n")).decode().lower()
        (length,) = (int(line.partition(":")[2]) for line in head.splitlines() if line.startswith("content-length:"))
        message: dict[str, Any] = json.loads(await self._process.stdout.readexactly(length))
        return message


def _answer(message: dict[str, Any]) -> Any:
    if message["method"] != "workspace/configuration":
        return None
    return [SETTINGS.get(item.get("section", ""), {}) for item in message["params"]["items"]]
