"""The options of both halves, checked as far as a schema cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from outline_lb.api import Address, ClientTls, Secret, parse_duration
from outline_lb_websocket.head import is_field_value, is_token
from outline_lb_websocket.packets import CUT_PACKET_MESSAGE

USER_AGENT: Final = "outline-lb/0.1"
_OWN = ("host", "upgrade", "connection", "content-length", "transfer-encoding")  # and Sec-WebSocket-*


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How servers are reached.

    :param tls: how they are verified
    :param headers: further header fields of the request
    :param connect_timeout: seconds for connecting, TLS and the upgrade together
    :param defer_eof_timeout: seconds that our end waits for the server's Close frame; None: it does not wait
    :param packet_max_message: bytes that a message with a packet may have
    """

    tls: ClientTls
    headers: tuple[tuple[str, Secret], ...]
    connect_timeout: float
    defer_eof_timeout: float | None
    packet_max_message: int = CUT_PACKET_MESSAGE

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ConnectOptions:
        """Read a validated node.

        :raises ValueError: if a name, header field or duration cannot be used
        """
        tls = raw["tls"]
        if tls["server_name"] is not None:
            Address.of(tls["server_name"], 0)
        return cls(
            tls=ClientTls(tls["ca"], tuple(tls["pins"]), tls["server_name"], tls["insecure"]),
            headers=_parse_headers(raw["headers"]),
            connect_timeout=_parse_timeout("connect_timeout", raw),
            defer_eof_timeout=_parse_half_close(raw),
            packet_max_message=raw["packet_max_message"],
        )


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Who we are.

    :param certificate: PEM file with the certificate and those between it and the root
    :param key: PEM file with its private key
    """

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How streams and channels for packets are accepted.

    :param address: where to listen
    :param path: the one that is a WebSocket for streams
    :param tls: None without TLS
    :param handshake_timeout: seconds for TLS and the request
    :param defer_eof_timeout: seconds that our end waits for the client's Close frame; None: it does not wait
    :param packet_path: the one that is a WebSocket for packets; None: there is none
    """

    address: Address
    path: Secret
    tls: ServerTls | None
    handshake_timeout: float
    defer_eof_timeout: float | None = None
    packet_path: Secret | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ListenOptions:
        """Read a validated node.

        :raises ValueError: if the address, a path or the duration cannot be used, or if both paths are the same
        """
        tls, path, packet_path = raw["tls"], raw["path"], raw["packet_path"]
        _check_path("path", path)
        if packet_path is not None:
            _check_path("packet_path", packet_path)
            if unquote_to_bytes(packet_path.reveal()) == unquote_to_bytes(path.reveal()):
                raise ValueError("packet_path: is the same as path; packets need a path of their own")
        return cls(
            address=Address.parse(raw["address"]),
            path=path,
            tls=None if tls is None else ServerTls(tls["certificate"], tls["key"]),
            handshake_timeout=_parse_timeout("handshake_timeout", raw),
            defer_eof_timeout=_parse_half_close(raw),
            packet_path=packet_path,
        )


def _parse_headers(raw: Mapping[str, Secret]) -> tuple[tuple[str, Secret], ...]:
    names = [name.lower() for name in raw]
    for name, value in raw.items():
        if not is_token(name):
            raise ValueError(f"headers: {name[:80]!r} is not the name of a header field")
        if name.lower() in _OWN or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"headers: {name} belongs to the handshake itself")
        if names.count(name.lower()) > 1:
            raise ValueError(f"headers: {name} is there twice")
        if not is_field_value(value.reveal()):
            raise ValueError(f"headers: the value of {name} holds characters that a header field cannot have")
    default = () if "user-agent" in names else (("User-Agent", Secret(USER_AGENT)),)
    return (*default, *raw.items())


def _parse_half_close(raw: Mapping[str, Any]) -> float | None:
    return _parse_timeout("half_close_timeout", raw) if raw["half_close"] == "defer" else None


def _parse_timeout(name: str, raw: Mapping[str, Any]) -> float:
    seconds = parse_duration(raw[name])
    if not seconds:
        raise ValueError(f"{name}: must be longer than nothing")
    return seconds


def _check_path(name: str, path: Secret) -> None:
    text = path.reveal()
    if not text.startswith("/"):
        raise ValueError(f"{name}: must begin with /")
    if not text.isascii() or any(char <= " " or char in "?#\x7f" for char in text):
        raise ValueError(f"{name}: holds characters that must be percent-encoded, or a query")
