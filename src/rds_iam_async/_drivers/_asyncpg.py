"""asyncpg: `postgresql+asyncpg`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from ._driver import Driver, Said, not_verified, verified
from ._postgres import INSTEAD, LIBPQ_TLS, PORT, has_class_28, no_iam_user, said_as_libpq


def asyncpg_driver() -> Driver:
    """Return asyncpg's names and habits."""
    import asyncpg  # here, for the start-up time of those who only mint tokens

    return Driver(
        name="postgresql+asyncpg",
        default_port=PORT,
        connect=asyncpg.connect,
        reserved=frozenset(
            {"password", "user", "host", "port", "dsn", "passfile", "service", "servicefile"}
        ),
        tls_names=LIBPQ_TLS | {"ssl"},
        understand=_understand,
        alpn="postgresql",  # PostgreSQL 17 demands it for direct TLS
        tls_arguments=lambda context: {"ssl": context},
        is_refusal=has_class_28,
        explained=_explained,
    )


def _understand(arguments: Mapping[str, Any]) -> Said:
    """Return what asyncpg's own word and libpq's say.

    asyncpg's default, `prefer`, even sends a refused token again in clear text.
    """
    said = said_as_libpq(arguments)
    if said.keep.get("sslnegotiation") == "direct":
        said = said._replace(keep={"direct_tls": True})
    else:
        said = said._replace(keep={})
    value = arguments.get("ssl")
    if isinstance(value, ssl.SSLContext):
        return said._replace(context=verified("ssl", value))
    if value not in (None, "verify-full"):
        raise not_verified("ssl", value, INSTEAD)
    return said


def _explained(error: BaseException, user: str) -> Exception | None:
    """Explain asyncpg's error where the server wants SCRAM.

    asyncpg's SCRAM code takes exact strings only, so it gives up on a `Secret` before it
    proves knowledge of it: which is right, for no token is a SCRAM password.
    """
    import asyncpg

    if isinstance(error, asyncpg.InternalClientError) and "got Secret" in str(error):
        return asyncpg.InvalidPasswordError(no_iam_user(user))
    return None
