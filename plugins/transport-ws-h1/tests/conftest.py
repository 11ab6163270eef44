from __future__ import annotations

import pytest
import trustme

from outline_lb.api import ClientTls
from outline_lb_transport_ws_h1.options import ServerTls


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClientTls, ServerTls]:
    """Provide a server with a certificate for 127.0.0.1 and hidden.example, and a client that knows its authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority, certificate, key = (folder / f"{name}.pem" for name in ("authority", "certificate", "key"))
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1", "hidden.example")
    ca.cert_pem.write_to_path(authority)
    issued.private_key_pem.write_to_path(key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate, append=True)
    return ClientTls(ca=str(authority)), ServerTls(str(certificate), str(key))
