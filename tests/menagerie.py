"""Types of every kind for tests of configurations, without any distribution behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from channels import ChannelServer

from outline_lb.base.errors import PluginError
from outline_lb.base.packets import PacketChannel
from outline_lb.base.secret import Secret, SecretUrl
from outline_lb.base.stream import Stream
from outline_lb.config.source import Document, parse_document
from outline_lb.datapath.transport import Endpoint, PacketTransport, StreamTransport
from outline_lb.plugin.registration import Registration
from outline_lb.testing.upstreams import SilentEndpoint

DURATION = {"$ref": "outline-lb:defs#/$defs/duration", "default": "10s"}
SECRET = {"x-secret": True, "type": ["string", "object"]}


class ToServers(StreamTransport, PacketTransport):
    """Takes every URL."""

    def stream_endpoint(self, url: SecretUrl) -> Endpoint[Stream]:
        return SilentEndpoint()

    def packet_endpoint(self, url: SecretUrl) -> Endpoint[PacketChannel[bytes]]:
        return ChannelServer()


class Cipher:
    """Takes secrets of letters only, and short prefixes."""

    def client(self, secret: Secret, prefix: bytes) -> None:
        if not secret.reveal().isalpha() or len(prefix) > 4:
            raise ValueError("secret or prefix do not fit this cipher")


def closed(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """Return the schema of a mapping with these properties only."""
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def registration(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *required: str,
    parse: Callable[[Mapping[str, Any]], Any] = dict,
    schemes: tuple[str, ...] = (),
    component: object = None,
) -> Registration[Any, Any, Any]:
    """Return a type whose options are a dict, unless `parse` says otherwise."""
    return Registration(name, closed(properties or {}, *required), parse, lambda *_: component, schemes)


def parse_picky(raw: Mapping[str, Any]) -> Any:
    """Refuse what a schema would let through; fail on what it should have stopped."""
    if raw["number"] == 13:
        raise ValueError("number: 13 brings bad luck")
    return {"inverse": 1 / raw["number"]}


class Menagerie:
    """Where types come from, and what was asked for."""

    def __init__(self) -> None:
        half_close = {"half_close": {"enum": ["close-frame", "defer"], "default": "close-frame"}}
        key = closed({"cipher": {"x-kind": "cipher", "default": "chacha20-ietf-poly1305"}, "secret": SECRET}, "secret")
        self.asked: list[tuple[str, str]] = []
        self.names = {"zebra": [("policy", "zebra")], "heron": [("policy", "heron")], "ping": [("probe", "ping")], "owl": [("observer", "owl")]}
        self.names |= {"ws-h2": [("listener", "ws-h2"), ("transport", "ws-h2")], "bound": [("transport", "bound")]}
        self.types = {
            "frontend": [
                registration("socks5", {"listen": {"$ref": "outline-lb:defs#/$defs/address", "default": "127.0.0.1:1080"}}),
                registration(
                    "server",
                    {
                        "listen": {"type": "array", "items": {"x-kind": "listener"}, "minItems": 1},
                        "keys": {"type": "object", "additionalProperties": key, "default": {}},
                        "log_to": {"x-secret": True, "default": None},
                    },
                    "listen",
                ),
                registration("picky", {"number": {"type": "integer", "default": 1}}, parse=parse_picky),
            ],
            "transport": [
                registration("direct"),
                registration("bound", {"source": {"type": "string", "default": "::1"}}),
                registration("tcp", {"connect_timeout": DURATION}, schemes=("tcp",), component=ToServers()),
                registration("ws-h1", half_close, schemes=("ws", "wss"), component=ToServers()),
                registration("ws-h2", half_close, schemes=("ws", "wss"), component=ToServers()),
            ],
            "listener": [registration("ws-h1", {"path": SECRET}, "path"), registration("ws-h2")],
            "cipher": [registration(name, component=Cipher()) for name in ("chacha20-ietf-poly1305", "aes-256-gcm", "ROT13")],
            "policy": [registration("fastest", {"sticky_ttl": DURATION}), registration("zebra"), registration("heron")],
            "probe": [registration("handshake"), registration("ping", {"count": {"type": "integer", "minimum": 1, "default": 3}})],
        }

    def select(self, name: str) -> list[tuple[str, str]]:
        """Return the kinds and types of a name."""
        if name not in self.names:
            raise PluginError(f"plugin {name} is not installed")
        return self.names[name]

    def registration(self, kind: str, name: str) -> Registration[Any, Any, Any]:
        """Return a type."""
        self.asked.append((kind, name))
        for known in self.types[kind]:
            if known.type == name:
                return known
        raise PluginError(f"{kind} {name} is not installed")


def document(text: str) -> Document:
    """Read YAML."""
    return parse_document(text.encode(), "conf.yaml")
