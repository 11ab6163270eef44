"""TLS as a layer over any stream, and the contexts that go with it.

Our own instead of the loop's: a quarter of the memory per idle flow, TLS inside a tunnel, and an end that tells close_notify from a cut.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..base.errors import ProtocolError, StartError, StreamError, TruncatedError, describe, without_frames
from ..base.stream import Buffer, Hop, Stream
from .socket import RECEIVE_SIZE

_PLAIN = memoryview(bytearray(RECEIVE_SIZE + 64 * 1024))  # shared by all flows; more than one wake-up can decrypt to
SLICE: Final = 80 * 1024
"""Bytes that OpenSSL is given at a time: its buffer keeps for good the size that it once had, in each flow."""
LITTLE: Final = 4 * 1024
"""Bytes up to which it pays to look whether everything was decrypted. To hear it by an `SSLWantReadError` costs as much as a record."""
PIN_PREFIX: Final = "sha256/"


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a server is verified.

    :param ca: file with the PEM certificates that may have signed the server's; None: the system's
    :param pins: the server's public key must be one of these: ``sha256/`` and the base64 of the SHA-256 of its SubjectPublicKeyInfo (RFC 7469)
    :param server_name: name to send (SNI) and to verify instead of the URL's host
    :param insecure: accept any certificate (with pins: any with that key)
    """

    ca: str | None = None
    pins: Sequence[str] = ()
    server_name: str | None = None
    insecure: bool = False

    def context(self, alpn: Sequence[str]) -> ssl.SSLContext:
        """Make the context for a client that speaks these protocols (ALPN, RFC 7301).

        :raises StartError: if the CA file cannot be read
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as exc:
            raise StartError(f"cannot read the CA certificates in {self.ca}: {describe(exc)}") from exc
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return _prepared(context, alpn)


def server_context(certificate: str, key: str, alpn: Sequence[str]) -> ssl.SSLContext:
    """Make the context for a server.

    :param certificate: PEM file with the certificate and those between it and the root
    :param key: PEM file with its private key
    :param alpn: protocols to agree on, the preferred first
    :raises StartError: if a file cannot be read or they do not fit
    """
    for file in (certificate, key):
        try:
            Path(file).open("rb").close()
        except OSError as exc:
            raise StartError(f"cannot read {file}: {describe(exc)}") from exc
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key fails, instead of asking at the terminal
    except (OSError, ValueError) as exc:
        raise StartError(f"cannot use the certificate {certificate} with the key {key}: {describe(exc)}") from exc
    return _prepared(context, alpn)


def _prepared(context: ssl.SSLContext, alpn: Sequence[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some builds of Python leave that to a file of the system's
    context.options |= ssl.OP_NO_RENEGOTIATION  # in the middle of one, nothing can be written
    context.set_alpn_protocols(list(alpn))
    return context


class TlsStream(Hop):
    """TLS over a stream, drained once per wake-up. Await `handshake` before anything else.

    :param lower: the stream to stand upon; becomes ours
    :param context: who we are and whom we trust
    :param server_name: as a client: the name to send and to verify
    :param server_side: whether we are the server
    """

    __slots__ = ("_eof_received", "_eof_sent", "_eof_told", "_incoming", "_kept", "_outgoing", "_paused", "_ready", "_ssl")

    def __init__(self, lower: Stream, context: ssl.SSLContext, server_name: str | None = None, server_side: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = server_name and server_name.removesuffix(".")  # RFC 6066 section 3: SNI, and so certificates, have none
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side, name)
        self._ready: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._paused = True
        self._kept = b""  # decrypted and not delivered: what one wake-up brought
        self._eof_received = False  # close_notify came
        self._eof_told = False
        self._eof_sent = False
        super().__init__(lower)

    async def handshake(self) -> None:
        """Shake hands. Cancelling aborts the stream.

        What the caller writes at once afterwards leaves together with our last flight.

        :raises ssl.SSLError: if a certificate is refused or there is nothing in common
        :raises StreamError: if the peer ends or breaks the connection
        """
        ready = self._ready
        assert ready is not None
        self.lower.resume_reading()
        self._shake()
        try:
            await ready
        except ssl.SSLError:
            self.close()  # sends the alert, which a reset would overtake
            raise
        except BaseException:
            self.abort()
            raise
        else:
            asyncio.get_running_loop().call_soon(self._push)
        finally:
            self._ready = None
            del ready  # no reference circle: its exception knows this frame

    def verify_pin(self, pins: Sequence[str]) -> None:
        """Check the peer's public key, after the handshake.

        :raises ProtocolError: if it is none of `pins`; the text names the pin that would fit
        """
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        try:
            key = x509.load_der_x509_certificate(self._ssl.getpeercert(binary_form=True) or b"").public_key()
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise ProtocolError(f"the server's certificate has no key that can be pinned: {exc}") from exc
        digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        found = PIN_PREFIX + base64.b64encode(digest).decode()
        if not any(hmac.compare_digest(found.encode(), pin.encode()) for pin in pins):
            raise ProtocolError(f"the server's key is {found}, which is not pinned")

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on, if any."""
        return self._ssl.selected_alpn_protocol()

    @property
    def version(self) -> str | None:
        """The version of TLS, such as ``TLSv1.3``."""
        return self._ssl.version()

    def _shake(self) -> None:
        ready = self._ready
        if ready is None or ready.done():
            return
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
            return
        except ssl.SSLError as exc:
            ready.set_exception(without_frames(exc))
            return
        self._ready = None
        self.lower.pause_reading()
        ready.set_result(None)
        if self._incoming.pending:  # came with the last flight
            self._drain(self._incoming.read())

    def _push(self) -> None:
        if self._outgoing.pending:
            self.lower.write(self._outgoing.read())

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        if self.over or self._eof_received:  # RFC 8446 section 6.1: what follows a closure alert is ignored
            return
        if self._ready is None:
            self._drain(data)
        else:
            self._incoming.write(data)
            self._shake()

    def _drain(self, data: Buffer) -> None:
        """Decrypt everything that came, and deliver it in one piece; while paused, keep it.

        Encrypted, nothing whole is left behind: OpenSSL would throw it away in `write_eof`.
        """
        size, view = 0, memoryview(data)
        try:
            for start in range(0, len(view), SLICE):
                self._incoming.write(view[start : start + SLICE])
                size = self._decrypt(size)
                if self._eof_received:
                    break
        except ssl.SSLError as exc:
            self._push()  # an alert
            self.abort(ProtocolError(f"TLS: {describe(exc)}"))
            return
        self._push()  # the answer to a key update
        if self._paused or self._kept:
            self._kept += _PLAIN[:size]
        elif size:
            self.upper.data_received(_PLAIN[:size])
        if self._kept or self._eof_received:
            self._deliver()

    def _decrypt(self, size: int) -> int:
        """Decrypt everything that is there into `_PLAIN`, behind its first `size` bytes, and return how many there are now."""
        plain, space, read, incoming = _PLAIN, len(_PLAIN) - size, self._ssl.read, self._incoming
        little = incoming.pending <= LITTLE
        try:
            while got := read(space, plain[size:]):
                size += got  # type: ignore[operator]
                space -= got  # type: ignore[operator]
                if not space:
                    self._kept += plain
                    size, space = 0, len(plain)
                elif little and not incoming.pending:
                    return size
            self._eof_received = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # instead of 0, once our own close_notify is out
            self._eof_received = True
        return size

    def _deliver(self) -> None:
        """Hand up what was kept, and the end behind it."""
        if self._kept and not (self._paused or self.over):
            kept, self._kept = self._kept, b""
            self.upper.data_received(kept)
        if self._eof_received and not (self._eof_told or self._paused or self.over):
            self._eof_told = True
            self.upper.eof_received()
            if self._eof_sent:
                self.lower.close()

    def eof_received(self) -> None:
        """The connection below ended: cut off, unless close_notify came before."""
        if self._ready is not None:
            self._fail_handshake(TruncatedError("the connection ended during the TLS handshake"))
        elif not (self.over or self._eof_received):
            self.abort(TruncatedError("the connection ended without close_notify"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ready is not None:
            self._fail_handshake(exc or TruncatedError("the connection ended during the TLS handshake"))
        elif exc is None and not (self.over or self._eof_told):
            exc = TruncatedError("the connection ended without close_notify")
        super().connection_lost(exc)

    def _fail_handshake(self, exc: Exception) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(exc if isinstance(exc, StreamError) else StreamError(describe(exc)))

    # -- called by the sink above

    def write(self, data: Buffer) -> None:
        if data and not (self.over or self._eof_sent):
            try:
                self._ssl.write(data)
            except ssl.SSLError as exc:
                self.abort(ProtocolError(f"TLS: {describe(exc)}"))
            else:
                self.lower.write(self._outgoing.read())

    def commit(self, size: int) -> None:
        self.write(self.room[:size])

    def write_eof(self) -> None:
        if not (self.over or self._eof_sent):
            self._eof_sent = True
            with contextlib.suppress(ssl.SSLError):
                self._ssl.unwrap()  # sends close_notify; the peer's may come much later
            self._push()
            if self._eof_told:
                self.lower.close()

    def close(self) -> None:
        self.write_eof()
        super().close()

    def pause_reading(self) -> None:
        self._paused = True
        self.lower.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self.lower.resume_reading()
        if self._kept or self._eof_received is not self._eof_told:
            asyncio.get_running_loop().call_soon(self._deliver)
