"""TLS that stalls, lies or is none: row F5 of the fault matrix, and threat T7."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from client import SocksRefusedError, connect
from conftest import StartProgram, TlsFiles
from faults.bad_upstream import GREETING, TARGET, config, good, greeted, running
from faults.network import server_config
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.datapath.cipher import ServerCipher
from outline_lb.testing.bad_server import BadServer, Drip, Flood, Raw, Stall, Step, Tls

Record = Callable[..., None]
Clock = Callable[[], float]

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
OLD = {"TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1}
STALLS: dict[str, Sequence[Step]] = {
    "nothing": (Stall(),),
    "the first bytes of a record": (Raw(b"\x16\x03\x03\x40\x00"), Stall()),
    "a byte a second": (Drip(b"\x16\x03\x03\x40\x00" + bytes(1000)),),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """Make a CA."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Return the CA as a file, and a good certificate of its for localhost that is valid for a month."""
    folder = tmp_path_factory.mktemp("authority")
    files = TlsFiles(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    certificate = authority.issue_cert("localhost", not_before=NOW - DAY, not_after=NOW + 30 * DAY)
    authority.cert_pem.write_to_path(str(files.ca))
    certificate.cert_chain_pems[0].write_to_path(str(files.certificate))
    certificate.private_key_pem.write_to_path(str(files.key))
    return files


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return a server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def good_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a good server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def old_context(files: TlsFiles, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the context of a server that speaks nothing newer."""
    context = good_context(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    return context


# -- F5


@pytest.mark.fake_clock
@pytest.mark.parametrize("stall", STALLS)
async def test_f05_tls_stall_goes_to_the_other_server_after_two_seconds(
    ca: TlsFiles, cipher: ServerCipher, tmp_path: Path, stall: str, record: Record, clock: Clock
) -> None:
    bad, server = BadServer(*STALLS[stall]), BadServer(Tls(good_context(ca)), *good(cipher))
    async with bad, server, running(config(bad.address, server.address, tls=ca), tmp_path) as proxy:
        began = clock()
        assert await greeted(proxy) == GREETING
        record("first flow", clock() - began, "s")
        assert clock() - began == pytest.approx(2, abs=0.2)


@pytest.mark.fake_clock
@pytest.mark.parametrize("stall", STALLS)
async def test_f05_tls_stall_of_all_is_refused_after_ten_seconds(ca: TlsFiles, tmp_path: Path, stall: str, record: Record, clock: Clock) -> None:
    async with BadServer(*STALLS[stall]) as bad, running(config(bad.address, tls=ca), tmp_path) as proxy:
        began = clock()
        with pytest.raises(SocksRefusedError) as refused:
            await connect(proxy, TARGET)
        record("time to be told", clock() - began, "s")
        assert refused.value.code == 6  # TTL expired: the nearest to a timeout that SOCKS5 has
        assert clock() - began == pytest.approx(10, abs=0.2)
        await bad.visits[0].wait_until_gone()  # and nothing is left open


async def test_f05_tls_stall_from_outside_is_named_in_the_log(start: StartProgram, ca: TlsFiles, cipher: ServerCipher) -> None:
    bad, server = BadServer(Stall()), BadServer(Tls(good_context(ca)), *good(cipher))
    async with bad, server:
        client = await start("client", config(bad.address, server.address, tls=ca, transport={"connect_timeout": "1s"}))
        assert await greeted(client.address) == GREETING
        failed = await client.logged("upstream failed a flow", upstream="one")
        assert failed["error"] == "tls: no answer within 1.00s"


# -- T7


def lie_of(authority: trustme.CA, lie: str) -> tuple[Step, str]:
    """Return a TLS handshake with a wrong certificate, and what the log says of it."""
    begin, end, mismatch = NOW - DAY, NOW + 30 * DAY, "Hostname mismatch"

    def issue(name: str, issuer: trustme.CA = authority, common: str | None = None, begin: datetime = begin, end: datetime = end) -> Step:
        return Tls(context_of(issuer.issue_cert(name, common_name=common, not_before=begin, not_after=end)))

    match lie:
        case "another name":
            return issue("example.com"), mismatch
        case "an address only":
            return issue("127.0.0.1"), mismatch
        case "a wildcard that does not fit":
            return issue("*.localhost"), mismatch
        case "name in the common name only":
            return issue("example.com", common="localhost"), mismatch
        case "another authority":
            return issue("localhost", trustme.CA()), "unable to get local issuer certificate"
        case "expired":
            return issue("localhost", begin=NOW - 30 * DAY, end=NOW - DAY), "certificate has expired"
        case _:
            return issue("localhost", begin=NOW + DAY), "certificate is not yet valid"


LIES = (
    "another name",
    "an address only",
    "a wildcard that does not fit",
    "name in the common name only",
    "another authority",
    "expired",
    "not yet valid",
)


async def never_selected(start: StartProgram, bad: BadServer, server: BadServer, ca: TlsFiles, reason: str, **more: Any) -> None:
    """Use a client of both; the bad server must hear nothing of what we want."""
    client = await start("client", config(bad.address, server.address, tls=ca, probes=[{"type": "handshake"}]), **more)
    for _ in range(3):
        assert await greeted(client.address) == GREETING
    down = await client.logged("upstream down", upstream="one")
    assert reason in down["reason"], down
    assert await client.carriers(3) == ["two"] * 3
    assert bad.visits
    assert all(peer.request == "" and not peer.received for peer in bad.visits)


@pytest.mark.parametrize("lie", LIES)
async def test_t07_a_server_with_a_wrong_certificate_is_never_selected(
    start: StartProgram, ca: TlsFiles, authority: trustme.CA, cipher: ServerCipher, lie: str
) -> None:
    step, reason = lie_of(authority, lie)
    async with BadServer(step, *good(cipher)) as bad, BadServer(Tls(good_context(ca)), *good(cipher)) as server:
        await never_selected(start, bad, server, ca, reason)


async def test_t07_a_self_signed_certificate_is_never_selected(start: StartProgram, ca: TlsFiles, cipher: ServerCipher, tmp_path: Path) -> None:
    openssl = require_program("openssl", "apt-get install openssl")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    process = await asyncio.create_subprocess_exec(
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
        *("-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate"), *names),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    async with BadServer(Tls(context), *good(cipher)) as bad, BadServer(Tls(good_context(ca)), *good(cipher)) as server:
        await never_selected(start, bad, server, ca, "self-signed certificate")


@pytest.mark.parametrize("version", OLD)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_t07_an_old_version_of_tls_is_never_selected(start: StartProgram, ca: TlsFiles, cipher: ServerCipher, version: str) -> None:
    old = Tls(old_context(ca, OLD[version]))
    async with BadServer(old, *good(cipher)) as bad, BadServer(Tls(good_context(ca)), *good(cipher)) as server:
        await never_selected(start, bad, server, ca, "tls: ")


@pytest.mark.parametrize(
    "steps",
    [(Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),), (Raw(b"\x15\x03\x03\x00\x02\x02\x28"),), (Flood(b"\x16\x03\x03\x40\x00" + bytes(0x4000), 50),)],
    ids=["plain HTTP", "an alert", "nonsense"],
)
async def test_t07_a_server_without_tls_is_never_selected(start: StartProgram, ca: TlsFiles, cipher: ServerCipher, steps: Sequence[Step]) -> None:
    async with BadServer(*steps) as bad, BadServer(Tls(good_context(ca)), *good(cipher)) as server:
        await never_selected(start, bad, server, ca, "tls: ")


async def faked(jump: str) -> dict[str, str]:
    """Return the environment of a program whose wall clock is wrong. (The command would stay in between, and pass no signals on.)"""
    faketime = require_program("faketime", "apt-get install faketime")
    process = await asyncio.create_subprocess_exec(faketime, "-f", jump, "printenv", "LD_PRELOAD", stdout=asyncio.subprocess.PIPE)
    library = (await process.communicate())[0].decode().strip()
    assert library
    return {"LD_PRELOAD": library, "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize(("jump", "reason"), [("+400d", "certificate has expired"), ("-400d", "certificate is not yet valid")])
async def test_t07_what_the_clock_says_is_what_counts(
    start: StartProgram, ca: TlsFiles, authority: trustme.CA, cipher: ServerCipher, jump: str, reason: str
) -> None:
    """With faketime, whose monotonic clock stays true."""
    fake = await faked(jump)
    lasting = Tls(context_of(authority.issue_cert("localhost", not_before=NOW - 1000 * DAY, not_after=NOW + 1000 * DAY)))
    async with BadServer(Tls(good_context(ca)), *good(cipher)) as bad, BadServer(lasting, *good(cipher)) as server:
        await never_selected(start, bad, server, ca, reason, environment=fake)


async def test_t07_our_server_speaks_tls_1_2_and_1_3_only(start: StartProgram, tls_files: TlsFiles, record: Record) -> None:
    sslscan = require_program("sslscan", "apt-get install sslscan")
    server = await start("server", server_config(Address("127.0.0.1", 0), tls_files))
    process = await asyncio.create_subprocess_exec(
        *(sslscan, "--no-colour", "--no-ciphersuites", str(server.address)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    versions = dict(re.findall(r"^(SSLv\d|TLSv1\.\d)\s+(enabled|disabled)", output, re.MULTILINE))
    assert versions == {
        "SSLv2": "disabled",
        "SSLv3": "disabled",
        "TLSv1.0": "disabled",
        "TLSv1.1": "disabled",
        "TLSv1.2": "enabled",
        "TLSv1.3": "enabled",
    }, output
    assert "not vulnerable to heartbleed" in output
    record("sslscan", ", ".join(name for name, state in versions.items() if state == "enabled"))
