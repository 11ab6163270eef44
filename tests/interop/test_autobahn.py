"""The Autobahn suite (autobahntestsuite 25.10.1) against our WebSocket framing: it as the client and we as the server, and the other way round.

The subject echoes messages, so this is about `WebSocketMessages` and what it shares with `WebSocketStream`: the parser, the encoder, and both
handshakes. The stream itself cannot be judged in this way, since on purpose it drops boundaries, refuses texts, and does not answer a Close.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from client import can_connect
from conftest import free_port
from interop.autobahn import AGENT, Verdict, autobahn, read_verdicts
from interop.autobahn_echo import echo_client, echo_server

from outline_lb.base.address import Address

CASES: Final = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
"""The categories, and how many cases each has. 12 and 13 are compression, which we never negotiate; 8 and 11 do not exist."""

INFORMATIONAL: Final = {
    "7.1.6": "a Close behind 256 KiB and before more: whether the first message is echoed is a matter of timing",
    "7.13.1": "a Close with the code 5000, of which RFC 6455 says nothing: we refuse it with 1002",
    "7.13.2": "the same with 65535",
}
"""Cases where the suite has no opinion, and what they are about. All others are OK; none is NON-STRICT."""

AGAIN: Final = 2
"""How often a case that is not OK is run again: the suite gives us half a second in some, and a busy machine does not."""

OK: Final = ("OK", "OK")

pytestmark = pytest.mark.timeout(400)  # each takes half a minute on two free processors


class Suite:
    """Runs the suite in one role, and keeps the last verdict of each case."""

    def __init__(self, judge: Callable[[Path, list[str]], Awaitable[dict[str, Verdict]]], folder: Path) -> None:
        self._judge = judge
        self._folder = folder
        self.verdicts: dict[str, Verdict] = {}

    @property
    def not_ok(self) -> dict[str, Verdict]:
        """The cases that are not OK."""
        return {case: verdict for case, verdict in self.verdicts.items() if verdict != OK}

    async def run(self) -> None:
        """Run all cases, and again those that are not OK and should be."""
        cases = [f"{category}.*" for category in CASES]
        for attempt in range(1 + AGAIN):
            folder = self._folder / str(attempt)
            folder.mkdir()
            self.verdicts |= await self._judge(folder, cases)
            cases = list(self.not_ok.keys() - INFORMATIONAL.keys())
            if not cases:
                break


@pytest.mark.parametrize("role", ["server", "client"])
async def test_we_pass_the_autobahn_suite(role: str, tmp_path: Path) -> None:
    suite = Suite(judge_our_server if role == "server" else judge_our_client, tmp_path)
    await suite.run()
    assert Counter(case.partition(".")[0] for case in suite.verdicts) == CASES
    assert suite.not_ok == dict.fromkeys(INFORMATIONAL, ("INFORMATIONAL", "INFORMATIONAL"))


async def judge_our_server(folder: Path, cases: list[str]) -> dict[str, Verdict]:
    """Let the suite's client try our server."""
    async with echo_server() as address:
        with autobahn("fuzzingclient", {"servers": [{"agent": AGENT, "url": f"ws://{address}"}], "cases": cases}, folder) as suite:
            while suite.poll() is None:
                await asyncio.sleep(0.05)
            assert suite.returncode == 0, (folder / "log").read_text()
    return read_verdicts(folder)


async def judge_our_client(folder: Path, cases: list[str]) -> dict[str, Verdict]:
    """Let our client try the suite's server."""
    address = Address("127.0.0.1", free_port())
    with autobahn("fuzzingserver", {"url": f"ws://{address}", "cases": cases}, folder) as suite:
        while not can_connect(address.port):
            assert suite.poll() is None, (folder / "log").read_text()
            await asyncio.sleep(0.05)
        count = await echo_client(address, "/getCaseCount")
        assert count is not None
        for number in range(1, int(count.data) + 1):
            await echo_client(address, f"/runCase?case={number}&agent={AGENT}")
        await echo_client(address, f"/updateReports?agent={AGENT}")
    return read_verdicts(folder)
