"""The server's TLS, looked at and verified; and where that fails, once more to say why."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from ._finding import printable
from ._knock import (
    Family,
    NoTlsError,
    Reply,
    ServerError,
    StrangerError,
    ask_for_tls,
    ask_what_it_wants,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where it is, and what it is to be called.

    Attributes:
        address: What is dialled.
        port: Likewise.
        name: Whose certificate it has to have.
        family: Which protocol it speaks.
        direct: Whether TLS comes first, without being asked for (`sslnegotiation=direct`).
        timeout: The bound on each word, in seconds.
    """

    address: str
    port: int
    name: str
    family: Family
    direct: bool
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a server shows; believe it only when it was verified.

    Attributes:
        names: Whom it is for: host names and addresses.
        issuer: Who signed it.
        begins_at: Unix seconds.
        expires_at: Unix seconds.
    """

    names: tuple[str, ...]
    issuer: str
    begins_at: float
    expires_at: float


Outcome = Literal[
    "verified", "not verified", "no TLS", "old TLS", "a stranger", "turned away", "broken off"
]

# OpenSSL's words for a server that knows only TLS 1.0 or 1.1, whoever of the two says so.
_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of it.

    Attributes:
        outcome: How far it got.
        said: What was heard: the protocol's version, the reason, the stranger's words.
        code: OpenSSL's number for why the certificate was not verified.
        certificate: The server's, once one was seen.
    """

    outcome: Outcome
    said: str
    code: int = 0
    certificate: Certificate | None = None


def look(server: Server, context: ssl.SSLContext) -> Look:
    """Shake hands, verifying the server by *context*."""
    try:
        with _secured(server, context) as tls:
            return Look(outcome="verified", said=tls.version() or "", certificate=_shown(tls))
    except ssl.SSLCertVerificationError as error:
        return Look(
            outcome="not verified",
            said=error.verify_message,
            code=error.verify_code,
            certificate=_look_unverified(server),
        )
    except NoTlsError:
        return Look(outcome="no TLS", said="")
    except StrangerError as stranger:
        return Look(outcome="a stranger", said=str(stranger))
    except ServerError as error:
        return Look(outcome="turned away", said=str(error))
    except ssl.SSLError as error:
        if error.reason in _OLD:
            return Look(outcome="old TLS", said=error.reason)
        if error.reason == "WRONG_VERSION_NUMBER":  # "SSH-2.0" begins like a yes
            return Look(outcome="a stranger", said="'S' for yes, and then no TLS")
        return Look(outcome="broken off", said=_reason(error))
    except TimeoutError:
        return Look(outcome="broken off", said=f"nothing more within {server.timeout:g} s")
    except OSError as error:
        return Look(outcome="broken off", said=_reason(error))


def ask(server: Server, context: ssl.SSLContext, *, user: str, database: str | None) -> Reply:
    """Return what the server, verified by *context*, wants of a user; send nothing secret."""
    try:
        with _secured(server, context) as tls:
            return ask_what_it_wants(tls, server.family, user=user, database=database)
    except (NoTlsError, StrangerError, ServerError) as error:
        return Reply(wants="error", said=str(error) or "no TLS any more")
    except TimeoutError:
        return Reply(wants="error", said=f"no answer within {server.timeout:g} s")
    except OSError as error:
        return Reply(wants="error", said=_reason(error))


def _secured(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((server.address, server.port), server.timeout)
    try:
        if not server.direct:
            ask_for_tls(plain, server.family)
        return context.wrap_socket(plain, server_hostname=server.name)
    except BaseException:
        plain.close()
        raise


def _look_unverified(server: Server) -> Certificate | None:
    """Return the certificate of a server that is not believed; nothing is said to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if server.family == "postgresql":
        context.set_alpn_protocols(["postgresql"])
    try:
        with _secured(server, context) as tls:
            return _shown(tls)
    except (OSError, NoTlsError, StrangerError, ServerError):
        return None  # it has shown one just now, and that one was refused: this is only detail


def _shown(tls: ssl.SSLSocket) -> Certificate | None:
    der = tls.getpeercert(binary_form=True)
    if not der:
        return None
    try:
        parsed = x509.load_der_x509_certificate(der)
        return Certificate(
            names=_names(parsed),
            issuer=_called(parsed.issuer),
            begins_at=parsed.not_valid_before_utc.timestamp(),
            expires_at=parsed.not_valid_after_utc.timestamp(),
        )
    except ValueError:  # OpenSSL is more patient with odd encodings
        return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (_called(certificate.subject),)
    hosts = names.get_values_for_type(x509.DNSName)
    return tuple(
        printable(name) for name in (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))
    )


def _called(name: x509.Name) -> str:
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return printable(str(found[0].value))
    return printable(name.rfc4514_string())


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
