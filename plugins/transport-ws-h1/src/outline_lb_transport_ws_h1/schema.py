"""What a configuration may say (JSON Schema 2020-12)."""

from __future__ import annotations

from typing import Any, Final

from outline_lb_websocket.packets import CUT_PACKET_MESSAGE, MAX_PACKET_MESSAGE

_DURATION: Final = {"$ref": "outline-lb:defs#/$defs/duration"}
_FILE: Final = {"$ref": "outline-lb:defs#/$defs/file"}

_HALF_CLOSE: Final = {
    "enum": ["close-frame", "defer"],
    "default": "close-frame",
    "description": "how our direction ends: by a Close frame at once; or, for peers to whom a Close is the end of both directions (v2ray, Xray), "
    "only after theirs or half_close_timeout",
}
_HALF_CLOSE_TIMEOUT: Final = {**_DURATION, "description": "with half_close: defer, how long the peer's Close is waited for"}

CONNECT: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "tls": {
            "type": "object",
            "additionalProperties": False,
            "description": "how the server of a wss:// URL is verified",
            "default": {"ca": None, "pins": [], "server_name": None, "insecure": False},
            "properties": {
                "ca": {
                    "anyOf": [_FILE, {"type": "null"}],
                    "default": None,
                    "description": "file with the PEM certificates that may have signed the server's; null: the system's",
                },
                "pins": {
                    "type": "array",
                    "items": {"type": "string", "pattern": "^sha256/[A-Za-z0-9+/]{43}=$"},
                    "default": [],
                    "description": "the server's public key must be one of these: sha256/ and the base64 of the SHA-256 of its SubjectPublicKeyInfo",
                },
                "server_name": {
                    "type": ["string", "null"],
                    "default": None,
                    "description": "name to send (SNI) and to verify instead of the URL's host",
                },
                "insecure": {
                    "type": "boolean",
                    "default": False,
                    "description": "accept any certificate; with pins: any that has such a key",
                },
            },
        },
        "headers": {
            "type": "object",
            "additionalProperties": {"x-secret": True, "type": ["string", "object"]},
            "default": {},
            "description": "further header fields of the upgrade request, such as User-Agent; their values are secrets",
        },
        "connect_timeout": {
            **_DURATION,
            "default": "10s",
            "description": "how long connecting, TLS and the upgrade may take together",
        },
        "half_close": _HALF_CLOSE,
        "half_close_timeout": {**_HALF_CLOSE_TIMEOUT, "default": "60s"},
        "packet_max_message": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PACKET_MESSAGE,
            "default": CUT_PACKET_MESSAGE,
            "description": "UDP: the most bytes of a WebSocket message; a larger packet is dropped. Outline's server loses what it does not read at "
            f"once, so up to {CUT_PACKET_MESSAGE} it gets bursts in portions; {MAX_PACKET_MESSAGE} is for servers that read whole messages",
        },
    },
}

LISTEN: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["address"],
    "properties": {
        "address": {"$ref": "outline-lb:defs#/$defs/address", "description": "where to listen"},
        "path": {
            "x-secret": True,
            "type": ["string", "object"],
            "default": "/",
            "description": "the path that is a WebSocket for streams (TCP); any other does not exist",
        },
        "packet_path": {
            "anyOf": [{"x-secret": True, "type": ["string", "object"]}, {"type": "null"}],
            "default": None,
            "description": "the path that is a WebSocket for packets (UDP); null: there is none",
        },
        "tls": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": ["certificate", "key"],
            "default": None,
            "description": "null: without TLS, as behind a web server that has it",
            "properties": {
                "certificate": {**_FILE, "description": "PEM file with the certificate and those between it and the root"},
                "key": {**_FILE, "description": "PEM file with its private key"},
            },
        },
        "handshake_timeout": {
            **_DURATION,
            "default": "10s",
            "description": "how long a client may take for TLS and its request",
        },
        "half_close": _HALF_CLOSE,
        "half_close_timeout": {**_HALF_CLOSE_TIMEOUT, "default": "2s"},
    },
}
