"""What a URL, options and an engine show before anything is dialled; refuses what cannot work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from ._drivers import Driver, check_connect_args, check_tls, driver_named
from ._errors import ConfigurationError

_BYPASSES = ("creator", "async_creator", "pool")
_NOT_IN_QUERY = ("port", "dsn", "service", "servicefile", "passfile")
_FOREIGN = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation")


def check_url(url: URL) -> Driver:
    """Refuse a URL that names no single user and host, holds a password or weakens TLS.

    Returns:
        The driver that it names.

    Raises:
        ConfigurationError: As said; the message does not show the password.
    """
    driver = driver_named(url.drivername)
    if url.password is not None or "password" in url.query:
        raise ConfigurationError(
            "the URL has a password", hint="remove it: the IAM token takes its place"
        )
    if "host" in url.query or "," in (url.host or ""):
        raise ConfigurationError(
            "the URL names several hosts, or its host as a query argument",
            hint="name one host: a token is signed for one; attach an engine for each host",
        )
    if not url.host:
        raise ConfigurationError(
            "the URL has no host", hint="write postgresql+asyncpg://user@host/database"
        )
    if url.host[0] in "/@":
        raise ConfigurationError(
            f"the URL's host {url.host!r} is a Unix socket, which has no TLS",
            hint="name the host that serves TCP",
        )
    if not url.username or "user" in url.query:
        raise ConfigurationError(
            "the URL has no user, or has it as a query argument",
            hint="write postgresql+asyncpg://user@host/database",
        )
    for name in _NOT_IN_QUERY:
        if name in url.query:
            raise ConfigurationError(
                f"the URL has {name}= as a query argument",
                hint="write postgresql+asyncpg://user@host:port/database: a token is signed for it",
            )
    for name in _FOREIGN:
        if name in url.query:
            raise ConfigurationError(
                f"the URL has {name}=, which asyncpg does not know",
                hint="leave it out (TLS is verified, host name included); "
                "name your CA file as ca_file=",
            )
    check_tls(url.query.get("ssl"))
    return driver


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `create_async_engine` that would get round `do_connect`.

    Raises:
        ConfigurationError: For these, and for `connect_args` that `check_connect_args`
            refuses.
    """
    for name in _BYPASSES:
        if options.get(name) is not None:
            raise _bypass(name)
    check_connect_args(options.get("connect_args") or {})


def sync_engine_of(engine: AsyncEngine) -> Engine:
    """Return the engine that carries the events.

    Raises:
        ConfigurationError: When *engine* is no async engine.
    """
    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            f"{type(engine).__name__} is not an AsyncEngine",
            hint="attach what create_async_engine() returned",
        )
    return engine.sync_engine


def check_engine(engine: Engine) -> Driver:
    """Refuse an engine whose connections would not pass `do_connect`.

    SQLAlchemy shows it by no public name: a pool that it made itself calls the function
    `connect` of its `create_engine`, bound to the engine's own dialect and to the
    arguments of each connection.

    Returns:
        The driver that it uses.

    Raises:
        ConfigurationError: For `async_creator=`, `creator=`, `pool=`, for what `check_url`
            refuses, and for `connect_args` with a password, another address or weak TLS.
    """
    driver = check_url(engine.url)
    creator = getattr(engine.pool, "_creator", None)
    made_by = getattr(creator, "__module__", None)
    bound: Mapping[str, Any] = {}
    if inspect.isfunction(creator):
        bound = inspect.getclosurevars(creator).nonlocals
    if made_by != "sqlalchemy.engine.create" or bound.get("dialect") is not engine.dialect:
        raise _bypass("async_creator, creator or pool")
    from_url = engine.dialect.create_connect_args(engine.url)[1]
    given: Mapping[str, Any] = bound.get("cparams", {})
    check_connect_args(
        {name: value for name, value in given.items() if from_url.get(name, _ABSENT) != value}
    )
    return driver


_ABSENT = object()


def _bypass(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"the engine was made with {name}=, so its connections do not pass do_connect",
        hint="make it from a URL with create_async_engine(); for a pool of another kind, use "
        "poolclass=, or refresher.password(endpoint) with asyncpg.create_pool()",
    )
