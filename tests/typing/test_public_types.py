"""What a type checker knows of the public names; checked by mypy and pyright, never run."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, assert_type

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import (
    Credentials,
    CredentialSource,
    Endpoint,
    EndpointStatus,
    RefreshPolicy,
    Status,
    Token,
    TokenRefresher,
    open_engine,
    sync,
)
from rds_iam_async.telemetry import Event, Observer, TokenMinted, log_events
from rds_iam_async.testing import LocalRds, Login


class Vault:
    """A user's own source of credentials, by structure alone."""

    async def snapshot(self) -> Credentials:
        return Credentials(access_key_id="AKIA", secret_access_key="s", expires_at=None)


async def whole_app() -> None:
    async with open_engine("postgresql+asyncpg://app@db/x", pool_size=5, echo=True) as engine:
        assert_type(engine, AsyncEngine)


async def refresher_of(engine: AsyncEngine) -> None:
    source: CredentialSource = Vault()
    refresher = TokenRefresher(
        engine, credentials=source, policy=RefreshPolicy(lead=120), observe=log_events
    )
    endpoint = refresher.attach(engine, region="eu-west-1")
    assert_type(endpoint, Endpoint)
    async with refresher as same:
        assert_type(same, TokenRefresher)
    await refresher.start(timeout=5)
    await refresher.aclose()
    token = await refresher.token(endpoint)
    assert_type(token, Token)
    assert_type(token.password, str)
    assert_type(refresher.password(endpoint), Callable[[], Awaitable[str]])
    assert_type(refresher.tls(endpoint), ssl.SSLContext)
    status = refresher.status()
    assert_type(status, Status)
    assert_type(status.endpoints, tuple[EndpointStatus, ...])
    assert_type(status.to_dict(), dict[str, Any])
    refresher.detach(engine)


def in_threads(engine: Engine) -> None:
    with sync.open_engine("postgresql+psycopg2://app@db/x", pool_size=5) as opened:
        assert_type(opened, Engine)
    refresher = sync.ThreadedRefresher(engine, credentials=Vault())
    endpoint = refresher.attach(engine, region="eu-west-1")
    with refresher as same:
        assert_type(same, sync.ThreadedRefresher)
    assert_type(refresher.token(endpoint), Token)
    assert_type(refresher.password(endpoint), Callable[[], str])
    assert_type(refresher.tls(endpoint), ssl.SSLContext)
    assert_type(refresher.status(), Status)
    refresher.start(timeout=5)
    refresher.close()
    refresher.detach(engine)


def own_observer(event: Event) -> None:
    match event:
        case TokenMinted(cold=cold):
            assert_type(cold, bool)
        case _:
            pass


OBSERVER: Observer = own_observer


def local() -> None:
    with LocalRds(token_lifetime=4) as rds:
        assert_type(rds.url, str)
        assert_type(rds.endpoint, Endpoint)
        assert_type(rds.credentials, Credentials)
        assert_type(rds.environment, dict[str, str])
        assert_type(list(rds.log), list[Login])
        rds.revoke()
