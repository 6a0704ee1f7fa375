"""A certificate authority for one local RDS, and the server's certificate from it."""

from __future__ import annotations

import ssl
from pathlib import Path

from .._errors import ConfigurationError

LOCAL_EXTRA = "pip install 'rds-iam-async[local]'"


def issue_certificate(host: str, *, ca_file: Path, key_file: Path) -> ssl.SSLContext:
    """Write a new authority's certificate to *ca_file*, and a server's with its key.

    Args:
        host: Whom it is for.
        ca_file: What clients are to trust.
        key_file: What is the server's own; it is there already, with its mode.

    Returns:
        A server's context with a certificate for *host*, localhost and 127.0.0.1.

    Raises:
        ConfigurationError: When trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise ConfigurationError("trustme is not installed", hint=LOCAL_EXTRA) from error
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert(host, "localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(key_file))
    tls.load_cert_chain(key_file)
    tls.set_alpn_protocols(["postgresql"])
    authority.cert_pem.write_to_path(str(ca_file))
    return tls
