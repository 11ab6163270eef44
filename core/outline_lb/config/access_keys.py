"""Writes access keys for clients: as Outline's apps and other Shadowsocks clients read them, and as our own configuration says it."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote

from ..base.secret import SecretUrl
from ..datapath.access import AccessKey

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}

_DYNAMIC_KEY: Final = """\
transport:
  $type: tcpudp
  tcp: &tunnel
    $type: shadowsocks
    endpoint: {{$type: websocket, url: {url}}}
    cipher: {cipher}
    secret: {secret}
"""
_UDP: Final = """\
  udp:
    <<: *tunnel
    endpoint: {{$type: websocket, url: {packet_url}}}
"""
# Without `udp`, Outline's apps would let UDP go past the server.
_NO_UDP: Final = """\
  udp: *tunnel  # the server carries no UDP, and nothing must go past it
"""


def for_apps(key: AccessKey) -> str:
    """Return a key as apps read it, with a line's end; it holds the secret.

    :return: for a listener of Shadowsocks alone an ``ss://`` URL (SIP002); for a WebSocket one the YAML of a dynamic key
    """
    if key.url.scheme == "tcp":
        user_info = base64.urlsafe_b64encode(f"{key.cipher}:{key.secret.reveal()}".encode()).decode().rstrip("=")
        return f"ss://{user_info}@{key.url.address}#{quote(key.user, safe='')}\n"
    values = {"url": reveal(key.url), "cipher": key.cipher, "secret": key.secret.reveal()}
    if key.packet_url is not None:
        values["packet_url"] = reveal(key.packet_url)
    template = _DYNAMIC_KEY + (_NO_UDP if key.packet_url is None else _UDP)
    return template.format_map({name: _quoted(value) for name, value in values.items()})


def for_upstream(key: AccessKey, name: str) -> str:
    """Return a key as an entry of ``upstreams``, with a line's end; it holds the secret.

    :param name: of the upstream
    """
    tcp, cipher, secret = map(_quoted, (reveal(key.url), key.cipher, key.secret.reveal()))
    udp = "" if key.packet_url is None else f"udp: {_quoted(reveal(key.packet_url))}, "
    return f"{name}: {{tcp: {tcp}, {udp}cipher: {cipher}, secret: {secret}}}\n"


def reveal(url: SecretUrl) -> str:
    """Return a URL with its path, and without a port that its scheme says already."""
    address, scheme = str(url.address), url.scheme
    if url.address.port == _DEFAULT_PORTS.get(scheme):
        address = address.removesuffix(f":{url.address.port}")
    return f"{scheme}://{address}" + (url.reveal_target() if scheme in _DEFAULT_PORTS else "")


def _quoted(text: str) -> str:
    r"""Return a double-quoted scalar (YAML 1.2 section 5.7). JSON writes what is beyond U+FFFF as two halves, and YAML does not join them."""
    return '"' + "".join(char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}" for char in text) + '"'
