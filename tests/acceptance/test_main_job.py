"""The main job from outside: applications through SOCKS5, over one of several Outline servers."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from client import SocksRefusedError, connect, curl
from conftest import StartProgram, TlsFiles, free_port
from origin import PATTERN, pattern_digest
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

MEGABYTE = 1_000_000


def server_config(listener: dict[str, Any], **frontend: Any) -> dict[str, Any]:
    """Return the configuration of an Outline server with one user."""
    server = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": "Secret0"}}, "allow_private_targets": True, **frontend}
    return {"version": 1, "frontends": {"server": server}, "upstreams": {"internet": {"transport": "direct"}}}


class World:
    """Three servers over TLS, and a client over all of them."""

    def __init__(self, servers: dict[str, Program], client: Program) -> None:
        self.servers = servers
        self.client = client


@pytest.fixture
async def world(start: StartProgram, tls_files: TlsFiles) -> World:
    """Start three servers and a client."""
    tls = {"certificate": str(tls_files.certificate), "key": str(tls_files.key)}
    names = ("one", "two", "three")
    listeners = [{"type": "ws-h1", "address": "127.0.0.1:0", "path": f"/{name}/tcp", "tls": tls} for name in names]
    programs = await asyncio.gather(*(start(name, server_config(listener)) for name, listener in zip(names, listeners, strict=True)))
    servers = dict(zip(names, programs, strict=True))
    upstreams = {
        name: {
            "tcp": f"wss://localhost:{program.address.port}/{name}/tcp",
            "transport": {"type": "ws-h1", "tls": {"ca": str(tls_files.ca)}},
            "secret": "Secret0",
        }
        for name, program in servers.items()
    }
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}
    config = {"version": 1, "frontends": frontends, "upstreams": upstreams}
    return World(servers, await start("client", config, "--plugins", "ws-h1,policy-fastest"))


async def test_curl_loads_100_mb_both_ways(world: World, origin: Address, tmp_path: Path) -> None:
    require_program("curl", "apt-get install curl")
    size, proxy = 100 * MEGABYTE, ("--socks5-hostname", str(world.client.address))
    down = await curl(*proxy, f"http://localhost:{origin.port}/bytes/{size}", "-o", str(tmp_path / "down"))
    assert down.code == 0, down.error
    with (tmp_path / "down").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == pattern_digest(size)
    up = await curl(*proxy, f"http://localhost:{origin.port}/", "--data-binary", f"@{tmp_path / 'down'}")
    assert (up.code, up.output.decode()) == (0, pattern_digest(size)), up.error


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_curl_reaches_targets_by_name_and_by_both_kinds_of_address(world: World, origin: Address, host: str) -> None:
    require_program("curl", "apt-get install curl")
    answer = await curl("--socks5-hostname", str(world.client.address), f"http://{host}:{origin.port}/hello")
    assert (answer.code, answer.output) == (0, b"you asked for /hello\n"), answer.error


async def test_200_flows_at_once(world: World, origin: Address) -> None:
    async def flow(size: int) -> None:
        connection = await connect(world.client.address, Address("localhost", origin.port))
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
        assert await connection.read_digest() == (size, pattern_digest(size))
        connection.close()

    await asyncio.gather(*(flow(200_000 + index) for index in range(200)))


async def test_the_application_ends_first_and_still_gets_the_whole_answer(world: World, origin: Address) -> None:
    connection = await connect(world.client.address, origin)
    connection.writer.write(b"u")
    await connection.send_pattern(3 * MEGABYTE)
    connection.writer.write_eof()
    assert (await connection.reader.read(-1)) == bytes.fromhex(pattern_digest(3 * MEGABYTE))
    connection.close()


async def test_the_target_ends_first_and_still_gets_everything(world: World, origin: Address) -> None:
    connection = await connect(world.client.address, origin)
    connection.writer.write(b"f")
    assert await connection.reader.read(-1) == b""
    await connection.send_pattern(10 * MEGABYTE)
    connection.close()
    await connection.writer.wait_closed()
    for _ in range(100):  # the last bytes are still under way
        verdict = await connect(world.client.address, origin)
        verdict.writer.write(b"v")
        count = int.from_bytes(await verdict.reader.readexactly(8), "big")
        verdict.close()
        if count:
            break
        await asyncio.sleep(0.05)
    assert count == 10 * MEGABYTE


async def test_the_server_speaks_first(world: World, origin: Address) -> None:
    connection = await connect(world.client.address, Address("localhost", origin.port + 1))
    assert await asyncio.wait_for(connection.reader.readexactly(5), 10) == b"hello"
    connection.writer.write(b"and now you")
    assert await connection.reader.readexactly(11) == b"and now you"
    connection.close()


async def test_a_reset_of_the_target_is_never_a_clean_end(world: World, origin: Address) -> None:
    connection = await connect(world.client.address, origin)
    connection.writer.write(b"r")
    assert await connection.reader.readexactly(1000) == PATTERN[:1000]
    with pytest.raises(ConnectionResetError):
        await connection.reader.read(-1)
    connection.close()


async def test_a_server_killed_under_load_cuts_its_flows_and_the_next_one_takes_over(world: World, origin: Address) -> None:
    size = 50 * MEGABYTE
    running = [await connect(world.client.address, origin) for _ in range(8)]
    for connection in running:
        connection.writer.write(b"D" + size.to_bytes(8, "big"))
    first = [await connection.reader.readexactly(100_000) for connection in running]
    assert all(data == PATTERN[:100_000] for data in first)
    carriers = await world.client.carriers(8)  # not all the same while they are being measured
    killed = carriers[-1]
    await world.servers[killed].kill()
    for connection, carrier, data in zip(running, carriers, first, strict=True):
        if carrier == killed:
            with pytest.raises(ConnectionResetError):
                await connection.read_digest()
        else:
            assert await connection.read_digest(data) == (size, pattern_digest(size))
        connection.close()
    began = asyncio.get_running_loop().time()
    again = await connect(world.client.address, origin)
    again.writer.write(b"D" + MEGABYTE.to_bytes(8, "big"))
    assert await again.read_digest() == (MEGABYTE, pattern_digest(MEGABYTE))
    assert asyncio.get_running_loop().time() - began < 3
    assert (await world.client.carriers(9))[-1] != killed
    again.close()


async def test_with_all_servers_down_applications_are_told_at_once(world: World, origin: Address) -> None:
    for server in world.servers.values():
        await server.kill()
    began = asyncio.get_running_loop().time()
    with pytest.raises(SocksRefusedError) as refused:
        await connect(world.client.address, origin)
    assert refused.value.code == 1
    assert asyncio.get_running_loop().time() - began < 5


async def test_users_are_asked_for_and_checked(start: StartProgram, origin: Address) -> None:
    require_program("curl", "apt-get install curl")
    frontend = {"type": "socks5", "listen": "127.0.0.1:0", "users": {"ann": "pass:word"}}
    client = await start("client", {"version": 1, "frontends": {"local": frontend}, "upstreams": {"internet": {"transport": "direct"}}})
    url = f"http://127.0.0.1:{origin.port}/x"
    right = await curl("--socks5-hostname", str(client.address), "--proxy-user", "ann:pass:word", url)
    wrong = await curl("--socks5-hostname", str(client.address), "--proxy-user", "ann:guess", url)
    nobody = await curl("--socks5-hostname", str(client.address), url)
    assert (right.code, right.output) == (0, b"you asked for /x\n")
    assert wrong.code == nobody.code == 97
    assert "rejected" in wrong.error


async def test_reply_codes_are_exact_over_a_direct_connection(start: StartProgram) -> None:
    config = {"version": 1, "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}, "upstreams": {"internet": {"transport": "direct"}}}
    client = await start("client", config)
    for target, code in ((Address("127.0.0.1", free_port()), 5), (Address("no-such-name.invalid", 80), 4)):
        with pytest.raises(SocksRefusedError) as refused:
            await connect(client.address, target)
        assert refused.value.code == code


async def test_plain_shadowsocks_over_tcp(start: StartProgram, origin: Address) -> None:
    server = await start("server", server_config({"type": "tcp", "address": "127.0.0.1:0"}))
    upstreams = {"server": {"tcp": f"tcp://{server.address}", "cipher": "aes-256-gcm", "secret": "Secret0"}}
    wrong_cipher = await start("client", {"version": 1, "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}, "upstreams": upstreams})
    connection = await connect(wrong_cipher.address, origin)
    connection.writer.write(b"D" + MEGABYTE.to_bytes(8, "big"))
    with pytest.raises(TimeoutError):  # silence, as for every stranger
        await asyncio.wait_for(connection.reader.read(1), 1)
    connection.close()
    upstreams["server"]["cipher"] = "chacha20-ietf-poly1305"
    client = await start("client2", {"version": 1, "frontends": {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}, "upstreams": upstreams})
    connection = await connect(client.address, origin)
    connection.writer.write(b"D" + MEGABYTE.to_bytes(8, "big"))
    assert await connection.read_digest() == (MEGABYTE, pattern_digest(MEGABYTE))
    connection.close()
