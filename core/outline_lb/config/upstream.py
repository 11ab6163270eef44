"""One upstream of a document: its address, how it is reached, and what a schema cannot say about the two."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ..base.dialer import StreamDialer
from ..base.errors import AddressError, describe
from ..base.secret import SecretUrl
from ..datapath.transport import StreamTransport, Transport, TransportDeps
from ..net.connector import Connector, Via
from ..plugin.registration import ComponentSpec, Registration
from .choices import CIPHER, Choices
from .components import Components, Node
from .problems import Problems
from .settings import UpstreamSettings
from .source import join


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
        tcp, udp = self._url(node, "tcp", at), self._url(node, "udp", at)
        transport = None if tcp is None and "tcp" in node else self._transport(node, tcp, at)
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
            self._check_tunnel(transport, bool(cipher), via, at)
        return UpstreamSettings(name, tcp, udp, transport, cipher, secret, prefix, via) if transport else None

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

    def _transport(self, node: Mapping[str, Any], url: SecretUrl | None, at: str) -> ComponentSpec[Any, Any] | None:
        pointer = join(at, "transport")
        transport: Node | None = node.get("transport") or self._choices.transport(url, self._components, at)
        registration = None if transport is None else self._components.registration("transport", transport, pointer)
        if transport is None or registration is None:
            return None
        self._check_url(registration, node, url, at)
        if "half_close" in node:
            transport = self._with_half_close(transport, registration, node["half_close"], at)
        return self._components.read("transport", transport, pointer)

    def _check_url(self, registration: Registration[Any, Any, Any], node: Mapping[str, Any], url: SecretUrl | None, at: str) -> None:
        transport, schemes = registration.type, " or ".join(f"{scheme}://" for scheme in registration.schemes)
        if url is None and schemes:
            self._problems.add(at, f"tcp is missing: the transport {transport} needs a {schemes} URL")
        elif url is not None and url.scheme not in registration.schemes:
            takes = f"{schemes} URLs, not {url.scheme}://" if schemes else "no URL"
            self._problems.add(join(at, "tcp"), f"the transport {transport} takes {takes}")
        if "secret" in node and not schemes:
            self._problems.add(join(at, "secret"), f"the transport {transport} goes to no server that could know a secret")

    def _with_half_close(self, transport: Node, registration: Registration[Any, Any, Any], value: str, at: str) -> Node:
        if "half_close" not in self._components.schema("transport", registration).properties:
            self._problems.add(join(at, "half_close"), f"the transport {registration.type} has no half_close")
            return transport
        return {"half_close": value, **({"type": transport} if isinstance(transport, str) else transport)}

    def _check_tunnel(self, transport: ComponentSpec[TransportDeps, Transport], tunnel: bool, via: Via, at: str) -> None:
        """Ask the transport itself whether it goes to servers only, or to targets only."""
        built = transport.build(TransportDeps(Connector(via)))
        to_servers, to_targets = isinstance(built, StreamTransport), isinstance(built, StreamDialer)
        if to_servers and not to_targets and not tunnel:
            self._problems.add(at, f"secret is missing: the transport {transport.type} needs one that it shares with the server")
        if to_targets and not to_servers and tunnel:
            self._problems.add(join(at, "secret"), f"the transport {transport.type} cannot carry a cipher")

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
