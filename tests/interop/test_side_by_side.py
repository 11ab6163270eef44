"""The real outline-ss-server and ours, side by side, before the same observer. All probes run at the same time, so that 59 s pass once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from interop.outline_ss_server import PATH, SECRET, RealServer, public_address
from interop.probes import Server, probes
from interop.side_by_side import COMMAND, EXPECTED, PAGE, TABLE, page
from leaks import leaks, secrets_of

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

PROBES = probes(PATH)

pytestmark = pytest.mark.timeout(240)

Observed = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Try everything on both servers."""
    with public_address("203.0.113.42") as public:
        folder = tmp_path_factory.mktemp("side_by_side")
        real = RealServer.start(folder)
        try:
            return asyncio.run(_observe(folder, real, public))
        finally:
            real.stop()


def our_config() -> dict[str, Any]:
    """Return the configuration of our server, on which private targets are allowed, and of another on which they are not."""
    keys = {"other": {"secret": "Secret1"}, "user": {"secret": SECRET}}
    web, plain = {"type": "ws-h1", "address": "127.0.0.1:0", "path": PATH}, {"type": "tcp", "address": "127.0.0.1:0"}
    frontends = {
        "server": {"type": "outline-server", "listen": [web, plain], "keys": keys, "allow_private_targets": True},
        "strict": {"type": "outline-server", "listen": [web], "keys": keys},
    }
    return {"version": 1, "frontends": frontends, "upstreams": {"internet": {"transport": "direct"}}}


async def _observe(folder: Path, real: RealServer, public: str) -> Observed:
    program = await Program.start("ours", our_config(), folder)
    try:
        web, plain = await _addresses(program, "server")
        (strict,) = await _addresses(program, "strict")
        theirs, ours = Server(real.web, PATH, real.plain, real.web, SECRET, public), Server(web, PATH, plain, strict, SECRET, public)
        pairs = await asyncio.gather(*(asyncio.gather(probe(theirs), probe(ours)) for probe in PROBES.values()))
    finally:
        await program.stop()
    assert leaks(program.log.read_bytes(), set(secrets_of(our_config()))) == []
    return {name: (pair[0], pair[1]) for name, pair in zip(PROBES, pairs, strict=True)}


async def _addresses(program: Program, frontend: str) -> list[Address]:
    return [Address.parse(text) for text in (await program.logged("listening", frontend=frontend))["addresses"]]


def test_every_probe_is_in_the_table_once() -> None:
    assert sorted(PROBES) == sorted(name for row in TABLE for name, _ in row.expected())


def test_every_difference_is_explained() -> None:
    assert [row.names for row in TABLE if bool(row.ours) != bool(row.why) or row.ours == row.theirs] == []


def test_the_documentation_is_in_step() -> None:
    assert PAGE.read_text("utf-8") == page(), f"run {COMMAND}"


@pytest.mark.parametrize("name", EXPECTED)
def test_the_real_server_does_what_the_table_says(observed: Observed, name: str) -> None:
    assert observed[name][0] == EXPECTED[name][0]


@pytest.mark.parametrize("name", EXPECTED)
def test_ours_does_what_the_table_says(observed: Observed, name: str) -> None:
    assert observed[name][1] == EXPECTED[name][1]
