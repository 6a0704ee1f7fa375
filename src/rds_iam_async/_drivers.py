"""What each driver calls things: the one table to extend for a new one."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._errors import ConfigurationError

_STRICT = "verify-full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """One driver's names and habits.

    Attributes:
        name: SQLAlchemy's name for dialect and driver.
        default_port: Dialled when the URL names none.
        connect: The driver's own coroutine function.
        is_refusal: Whether an error says that the server refused the password.
        explained: A plainer error for one that a user of IAM cannot understand, given the
            database user; `None` where the driver's own says it.
    """

    name: str
    default_port: int
    connect: Callable[..., Awaitable[Any]]
    is_refusal: Callable[[BaseException], bool]
    explained: Callable[[BaseException, str], Exception | None]


def driver_named(name: str) -> Driver:
    """Return the driver that SQLAlchemy calls *name*.

    Raises:
        ConfigurationError: When there is none in the table.
    """
    if name != "postgresql+asyncpg":
        raise ConfigurationError(
            f"the driver {name!r} is not supported", hint="use a postgresql+asyncpg:// URL"
        )
    import asyncpg  # here, for the start-up time of those who only mint tokens

    return Driver(
        name=name,
        default_port=5432,
        connect=asyncpg.connect,
        is_refusal=_has_class_28,
        explained=_no_iam_user,
    )


def _has_class_28(error: BaseException) -> bool:
    # "Class 28: Invalid Authorization Specification" (PostgreSQL, appendix A). RDS sends
    # 28000 for a token that it refuses, and 28P01 where the grant of rds_iam is missing.
    return str(getattr(error, "sqlstate", None) or "").startswith("28")


def _no_iam_user(error: BaseException, user: str) -> Exception | None:
    """Explain asyncpg's error where the server wants SCRAM: the user is no IAM user.

    asyncpg's SCRAM code takes exact strings only, so it gives up on a `Secret` before it
    proves knowledge of it: which is right, for no token is a SCRAM password.
    """
    import asyncpg

    if not isinstance(error, asyncpg.InternalClientError) or "got Secret" not in str(error):
        return None
    return asyncpg.InvalidPasswordError(
        f'the server asked for a SCRAM password of user "{user}", not for an IAM token '
        f'(hint: connect as the superuser and say GRANT rds_iam TO "{user}")'
    )


OURS = ("password", "user", "host", "port", "dsn", "passfile", "service", "servicefile")
"""Arguments of `asyncpg.connect` that say who connects where, which the URL has said."""


def check_connect_args(connect_args: Mapping[str, Any]) -> None:
    """Refuse `connect_args` that would change what is dialled, or weaken TLS.

    Args:
        connect_args: As given to `create_async_engine`.

    Raises:
        ConfigurationError: When one of `OURS` is there, or `check_tls` refuses `ssl`.
    """
    for name in OURS:
        if name in connect_args:
            raise ConfigurationError(
                f"connect_args has {name!r}",
                hint="leave the password out: the token takes its place"
                if name in ("password", "passfile")
                else "name the user, host and port in the URL only: the token is signed for them",
            )
    if "ssl" in connect_args:
        check_tls(connect_args["ssl"])


def check_tls(value: Any) -> ssl.SSLContext | None:
    """Return the context that the `ssl` argument gives, `None` for the shared one.

    Args:
        value: As in the URL or in `connect_args`: a context that verifies, or asyncpg's
            word `verify-full`.

    Raises:
        ConfigurationError: When *value* would let a token go to a server that was not
            verified. asyncpg's default, `prefer`, even sends a refused token again in
            clear text.
    """
    if value is None or value == _STRICT:
        return None
    if isinstance(value, ssl.SSLContext):
        if value.check_hostname and value.verify_mode is ssl.CERT_REQUIRED:
            return value
        raise ConfigurationError(
            "the ssl context in connect_args does not verify the server",
            hint="leave ssl out, or pass the context as tls= if you mean it",
        )
    raise ConfigurationError(
        f"ssl={value!r} does not make sure that the token goes to your database only",
        hint="leave ssl out (verify-full is the default); name your CA file as ca_file=, "
        "or pass an SSLContext of your own as tls=",
    )
