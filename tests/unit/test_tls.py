"""L14: what the shared context says to a server, and what it demands of one."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from rds_iam_async._tls import Trust, make_context, named_context


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def trust(ca_file: str) -> Trust[ssl.SSLContext]:
    return Trust(lambda: make_context(ca_file, alpn="postgresql"))


def shake_hands(client: ssl.SSLContext, authority: trustme.CA, *, name: str) -> ssl.SSLObject:
    """Let *client* meet a server called `db.test` in memory; return the server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("db.test").configure_cert(context)
    context.set_alpn_protocols(["postgresql"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert waiting == []
    return theirs


def test_a_server_of_the_ca_file_is_met_with_postgresqls_alpn(
    trust: Trust[ssl.SSLContext], authority: trustme.CA
) -> None:
    """PostgreSQL 17 hangs up on direct TLS without it."""
    server = shake_hands(trust.build(), authority, name="db.test")
    assert server.selected_alpn_protocol() == "postgresql"


def test_a_server_of_another_name_is_refused(
    trust: Trust[ssl.SSLContext], authority: trustme.CA
) -> None:
    """The host name is part of it."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(trust.build(), authority, name="evil.test")


def test_a_server_of_another_authority_is_refused(trust: Trust[ssl.SSLContext]) -> None:
    """However right its name."""
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(trust.build(), trustme.CA(), name="db.test")


def test_the_ca_file_is_added_to_the_systems_roots(trust: Trust[ssl.SSLContext]) -> None:
    """RDS Proxy has a public certificate, RDS and Aurora have AWS's own."""
    system = ssl.create_default_context()
    assert trust.build().cert_store_stats()["x509_ca"] == (system.cert_store_stats()["x509_ca"] + 1)


def test_a_context_is_built_once(trust: Trust[ssl.SSLContext]) -> None:
    """Each costs as much as a connect."""
    assert trust.build() is trust.build() is trust.made


def test_the_name_that_is_signed_is_verified_whatever_is_dialled(
    ca_file: str, authority: trustme.CA
) -> None:
    """A CNAME, a tunnel: the certificate is the database's own, and SNI says its name."""
    context = named_context(make_context(ca_file), "db.test")
    shake_hands(context, authority, name="127.0.0.1")


def test_and_only_that_name(ca_file: str, authority: trustme.CA) -> None:
    """The right name dialled does not make a wrong name signed good."""
    context = named_context(make_context(ca_file), "other.test")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(context, authority, name="db.test")
