"""Networks that go wrong, made of namespaces: a client's, and one for each server, with a bad line (see link.py) to each.

The thread of the test itself moves into the client's namespace, so that what it opens and starts is there; 127.0.0.1 means the client's.
Each server's namespace has its own origin on 127.0.0.1, at `ORIGIN`: who gets an answer from it went through that server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from conftest import StartProgram, TlsFiles
from faults.link import enter
from programs import require_program

from outline_lb.base.address import Address
from outline_lb.testing.program import Program

ORIGIN: Final = Address("127.0.0.1", 7000)
SERVER_PORT: Final = 8443
_HERE = Path(__file__).resolve().parent


class Namespace:
    """A network namespace with a name that no other test run has.

    :param name: within this test
    """

    def __init__(self, name: str) -> None:
        self.name = f"olb{os.getpid()}{name}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self._files = Path("/etc/netns", self.name)
        run("ip", "netns", "add", self.name)
        run(*self.prefix, "ip", "link", "set", "lo", "up")

    def set_file(self, name: str, content: str) -> None:
        """Give programs that are started with `prefix` a file of their own in place of ``/etc/NAME``."""
        self._files.mkdir(parents=True, exist_ok=True)
        (self._files / name).write_text(content)

    def remove(self) -> None:
        """Remove it; it ends with the last process in it."""
        run("ip", "netns", "delete", self.name)
        shutil.rmtree(self._files, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may have theirs there
            self._files.parent.rmdir()


class Link:
    """A line between two namespaces, which can be made bad.

    :param one: a namespace, a device and an address in it
    :param two: the other end
    """

    def __init__(self, one: tuple[Namespace, str, str], two: tuple[Namespace, str, str]) -> None:
        ends = [one[0].name, *one[1:], two[0].name, *two[1:]]
        self.process = subprocess.Popen(
            [sys.executable, str(_HERE / "link.py"), *ends], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        expect_ready(self.process, "ready\n")

    def set(self, **settings: float) -> None:
        """Change the line; see link.py for what there is."""
        self._tell(" ".join(f"{key}={value}" for key, value in settings.items()))

    def stats(self) -> Counter[str]:
        """Return what happened to packets so far."""
        self._tell("stats")
        assert self.process.stdout is not None
        return Counter(json.loads(self.process.stdout.readline()))

    def _tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")

    def remove(self) -> None:
        """End it."""
        self.process.communicate()


class Site:
    """A server's place: its namespace, the line to it, its origin.

    :param client: the client's namespace
    :param number: from 1
    """

    def __init__(self, client: Namespace, number: int) -> None:
        self.address = Address(f"10.77.{number}.2", SERVER_PORT)
        self.namespace = Namespace(f"s{number}")
        self.link = Link((client, f"lk{number}", f"10.77.{number}.1"), (self.namespace, "lk0", self.address.host))
        self.origin = subprocess.Popen(
            [*self.namespace.prefix, sys.executable, str(_HERE.parent / "origin.py"), ORIGIN.host, str(ORIGIN.port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        expect_ready(self.origin, "ready\n")

    def remove(self) -> None:
        """Remove everything."""
        self.origin.kill()
        self.origin.communicate()
        self.link.remove()
        self.namespace.remove()


class Network:
    """A client's namespace, and sites. To be entered: then it exists, and this thread is the client's.

    :param sites: how many
    """

    def __init__(self, sites: int) -> None:
        self._count = sites
        self.sites: list[Site] = []

    def __enter__(self) -> Network:
        require_network()
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as made:
            self.client = Namespace("c")
            made.callback(self.client.remove)
            for number in range(1, self._count + 1):
                self.sites.append(site := Site(self.client, number))
                made.callback(site.remove)
            made.enter_context(inside(self.client))
            self._stack = made.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class World:
    """Outline servers at the sites of a network, named one, two, ...; a client over all of them.

    :param network: where
    :param servers: by name
    :param client: the program under test
    """

    def __init__(self, network: Network, servers: Mapping[str, Program], client: Program) -> None:
        self.network = network
        self.servers = servers
        self.client = client
        self.links = dict(zip(servers, (site.link for site in network.sites), strict=True))

    @classmethod
    async def start(cls, network: Network, start: StartProgram, tls: TlsFiles, pool: Mapping[str, Any] | None = None, **more: Any) -> World:
        """Start servers and client.

        :param network: entered
        :param start: the fixture
        :param tls: of the servers; for localhost
        :param pool: options of the pool
        :param more: for each upstream
        """
        names = ("one", "two", "three")[: len(network.sites)]
        sites = dict(zip(names, network.sites, strict=True))
        programs = [start(name, server_config(site.address, tls), prefix=site.namespace.prefix) for name, site in sites.items()]
        servers = dict(zip(names, await asyncio.gather(*programs), strict=True))
        upstreams = {name: upstream_config(site.address, tls, **more) for name, site in sites.items()}
        return cls(network, servers, await start("client", client_config(upstreams, pool), prefix=network.client.prefix))

    def carrier(self) -> str:
        """Return the name of the server that carries the last flow."""
        return str(self.client.events("flow opened")[-1]["upstream"])

    async def measured(self) -> None:
        """Wait until every upstream was probed once."""
        for name in self.servers:
            await self.client.logged("upstream up", upstream=name)


def server_config(address: Address, tls: TlsFiles | None) -> dict[str, Any]:
    """Return the configuration of an Outline server with one user."""
    listener: dict[str, Any] = {"type": "ws-h1", "address": str(address), "path": "/tcp"}
    if tls is not None:
        listener["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    server = {"type": "outline-server", "listen": [listener], "keys": {"user": {"secret": "Secret0"}}, "allow_private_targets": True}
    return {"version": 1, "frontends": {"server": server}, "upstreams": {"internet": {"transport": "direct"}}}


def upstream_config(address: Address, tls: TlsFiles | None, **more: Any) -> dict[str, Any]:
    """Return the configuration of the way to such a server."""
    if tls is None:
        return {"tcp": f"ws://{address}/tcp", "secret": "Secret0", **more}
    transport = {"type": "ws-h1", "tls": {"ca": str(tls.ca), "server_name": "localhost"}}
    return {"tcp": f"wss://{address}/tcp", "transport": transport, "secret": "Secret0", **more}


def client_config(upstreams: Mapping[str, Any], pool: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the configuration of a client over these upstreams."""
    frontends = {"local": {"type": "socks5", "listen": "127.0.0.1:0"}}
    return {"version": 1, "frontends": frontends, "pools": {"main": dict(pool or {})}, "upstreams": dict(upstreams)}


def require_network() -> None:
    """Skip the test where namespaces and lines cannot be made."""
    require_program("ip", "apt-get install iproute2")
    if os.geteuid():
        pytest.skip("network namespaces need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("the lines between namespaces need /dev/net/tun (modprobe tun)")
    trial = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip(f"this system gives no network namespaces: {trial.stderr.decode().strip()}")


@contextlib.contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Have this thread in a network namespace for a while."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    enter(f"/run/netns/{namespace.name}")
    try:
        yield
    finally:
        enter(f"/proc/self/fd/{own}")
        os.close(own)


def run(*command: str) -> None:
    """Run a command that must succeed.

    :raises subprocess.CalledProcessError: if it does not
    """
    subprocess.run(command, check=True, capture_output=True)


def expect_ready(process: subprocess.Popen[str], word: str) -> None:
    """Wait for the word that a helper says when it is ready, or end it."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != word:
        process.kill()
        process.communicate()
        pytest.fail(f"{process.args!r} said {line!r}")
