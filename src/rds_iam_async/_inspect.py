"""What a URL, options and an engine show before anything is dialled; refuses what cannot work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Set
from typing import Any

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine

from ._drivers import Driver, Said, driver_named
from ._errors import ConfigurationError

_BYPASSES = ("creator", "async_creator", "pool")
_CLIENT_CERTIFICATE = ("sslcert", "sslkey", "sslpassword", "sslcrl")


def parsed(url: str | URL) -> URL:
    """Return *url* in its parts.

    Raises:
        ConfigurationError: When it has none; the message does not show it.
    """
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError quotes what stands in the port's place
        raise ConfigurationError(
            "the URL cannot be parsed", hint="write postgresql+asyncpg://user@host/database"
        ) from None


def check_url(url: URL, *, is_async: bool = True) -> Driver:
    """Refuse a URL that names no single user and host, or holds a password.

    Args:
        url: As given to `create_async_engine` or `create_engine`.
        is_async: To which of them.

    Returns:
        The driver that it names.

    Raises:
        ConfigurationError: As said; the message does not show the password.
    """
    driver = driver_named(_driver_name(url), is_async=is_async)
    example = f"{driver.name}://user@host/database"
    if url.password is not None or {"password", "passwd"} & url.query.keys():
        raise ConfigurationError(
            "the URL has a password", hint="remove it: the IAM token takes its place"
        )
    if "host" in url.query or "," in (url.host or ""):
        raise ConfigurationError(
            "the URL names several hosts, or its host as a query argument",
            hint="name one host: a token is signed for one; attach an engine for each host",
        )
    if not url.host:
        raise ConfigurationError("the URL has no host", hint=f"write {example}")
    if url.host[0] in "/@":
        raise ConfigurationError(
            f"the URL's host {url.host!r} is a Unix socket, which has no TLS",
            hint="name the host that serves TCP",
        )
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ConfigurationError(
            f"the URL's port {url.port} is not from 1 to 65535",
            hint=f"write the database's port, such as {driver.default_port}",
        )
    if not url.username or "user" in url.query:
        raise ConfigurationError(
            "the URL has no user, or has it as a query argument",
            hint=f"write {example}",
        )
    for name in sorted(driver.reserved & url.query.keys()):
        raise ConfigurationError(
            f"the URL has {name}= as a query argument",
            hint=f"write {driver.name}://user@host:port/database: a token is signed for it",
        )
    if driver.takes_context:
        for name in _CLIENT_CERTIFICATE:
            if name in url.query:
                raise ConfigurationError(
                    f"the URL has {name}=, which {driver.name} does not know",
                    hint="load it into an SSLContext, passed as tls=",
                )
    return driver


def _driver_name(url: URL) -> str:
    try:
        return f"{url.get_backend_name()}+{url.get_driver_name()}"
    except NoSuchModuleError:  # SQLAlchemy looks for the usual driver of a dialect by its name
        return url.drivername


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `create_engine` or `create_async_engine` that get round `do_connect`.

    Raises:
        ConfigurationError: When one of them is there.
    """
    for name in _BYPASSES:
        if options.get(name) is not None:
            raise _bypass(name)


def sync_engine_of(engine: AsyncEngine) -> Engine:
    """Return the engine that carries the events.

    Raises:
        ConfigurationError: When *engine* is no async engine.
    """
    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            f"{type(engine).__name__} is not an AsyncEngine",
            hint="attach what create_async_engine() returned; what create_engine() returns "
            "goes to rds_iam_async.sync.ThreadedRefresher",
        )
    return engine.sync_engine


def checked_sync(engine: Engine) -> Engine:
    """Return *engine* if its connections block.

    Raises:
        ConfigurationError: When it is an async engine, or something else.
    """
    if not isinstance(engine, Engine) or engine.dialect.is_async:
        raise ConfigurationError(
            f"{type(engine).__name__} is not the Engine of a sync driver",
            hint="attach what create_engine() returned; what create_async_engine() returns "
            "goes to rds_iam_async.TokenRefresher",
        )
    return engine


def check_engine(engine: Engine) -> tuple[Driver, Said, frozenset[str]]:
    """Refuse an engine whose connections would not pass `do_connect`, or would weaken TLS.

    SQLAlchemy shows it by no public name: a pool that it made itself calls the function
    `connect` of its `create_engine`, bound to the engine's own dialect and to the
    arguments of each connection.

    Returns:
        The driver that it uses, what it says about TLS, and the names of the arguments in
        which it says so.

    Raises:
        ConfigurationError: For `async_creator=`, `creator=`, `pool=`, for what `check_url`
            refuses, and for `connect_args` with a password, another address or weak TLS.
    """
    driver = check_url(engine.url, is_async=engine.dialect.is_async)
    creator = getattr(engine.pool, "_creator", None)
    made_by = getattr(creator, "__module__", None)
    bound: Mapping[str, Any] = {}
    if inspect.isfunction(creator) and made_by == "sqlalchemy.engine.create":
        bound = inspect.getclosurevars(creator).nonlocals
    if bound.get("dialect") is not engine.dialect:
        raise _bypass("async_creator, creator or pool")
    from_url = engine.dialect.create_connect_args(engine.url)[1]
    given: Mapping[str, Any] = bound.get("cparams", from_url)
    _check_connect_args(
        driver, {n for n, value in given.items() if from_url.get(n, _ABSENT) != value}
    )
    about_tls = {n: value for n, value in given.items() if n in driver.tls_names}
    return driver, driver.understand(about_tls), frozenset(about_tls)


def _check_connect_args(driver: Driver, names: Set[str]) -> None:
    for name in sorted(driver.reserved & names):
        secret = name in ("password", "passwd", "passfile", "password_creator")
        raise ConfigurationError(
            f"connect_args has {name!r}",
            hint="leave the password out: the token takes its place"
            if secret
            else "name the user, host and port in the URL only: the token is signed for them",
        )


_ABSENT = object()


def _bypass(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"the engine was made with {name}=, so its connections do not pass do_connect",
        hint="make it from a URL alone; for a pool of another kind, use poolclass=, or "
        "refresher.password(endpoint) with the driver's own pool",
    )
