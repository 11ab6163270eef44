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

from ..base.errors import ProtocolError, StartError, StreamError, TruncatedError, describe
from ..base.stream import Buffer, Hop, Stream
from .socket import RECEIVE_SIZE

_PLAIN = memoryview(bytearray(RECEIVE_SIZE + 64 * 1024))  # shared by all flows; more than one wake-up can decrypt to
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
        context.set_alpn_protocols(list(alpn))
        return context


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
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as exc:
        raise StartError(f"cannot use the certificate {certificate} with the key {key}: {describe(exc)}") from exc
    context.set_alpn_protocols(list(alpn))
    return context


class TlsStream(Hop):
    """TLS over a stream, drained once per wake-up. Await `handshake` before anything else.

    :param lower: the stream to stand upon; becomes ours
    :param context: who we are and whom we trust
    :param server_name: as a client: the name to send and to verify
    :param server_side: whether we are the server
    """

    __slots__ = ("_eof_received", "_eof_sent", "_incoming", "_outgoing", "_paused", "_ready", "_ssl")

    def __init__(self, lower: Stream, context: ssl.SSLContext, server_name: str | None = None, server_side: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        self._ready: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._paused = True
        self._eof_sent = self._eof_received = False
        super().__init__(lower)

    async def handshake(self) -> None:
        """Shake hands. Cancelling aborts the stream.

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
            self.close()  # not a reset, which would overtake the alert
            raise
        except BaseException:
            self.abort()
            raise

    def verify_pin(self, pins: Sequence[str]) -> None:
        """Check the peer's public key, after the handshake.

        :raises ProtocolError: if it is none of `pins`; the text names the pin that would fit
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        certificate = self._ssl.getpeercert(binary_form=True) or b""
        key = x509.load_der_x509_certificate(certificate).public_key()
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
            self._push()  # the alert tells the peer why
            ready.set_exception(exc)
            return
        self._push()
        self._ready = None
        if self._paused:
            self.lower.pause_reading()
        ready.set_result(None)

    def _push(self) -> None:
        if self._outgoing.pending:
            self.lower.write(self._outgoing.read())

    # -- called by the stream below

    def data_received(self, data: Buffer) -> None:
        self._incoming.write(data)
        if self._ready is not None:
            self._shake()
        else:
            self._deliver()

    def _deliver(self) -> None:
        """Hand up everything that can be decrypted, in one piece."""
        if self.over or self._paused:
            return
        size, ended, failure = 0, False, None
        read, plain = self._ssl.read, _PLAIN
        try:
            while size < len(plain):
                got = read(len(plain) - size, plain[size:])
                if not got:
                    ended = True
                    break
                size += got  # type: ignore[operator]
            else:
                asyncio.get_running_loop().call_soon(self._deliver)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            failure = exc
        if self._outgoing.pending:  # an alert, or the answer to a key update
            self._push()
        if size:
            self.upper.data_received(plain[:size])
        if failure is not None:
            self.abort(ProtocolError(f"TLS: {describe(failure)}"))
        elif ended and not self.over:
            self._eof_received = True
            if self._eof_sent:
                self.lower.close()
            self.upper.eof_received()

    def eof_received(self) -> None:
        """The connection below ended: cut off, unless close_notify came before."""
        if self._ready is not None:
            self._fail_handshake(TruncatedError("the connection ended during the TLS handshake"))
        elif not (self.over or self._eof_received):
            self.abort(TruncatedError("the connection ended without close_notify"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail_handshake(exc or TruncatedError("the connection ended during the TLS handshake"))
        super().connection_lost(exc)

    def _fail_handshake(self, exc: Exception) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(exc if isinstance(exc, StreamError) else ProtocolError(describe(exc)))

    # -- called by the sink above

    def write(self, data: Buffer) -> None:
        if data and not (self.over or self._eof_sent):
            self._ssl.write(data)
            self.lower.write(self._outgoing.read())

    def commit(self, size: int) -> None:
        self.write(self.room[:size])

    def write_eof(self) -> None:
        if not (self.over or self._eof_sent):
            self._eof_sent = True
            with contextlib.suppress(ssl.SSLError):
                self._ssl.unwrap()  # sends close_notify; the peer's may come much later
            self._push()
            if self._eof_received:
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
        if self._incoming.pending or self._ssl.pending():
            asyncio.get_running_loop().call_soon(self._deliver)
