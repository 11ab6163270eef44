"""The server's side of a SOCKS5 handshake, sans I/O (RFC 1928; user names and passwords: RFC 1929)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, TypeAlias

from outline_lb.api import Address, AddressError, AddressTypeError, Buffer, Reason, decode_address, encode_address

VERSION: Final = 5
NO_AUTHENTICATION: Final = 0x00
PASSWORD: Final = 0x02
NO_ACCEPTABLE: Final = 0xFF
MAX_UNAUTHENTICATED: Final = 16 * 1024
"""Bytes that are kept of a client behind its password, while nobody has said whether that is right."""

_PASSWORD_VERSION = 1  # of the sub-negotiation
_MAX_ADDRESS = 1 + 1 + 255 + 2
_UNKNOWN = Address("0.0.0.0", 0)  # noqa: S104 - says that there is nothing to say


class Command(enum.IntEnum):
    """What a client can ask for (RFC 1928 section 4); BIND is not among it."""

    CONNECT = 1
    UDP_ASSOCIATE = 3


class Rep(enum.IntEnum):
    """The answer to a request (RFC 1928 section 6)."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


REPS: Final = {
    Reason.FAILED: Rep.GENERAL_FAILURE,
    Reason.NOT_ALLOWED: Rep.NOT_ALLOWED,
    Reason.NETWORK_UNREACHABLE: Rep.NETWORK_UNREACHABLE,
    Reason.HOST_UNREACHABLE: Rep.HOST_UNREACHABLE,
    Reason.REFUSED: Rep.CONNECTION_REFUSED,
    Reason.TIMEOUT: Rep.TTL_EXPIRED,
}


def encode_reply(rep: Rep, bound: Address | None = None) -> bytes:
    """Return the answer to a request.

    :param rep: how it went
    :param bound: our end of the stream to the target, if known; or the relay for datagrams
    """
    return bytes((VERSION, rep, 0)) + encode_address(bound or _UNKNOWN)


class RefusedError(Exception):
    """The handshake is over without a request; `Handshake.take` has what tells the client so."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client says it is; `Handshake.judge` goes on from here."""

    name: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What the client wants, and what it sent behind that without waiting for the answer.

    :param command: what to do
    :param target: where to; with UDP_ASSOCIATE, where its datagrams will come from, as far as it knows
    :param payload: what came behind the request
    """

    command: Command
    target: Address
    payload: bytes


Event: TypeAlias = Credentials | Request


class _Step(enum.Enum):
    GREETING = enum.auto()
    CREDENTIALS = enum.auto()
    JUDGEMENT = enum.auto()
    REQUEST = enum.auto()
    DONE = enum.auto()


class Handshake:
    """The handshake of one client. Give it what comes, and send what `take` returns after each call, also after an error.

    :param authenticate: whether the client must give name and password
    """

    __slots__ = ("_buffer", "_method", "_replies", "_step")

    def __init__(self, authenticate: bool) -> None:
        self._method = PASSWORD if authenticate else NO_AUTHENTICATION
        self._step = _Step.GREETING
        self._buffer = bytearray()
        self._replies = bytearray()

    def feed(self, data: Buffer) -> Event | None:
        """Take everything available.

        :return: what is to be decided now; None if more bytes are needed
        :raises RefusedError: if there is nothing to go on with
        """
        self._buffer += data
        return self._advance()

    def judge(self, accepted: bool) -> Event | None:
        """Answer the credentials, and go on with what is there.

        :return: what is to be decided next; None if more bytes are needed
        :raises RefusedError: if they were not accepted, or there is nothing to go on with
        """
        assert self._step is _Step.JUDGEMENT
        if not accepted:
            raise self._refuse(bytes((_PASSWORD_VERSION, 1)), "wrong user name or password")
        self._replies += bytes((_PASSWORD_VERSION, 0))
        self._step = _Step.REQUEST
        return self._advance()

    def take(self) -> bytes:
        """Return what is to be sent, once."""
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def _advance(self) -> Event | None:
        if self._step is _Step.GREETING:
            self._read_greeting()
        if self._step is _Step.CREDENTIALS:
            return self._read_credentials()
        if self._step is _Step.REQUEST:
            return self._read_request()
        return None

    def _read_greeting(self) -> None:
        buffer = self._buffer
        if buffer and buffer[0] != VERSION:
            raise self._refuse(b"", f"speaks no SOCKS5: it begins with {bytes(buffer[:4])!r}")
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return
        end = 2 + buffer[1]
        if self._method not in buffer[2:end]:
            wanted = "a user name and a password" if self._method == PASSWORD else "no authentication"
            raise self._refuse(bytes((VERSION, NO_ACCEPTABLE)), f"does not offer {wanted}")
        del buffer[:end]
        self._replies += bytes((VERSION, self._method))
        self._step = _Step.CREDENTIALS if self._method == PASSWORD else _Step.REQUEST

    def _read_credentials(self) -> Credentials | None:
        buffer = self._buffer
        if buffer and buffer[0] != _PASSWORD_VERSION:
            raise self._refuse(bytes((_PASSWORD_VERSION, 1)), f"authenticates in version {buffer[0]}, not {_PASSWORD_VERSION}")
        if len(buffer) < 2 or len(buffer) < 3 + buffer[1]:
            return None
        name_end = 2 + buffer[1]
        end = name_end + 1 + buffer[name_end]
        if len(buffer) < end:
            return None
        credentials = Credentials(bytes(buffer[2:name_end]), bytes(buffer[name_end + 1 : end]))
        del buffer[:end]
        if len(buffer) > MAX_UNAUTHENTICATED:
            raise self._refuse(b"", "sends too much before it is authenticated")
        self._step = _Step.JUDGEMENT
        return credentials

    def _read_request(self) -> Request | None:
        buffer = self._buffer
        if buffer and buffer[0] != VERSION:
            raise self._refuse(encode_reply(Rep.GENERAL_FAILURE), f"requests in version {buffer[0]}, not {VERSION}")
        if len(buffer) < 4:
            return None
        try:
            command = Command(buffer[1])
        except ValueError:
            raise self._refuse(encode_reply(Rep.COMMAND_NOT_SUPPORTED), f"wants command {buffer[1]}") from None
        try:
            found = decode_address(bytes(buffer[3 : 3 + _MAX_ADDRESS]))
        except AddressTypeError as exc:
            raise self._refuse(encode_reply(Rep.ADDRESS_TYPE_NOT_SUPPORTED), str(exc)) from None
        except AddressError as exc:
            raise self._refuse(encode_reply(Rep.HOST_UNREACHABLE), str(exc)) from None
        if found is None:
            return None
        target, size = found
        payload = bytes(buffer[3 + size :])
        buffer.clear()
        self._step = _Step.DONE
        return Request(command, target, payload)

    def _refuse(self, reply: bytes, why: str) -> RefusedError:
        self._replies += reply
        self._buffer.clear()
        self._step = _Step.DONE
        return RefusedError(why)
