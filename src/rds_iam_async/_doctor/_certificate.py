"""Findings about TLS and the server's certificate: offered, trusted, of this name, still good."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from .._region import doubt_about, region_of
from .._tls import BUNDLE, trusts_file_alone
from ._finding import Finding, failed, ok
from ._look import Certificate, Look
from ._subject import Subject

# OpenSSL's X509_V_ERR_…: x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
_AGAINST_RFC_5280 = range(80, 94)

_SOON = 30 * 86400.0

_GET_BUNDLE = "rds-iam-async ca-bundle --output global-bundle.pem"


def trust(subject: Subject, context: ssl.SSLContext, ca_file: str | None) -> Finding:
    """Return what servers are verified by."""
    if ca_file is None:
        return ok("CA file", "none: only the system's roots, as for RDS Proxy")
    count = context.cert_store_stats()["x509_ca"]
    authorities = f"{count} {'authority' if count == 1 else 'authorities'}"
    if trusts_file_alone(ca_file, subject.signed_host):
        return ok("CA file", f"{ca_file} alone, {authorities}")
    return ok("CA file", f"{ca_file} beside the system's roots, {authorities}")


def tls(subject: Subject, look: Look) -> Finding:
    """Return whether the server speaks TLS, and its own protocol."""
    protocol = "MySQL" if subject.family == "mysql" else "PostgreSQL"
    where = f"{subject.host}:{subject.port}"
    if look.outcome == "verified":
        return ok("TLS", look.said)
    if look.outcome == "not verified":
        return ok("TLS", f"{protocol} at {where} offers it")
    if look.outcome == "no TLS":
        return failed(
            "TLS",
            f"{protocol} at {where} offers no TLS, so it is sent no token",
            fix="connect to the RDS endpoint itself, which always offers it: this is another "
            "server, or a pooler or tunnel that ends TLS",
        )
    if look.outcome == "old TLS":
        return failed(
            "TLS",
            f"{protocol} at {where} speaks no TLS that is new enough: 1.2 is the least "
            f"({look.said})",
            fix="allow TLS 1.2 in the database's parameter group (ssl_max_protocol_version, or "
            "MySQL's tls_version), or upgrade the engine",
        )
    if look.outcome == "a stranger":
        return failed(
            "TLS",
            f"{where} does not speak {protocol}: it says {look.said}",
            fix=f"check the port and the URL's dialect; {protocol}'s usual port is "
            f"{subject.driver.default_port}",
        )
    if look.outcome == "turned away":
        return failed(
            "TLS",
            f"{protocol} at {where} turns everybody away: {look.said}",
            fix="see the database's own log; if it has too many connections, close some",
        )
    return failed(
        "TLS",
        f"{where} accepts a connection, then does not shake hands: {look.said}",
        fix=f"check that {protocol} listens there, and what stands in between: a tunnel "
        "whose far end does not reach the database, a proxy or load balancer with no healthy "
        "target, a firewall that inspects TLS",
    )


def certificate(subject: Subject, look: Look, *, ca_file: str | None, now: float) -> Finding:
    """Return whether the server is who it should be.

    Args:
        subject: Who that is.
        look: What was seen.
        ca_file: The roots that are trusted.
        now: Unix seconds.
    """
    seen = look.certificate
    if look.outcome == "verified":
        return ok("certificate", _praise(subject, seen, now=now))
    if look.code in _UNTRUSTED:
        return _untrusted(subject, seen, ca_file)
    if look.code in _OTHER_NAME:
        return _other_name(subject, seen)
    if look.code == _EXPIRED:
        return _expired(seen, ca_file, now=now)
    if look.code == _NOT_YET_VALID:
        began = f" until {_day(seen.begins_at)}" if seen else ""
        return failed(
            "certificate",
            f"it is not valid yet{began}, by this machine's clock",
            fix="set the clock by NTP",
        )
    if look.code in _AGAINST_RFC_5280:
        return failed(
            "certificate",
            f"it breaks RFC 5280, which Python verifies to the letter from 3.13 on: {look.said}",
            fix="let its authority make a better one; until then pass tls= an SSLContext without "
            "VERIFY_X509_STRICT",
        )
    return failed(
        "certificate", f"it cannot be verified: {look.said}", fix="see OpenSSL's verify(1)"
    )


def _praise(subject: Subject, seen: Certificate | None, *, now: float) -> str:
    if seen is None:
        return f"verified for {subject.signed_host}"
    left = seen.expires_at - now
    soon = f", in {left / 86400:.0f} days: see to its renewal" if left < _SOON else ""
    return (
        f"of {subject.signed_host}, by {seen.issuer}, until {_day(seen.expires_at)}{soon}; "
        "verified, name included"
    )


def _untrusted(subject: Subject, seen: Certificate | None, ca_file: str | None) -> Finding:
    issuer = repr(seen.issuer) if seen else "an unknown authority"
    where = "not among the system's roots, and no CA file is set"
    if trusts_file_alone(ca_file, subject.signed_host):
        where = f"not in {ca_file}, which alone is trusted for an RDS instance or cluster"
    elif ca_file:
        where = f"neither in {ca_file} nor among the system's roots"
    return failed(
        "certificate",
        f"the certificate is by {issuer}, which is {where}: no token is sent",
        fix="use AWS's current bundle, if this is RDS or Aurora; else the file of the authority "
        f"that made this certificate\n{_GET_BUNDLE}\nexport RDS_IAM_CA_FILE=$PWD/global-bundle.pem",
    )


def _other_name(subject: Subject, seen: Certificate | None) -> Finding:
    names = seen.names if seen else ()
    shown = ", ".join(names[:3]) or "others"
    rds_name = next((name for name in names if region_of(name)), None)
    if rds_name is not None and doubt_about(subject.signed_host):
        fix = (
            f"{subject.host} is an alias, a tunnel or a load balancer: pass --token-host "
            f"{rds_name} (token_host= in the app), which is verified and signed then"
        )
    elif subject.token_host is not None:
        fix = f"correct --token-host: the certificate has {shown}; or it is another server"
    else:
        fix = f"connect to a name that the certificate has: {shown}; or it is another server"
    return failed(
        "certificate",
        f"the host name is wrong: the certificate is for {shown}, not for {subject.signed_host}; "
        "no token is sent",
        fix=fix,
    )


def _expired(seen: Certificate | None, ca_file: str | None, *, now: float) -> Finding:
    if seen is not None and seen.expires_at > now:
        return failed(
            "certificate",
            f"an authority above it has expired; the server's own is good until "
            f"{_day(seen.expires_at)}",
            fix=f"replace {ca_file or 'the CA file'} by the current bundle, from {BUNDLE}\n"
            f"{_GET_BUNDLE}",
        )
    when = f" on {_day(seen.expires_at)}" if seen else ""
    return failed(
        "certificate",
        f"the server's certificate expired{when}",
        fix="let RDS make a new one: 'aws rds modify-db-instance' with "
        "--ca-certificate-identifier rds-ca-rsa2048-g1",
    )


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).date().isoformat()
