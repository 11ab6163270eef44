"""What the fault tests on this machine's loopback share: a cipher for bad servers, TLS for them, a clock."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
from conftest import TlsFiles
from faults.bad_upstream import SECRET

from outline_lb.base.secret import Secret
from outline_lb.datapath.cipher import ServerCipher
from outline_lb_cipher_aead.cipher import AeadCipher
from outline_lb_cipher_aead.method import METHODS
from outline_lb_cipher_aead.options import Options


@pytest.fixture
def cipher() -> ServerCipher:
    """Return the server's end of the cipher."""
    return AeadCipher(METHODS["chacha20-ietf-poly1305"], Options(replay_history=0)).server({"user": Secret(SECRET)})


@pytest.fixture
def server_tls(tls_files: TlsFiles) -> ssl.SSLContext:
    """Return a context of a good server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_files.certificate, tls_files.key)
    return context


@pytest.fixture
def clock() -> Callable[[], float]:
    """Return the loop's clock."""
    return lambda: asyncio.get_running_loop().time()
