"""One upstream of a document: its address, how it is reached, and what a schema cannot say about the two."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from ..base.dialer import PacketDialer, StreamDialer
from ..base.errors import AddressError, describe
from ..base.secret import SecretUrl
from ..datapath.transport import PacketTransport, StreamTransport, Transport, TransportDeps
from ..net.connector import Connector, Via
from ..plugin.registration import ComponentSpec, Registration
from .choices import CIPHER, Choices
from .components import Components, Node
from .problems import Problems
from .settings import UpstreamSettings
from .source import join

_URLS: Final = {"tcp": "streams", "udp": "packets"}


class UpstreamReader:
    """Reads upstreams.

    :param components: reads components
    :param choices: fills what is left open
    :param problems: hears what is wrong
    """

    def __init__(self, components: Components, choices: Choices, problems: Problems) -> None:
        self._components = components
        self._choices = choices
        self._problems = problems

    def read(self, name: str, node: Mapping[str, Any]) -> UpstreamSettings | None:
        """Read an upstream that fits the envelope's schema.

        :return: the upstream; None if there was a problem
        """
        at, before = join("/upstreams", name), self._problems.count
        urls = {key: url for key in _URLS if (url := self._url(node, key, at))}
        unreadable = any(key in node and key not in urls for key in _URLS)
        transport = None if unreadable else self._transport(node, urls, at)
        cipher = self._cipher(node, at)
        secret = self._components.secret(node["secret"], join(at, "secret")) if "secret" in node else None
        prefix = node["prefix"].encode("latin-1")
        via = self._via(node["via"], join(at, "via"))
        if cipher and secret:
            try:
                cipher.build(None).client(secret, prefix)
            except ValueError as error:
                self._problems.add(at, describe(error))
        if transport and self._problems.count == before:
            self._check_abilities(transport, urls, bool(cipher), via, at)
        return UpstreamSettings(name, urls.get("tcp"), urls.get("udp"), transport, cipher, secret, prefix, via) if transport else None

    def look_at(self, name: str, node: Mapping[str, Any]) -> None:
        """Look for problems in what is left of an upstream from which something had to be taken out."""
        for kind in ("transport", "cipher"):
            if kind in node:
                self._components.read(kind, node[kind], join("/upstreams", name, kind))

    def _url(self, node: Mapping[str, Any], key: str, at: str) -> SecretUrl | None:
        if key not in node:
            return None
        try:
            url = SecretUrl(node[key])
        except AddressError as error:
            self._problems.add(join(at, key), str(error))
            return None
        if url.reveal_target() != "/":
            self._problems.warn_of_secret(join(at, key))
        return url

    def _transport(self, node: Mapping[str, Any], urls: Mapping[str, SecretUrl], at: str) -> ComponentSpec[Any, Any] | None:
        pointer = join(at, "transport")
        key, url = next(iter(urls.items()), ("tcp", None))
        transport: Node | None = node.get("transport") or self._choices.transport(url, self._components, at, key)
        registration = None if transport is None else self._components.registration("transport", transport, pointer)
        if transport is None or registration is None:
            return None
        self._check_urls(registration, node, urls, at)
        if "half_close" in node:
            transport = self._with_half_close(transport, registration, node["half_close"], at)
        return self._components.read("transport", transport, pointer)

    def _check_urls(self, registration: Registration[Any, Any, Any], node: Mapping[str, Any], urls: Mapping[str, SecretUrl], at: str) -> None:
        transport, schemes = registration.type, " or ".join(f"{scheme}://" for scheme in registration.schemes)
        if not urls and schemes:
            self._problems.add(at, f"tcp is missing, or udp: the transport {transport} needs a {schemes} URL")
        for key, url in urls.items():
            if url.scheme not in registration.schemes:
                takes = f"{schemes} URLs, not {url.scheme}://" if schemes else "no URL"
                self._problems.add(join(at, key), f"the transport {transport} takes {takes}")
        if "secret" in node and not schemes:
            self._problems.add(join(at, "secret"), f"the transport {transport} goes to no server that could know a secret")

    def _with_half_close(self, transport: Node, registration: Registration[Any, Any, Any], value: str, at: str) -> Node:
        if "half_close" not in self._components.schema("transport", registration).properties:
            self._problems.add(join(at, "half_close"), f"the transport {registration.type} has no half_close")
            return transport
        return {"half_close": value, **({"type": transport} if isinstance(transport, str) else transport)}

    def _check_abilities(
        self, transport: ComponentSpec[TransportDeps, Transport], urls: Mapping[str, SecretUrl], tunnel: bool, via: Via, at: str
    ) -> None:
        """Ask the transport itself what it goes to, and whether it takes these URLs."""
        built = transport.build(TransportDeps(Connector(via)))
        to_servers, to_targets = isinstance(built, (StreamTransport, PacketTransport)), isinstance(built, (StreamDialer, PacketDialer))
        if to_servers and not to_targets and not tunnel:
            self._problems.add(at, f"secret is missing: the transport {transport.type} needs one that it shares with the server")
        if to_targets and not to_servers and tunnel:
            self._problems.add(join(at, "secret"), f"the transport {transport.type} cannot carry a cipher")
        if not (tunnel and to_servers):
            return
        for key, url in urls.items():
            try:
                if key == "tcp" and isinstance(built, StreamTransport):
                    built.stream_endpoint(url)
                elif key == "udp" and isinstance(built, PacketTransport):
                    built.packet_endpoint(url)
                else:
                    what = f"the transport {transport.type} carries no {_URLS[key]}: leave {key} out, or name another transport"
                    self._problems.add(join(at, key), what)
            except AddressError as error:
                self._problems.add(join(at, key), str(error))

    def _cipher(self, node: Mapping[str, Any], at: str) -> ComponentSpec[Any, Any] | None:
        if "secret" not in node:
            for key in (key for key in ("cipher", "prefix") if node.get(key)):
                self._problems.add(join(at, key), "this needs a secret beside it")
            return None
        return self._components.read("cipher", node.get("cipher", CIPHER), join(at, "cipher"))

    def _via(self, node: Mapping[str, Any], at: str) -> Via:
        try:
            ipaddress.ip_address(node.get("source", "::"))
        except ValueError:
            self._problems.add(join(at, "source"), "expected an IP address such as 192.0.2.7")
        return Via(**node)
