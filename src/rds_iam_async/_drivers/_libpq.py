"""Drivers on top of libpq: `postgresql+psycopg`, async and not, and `postgresql+psycopg2`.

libpq does TLS itself: it takes a file of roots and no `ssl.SSLContext`, and has a name
(`host`) beside the address (`hostaddr`) for what is dialled through a tunnel.

psycopg 3 tries each address of a name in turn, also after a refusal: where a name has two
(IPv4 and IPv6), a refused token is sent to both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .._errors import ConfigurationError
from ._driver import Driver, Said
from ._postgres import LIBPQ_TLS, PORT, has_class_28, no_iam_user, said_as_libpq

_WITH_REQUIRE_AUTH = 160000
"""libpq's version from which a client can say how it is willing to log in."""

_RESERVED = frozenset(
    {
        *("password", "passfile", "user", "host", "hostaddr", "port", "service", "servicefile"),
        *("dsn", "conninfo"),
    }
)


def psycopg_async_driver() -> Driver:
    """Return what psycopg 3 is on an async engine."""
    import psycopg

    return replace(psycopg_driver(), connect=psycopg.AsyncConnection.connect)


def psycopg_driver() -> Driver:
    """Return what psycopg 3 is on a sync engine."""
    import psycopg

    return _driver(
        "postgresql+psycopg",
        psycopg.Connection.connect,
        version=psycopg.pq.version(),
        wrong_password=psycopg.errors.InvalidPassword,
    )


def psycopg2_driver() -> Driver:
    """Return psycopg2's names and habits."""
    import psycopg2
    import psycopg2.extensions

    return _driver(
        "postgresql+psycopg2",
        psycopg2.connect,
        version=psycopg2.extensions.libpq_version(),
        wrong_password=psycopg2.OperationalError,
    )


def _driver(
    name: str, connect: Callable[..., Any], *, version: int, wrong_password: type[Exception]
) -> Driver:
    def tls_arguments(path: str) -> dict[str, Any]:
        # Encryption by GSSAPI would come before TLS, and verify no certificate.
        verified = {"sslmode": "verify-full", "sslrootcert": path, "gssencmode": "disable"}
        # A hash of the token is no use to a server that wants a hashed password.
        only_plain = {"require_auth": "password"} if version >= _WITH_REQUIRE_AUTH else {}
        return verified | only_plain

    def explained(error: BaseException, user: str) -> Exception | None:
        if "authentication method requirement" in str(error):
            return wrong_password(no_iam_user(user))
        return None

    return Driver(
        name=name,
        default_port=PORT,
        connect=connect,
        reserved=_RESERVED,
        tls_names=LIBPQ_TLS | {"gssencmode", "require_auth"},
        understand=_understand,
        takes_context=False,
        tls_arguments=tls_arguments,
        is_refusal=_is_refusal,
        explained=explained,
        shows_password=True,  # in the connection string that psycopg makes
    )


def _understand(arguments: Mapping[str, Any]) -> Said:
    if arguments.get("gssencmode") not in (None, "disable"):
        raise ConfigurationError(
            "gssencmode would encrypt without verifying the server's certificate",
            hint="leave it out: it is set to 'disable'",
        )
    return said_as_libpq(arguments)


def _is_refusal(error: BaseException) -> bool:
    # libpq gives no SQLSTATE for a failed connection, only the server's text. Where its
    # lc_messages is not English, a refusal is not recognised, and its token not replaced.
    return has_class_28(error) or "authentication failed" in str(error)
