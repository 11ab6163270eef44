"""Every exception that the core raises on purpose.

::

    OutlineLBError
    ├── ConfigError          the configuration is wrong: a list of problems, each with its place          exit code 2
    ├── PluginError          a plugin is missing, broken, or clashes with another                         exit code 2
    ├── StartError           something needed from the system is not to be had (port, file)               exit code 1
    ├── AddressError         text or bytes that are no address (also a ValueError)
    ├── DialError            no stream could be opened
    │   ├── UpstreamError    ... because the upstream could not be reached: another one may do
    │   └── TargetError      ... because of the target itself: another upstream would not help
    └── StreamError          a stream ended other than cleanly (also a ConnectionError)
        ├── ProtocolError    the peer broke the protocol
        ├── GoingAwayError   the server said that it goes away, or wants to be left alone
        ├── TruncatedError   the peer's end came without saying that it was one
        └── AbortedError     our own side ended it
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass


class OutlineLBError(Exception):
    """Base class of all errors defined by outline-lb."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration.

    :param message: what is wrong and what would be right; never contains a value that may be secret
    :param pointer: JSON pointer (RFC 6901) of the node; "" is the whole document
    :param file: where the node was read from ("" if from no file)
    :param line: line of the node, from 1; 0 where there is none
    :param column: column of the node, from 1; 0 where there is none
    """

    message: str
    pointer: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.pointer, self.message) if part)


class ConfigError(OutlineLBError):
    """The configuration is wrong.

    :param problems: everything that was found, in document order; at least one
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems: Sequence[Problem] = problems


class PluginError(OutlineLBError):
    """A plugin is missing, broken, or clashes with another one."""


class StartError(OutlineLBError):
    """Something that is needed from the system could not be had; the text names it."""


class AddressError(OutlineLBError, ValueError):
    """Text or bytes that are no address."""


class Reason(enum.Enum):
    """Why a target was not reached, as far as anybody knows (what SOCKS5 and HTTP frontends can tell an application)."""

    FAILED = "failed"
    NOT_ALLOWED = "not allowed"
    NETWORK_UNREACHABLE = "network unreachable"
    HOST_UNREACHABLE = "host unreachable"
    REFUSED = "connection refused"
    TIMEOUT = "timed out"


_REASONS = {
    errno.ENETUNREACH: Reason.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: Reason.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reason.HOST_UNREACHABLE,
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.EACCES: Reason.NOT_ALLOWED,
    errno.EPERM: Reason.NOT_ALLOWED,
}


class DialError(OutlineLBError):
    """No stream could be opened.

    :param operation: what was tried, such as ``connect``, ``tls``, ``upgrade``, ``resolve``
    :param cause: the exception behind it, or a sentence
    :param sent: whether payload had already left, so that trying elsewhere could deliver it twice
    :param reason: why, in the words that frontends can pass on; None: taken from the cause
    """

    def __init__(self, operation: str, cause: BaseException | str, sent: bool = False, reason: Reason | None = None) -> None:
        super().__init__(f"{operation}: {describe(cause)}")
        self.operation = operation
        self.cause = cause
        self.sent = sent
        self.reason = reason or reason_of(cause)


class UpstreamError(DialError):
    """The upstream could not be reached or did not answer as it should: another one may do.

    :param operation: as for `DialError`, and so are `cause`, `sent` and `reason`
    :param retry_after: seconds in which it is no use to try again, if the server said so
    """

    def __init__(
        self,
        operation: str,
        cause: BaseException | str,
        sent: bool = False,
        reason: Reason | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(operation, cause, sent, reason)
        self.retry_after = retry_after


class TargetError(DialError):
    """The target itself could not be reached: another upstream would not help, and this one is not to blame."""


class StreamError(OutlineLBError, ConnectionError):
    """A stream ended other than cleanly."""


class ProtocolError(StreamError):
    """The peer broke the protocol."""


class GoingAwayError(StreamError):
    """The server ended the stream because it goes away, restarts, or has too much to do: new ones are better opened elsewhere."""


class TruncatedError(StreamError):
    """The peer's end came without saying that it was one, so bytes may be missing."""


class AbortedError(StreamError):
    """Our own side ended the stream."""


def reason_of(cause: BaseException | str) -> Reason:
    """Return the reason that stands behind an exception."""
    if isinstance(cause, DialError):
        return cause.reason
    if isinstance(cause, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(cause, socket.gaierror):
        return Reason.HOST_UNREACHABLE
    if isinstance(cause, ssl.SSLError):  # an OSError whose number is not an errno
        return Reason.FAILED
    if isinstance(cause, OSError) and cause.errno is not None:
        return _REASONS.get(cause.errno, Reason.FAILED)
    return Reason.FAILED


def describe(cause: BaseException | str) -> str:
    """Return one short line for people about an exception."""
    if isinstance(cause, str):
        return cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate refused: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or str(cause)).replace("_", " ").lower()
    if isinstance(cause, OSError) and cause.strerror:
        if cause.errno is None or cause.errno not in errno.errorcode or isinstance(cause, socket.gaierror):
            return cause.strerror
        return os.strerror(cause.errno)  # the loops put more into theirs
    return str(cause) or type(cause).__name__


def without_frames(exc: Exception) -> Exception:
    """Return an exception, to be kept, without the traceback of it and of those behind it.

    Tracebacks hold the frames, these hold the whole pile of streams, and one of those holds the exception: only the collector would end that.
    """
    link: BaseException | None = exc
    seen = []
    while link is not None and link not in seen:
        seen.append(link)
        link.__traceback__ = None
        link = link.__context__ if link.__cause__ is None else link.__cause__
    return exc
