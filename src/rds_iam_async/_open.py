"""A whole app in one block: URL in, engine out, everything wired, everything closed."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ._credentials import CredentialSource
from ._engine import TokenRefresher
from ._inspect import check_options, check_url, parsed
from ._schedule import RefreshPolicy
from ._to_the_end import to_the_end
from .telemetry import Observer, log_events

_DEFAULT_POLICY = RefreshPolicy()
_FAREWELL = 5.0
"""How long leaving the block waits for pooled connections to close, in seconds."""


@contextlib.asynccontextmanager
async def open_engine(
    url: str | URL,
    *,
    region: str | None = None,
    token_host: str | None = None,
    token_port: int | None = None,
    session: Any = None,
    credentials: CredentialSource | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    tls: ssl.SSLContext | None = None,
    policy: RefreshPolicy = _DEFAULT_POLICY,
    observe: Observer = log_events,
    max_connects_per_second: float | None = None,
    **engine_options: Any,
) -> AsyncGenerator[AsyncEngine]:
    """Open an engine whose connections log in with IAM tokens minted ahead of need.

    The first token is minted before the block is entered; on leaving the engine is
    disposed and the refresher closed. For a readiness probe make the engine yourself and
    use `TokenRefresher`, which has `status()`.

    Args:
        url: `postgresql+asyncpg://user@host[:port]/database`, without a password; or with
            another driver that `TokenRefresher` knows.
        region: As for `TokenRefresher.attach`, like all up to *observe*.
        token_host: The RDS name to sign, where the URL dials something else.
        token_port: The port to sign, likewise.
        session: Who gives AWS credentials.
        credentials: Or any `CredentialSource`.
        ca_file: Roots in PEM to trust, as for `TokenRefresher`.
        tls: Or a context of your own.
        policy: When to act and how long to wait.
        observe: Called with each event.
        max_connects_per_second: As for `TokenRefresher`.
        engine_options: For `create_async_engine`, untouched.

    Raises:
        ConfigurationError: As `TokenRefresher.attach`; nothing was sent.
        CredentialsError: When AWS gives no keys to sign with.
        MintError: When there was no token within 10 s.

    Example:
        ```python
        url = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
        async with open_engine(url) as engine, engine.connect() as connection: ...
        ```
    """
    address = parsed(url)
    check_url(address)
    check_options(engine_options)
    refresher = TokenRefresher(
        session=session,
        credentials=credentials,
        region=region,
        ca_file=ca_file,
        tls=tls,
        policy=policy,
        observe=observe,
        max_connects_per_second=max_connects_per_second,
    )
    engine = create_async_engine(address, **engine_options)
    try:
        refresher.attach(engine, token_host=token_host, token_port=token_port)
        await refresher.start()
        yield engine
    finally:
        await to_the_end(_leave(engine, refresher), within=2 * _FAREWELL)


async def _leave(engine: AsyncEngine, refresher: TokenRefresher) -> None:
    try:
        with anyio.move_on_after(_FAREWELL):
            await engine.dispose()
    finally:
        await refresher.aclose()
