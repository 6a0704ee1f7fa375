"""What all drivers of PostgreSQL have in common: libpq's words, and how a refusal looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._driver import Said, not_verified, one_of

PORT = 5432
INSTEAD = "name your CA file as ca_file=, or pass an SSLContext of your own as tls="

LIBPQ_TLS = frozenset({"sslmode", "sslrootcert", "sslnegotiation"})
"""libpq's words, understood for every driver (PostgreSQL, "Database Connection Control
Functions", 32.1.2)."""


def said_as_libpq(arguments: Mapping[str, Any]) -> Said:
    """Return what libpq's words say.

    `verify-ca` is understood and exceeded: the host name is verified as well, because with
    public roots, such as those of RDS Proxy, anybody has a certificate.

    Raises:
        ConfigurationError: For a weaker `sslmode`, and for values that libpq does not know.
    """
    mode = arguments.get("sslmode")
    if mode not in (None, "verify-full", "verify-ca"):
        raise not_verified("sslmode", mode, INSTEAD)
    keep = {}
    if (negotiation := arguments.get("sslnegotiation")) is not None:
        one_of("sslnegotiation", negotiation, "direct", "postgres")
        keep = {"sslnegotiation": negotiation}
    roots = arguments.get("sslrootcert")
    # libpq 16 has the word "system" for the system's roots: as if this named no file.
    return Said(ca_file=None if roots in (None, "system") else str(roots), keep=keep)


def has_class_28(error: BaseException) -> bool:
    """Tell whether the server refused the password, by the error's SQLSTATE.

    "Class 28: Invalid Authorization Specification" (PostgreSQL, appendix A). RDS sends
    28000 for a token that it refuses, and 28P01 where the grant of rds_iam is missing.
    """
    return str(getattr(error, "sqlstate", None) or "").startswith("28")


def no_iam_user(user: str) -> str:
    """Return what to say where the server wants a hashed password: the user is no IAM user."""
    return (
        f'the server asked for a SCRAM password of user "{user}", not for an IAM token '
        f'(hint: connect as the superuser and say GRANT rds_iam TO "{user}")'
    )
