"""Pools that are not SQLAlchemy's: each connection gets the token of now, over verified TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import asyncmy
import asyncpg
import psycopg
import psycopg_pool
import pytest
import trustme

from rds_iam_async import ConfigurationError, RefreshPolicy, TokenRefresher
from rds_iam_async.telemetry import Event, TokenMinted
from rds_iam_async.testing import LocalRds

from .workload import RoleSession, outcomes, until_true

pytestmark = pytest.mark.anyio


class Mints(list[TokenMinted]):
    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenMinted):
            self.append(event)


@pytest.fixture
def mints() -> Mints:
    return Mints()


def refresher_of(server: LocalRds, mints: Mints, **how: object) -> TokenRefresher:
    return TokenRefresher(
        credentials=RoleSession(server),
        ca_file=server.ca_file,
        policy=RefreshPolicy(lifetime=2),
        observe=mints,
        **how,
    )


async def until_replaced(mints: Mints, server: LocalRds) -> None:
    """Let the token be replaced ahead of need, and the server refuse those before."""
    count = len(mints)
    await until_true(lambda: len(mints) > count)
    server.revoke()
    count = len(mints)
    await until_true(lambda: len(mints) > count)
    server.log.clear()


async def test_asyncpg(rds: LocalRds, mints: Mints) -> None:
    """`create_pool` and `connect` take the async callable as it is."""
    refresher = refresher_of(rds, mints)
    how = {
        "host": rds.host,
        "port": rds.port,
        "user": rds.user,
        "database": rds.database,
        "password": refresher.password(rds.endpoint),
        "ssl": refresher.tls(rds.endpoint),
    }
    async with refresher, asyncpg.create_pool(**how, min_size=1, max_size=2) as pool:
        assert await pool.fetchval("select current_user") == rds.user
        await until_replaced(mints, rds)
        await pool.expire_connections()
        assert await pool.fetchval("select current_user") == rds.user
        connection = await asyncpg.connect(**how)
        assert await connection.fetchval("select current_user") == rds.user
        await connection.close()
    assert outcomes(rds) == {"accepted": 2}


async def test_psycopg(rds: LocalRds, mints: Mints) -> None:
    """A pool of psycopg 3.3 asks the async callable for each connection."""
    refresher = refresher_of(rds, mints)
    arguments = refresher.libpq(rds.endpoint)
    assert repr(arguments) == f"<current arguments for {rds.endpoint}>"
    async with (
        refresher,
        psycopg_pool.AsyncConnectionPool(
            f"dbname={rds.database}", kwargs=arguments, open=False, min_size=1, max_size=1
        ) as pool,
    ):
        async with pool.connection() as connection:
            cursor = await connection.execute("select current_user")
            assert await cursor.fetchone() == (rds.user,)
        await until_replaced(mints, rds)
        await pool.drain()
        async with pool.connection() as connection:
            cursor = await connection.execute("select current_user")
            assert await cursor.fetchone() == (rds.user,)
        async with await psycopg.AsyncConnection.connect(
            dbname=rds.database, **await arguments()
        ) as connection:
            assert connection.info.user == rds.user
    assert outcomes(rds).keys() == {"accepted"}


async def test_psycopg_verifies_the_server(rds: LocalRds, mints: Mints, tmp_path: Path) -> None:
    """L14 is in the arguments; nothing was sent."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    refresher = TokenRefresher(credentials=RoleSession(rds), ca_file=other, observe=mints)
    arguments = await refresher.libpq(rds.endpoint)()
    assert "X-Amz" not in repr(arguments)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        await psycopg.AsyncConnection.connect(dbname=rds.database, **arguments)
    assert not {"accepted", "denied"} & outcomes(rds).keys()
    await refresher.aclose()


async def test_psycopg_cannot_use_a_context(rds: LocalRds) -> None:
    """It would be left out in silence otherwise."""
    refresher = TokenRefresher(credentials=rds, tls=ssl.create_default_context())
    with pytest.raises(ConfigurationError, match="libpq takes no SSLContext"):
        refresher.libpq(rds.endpoint)


async def test_asyncmy(mariadb: LocalRds, mints: Mints) -> None:
    """Its `password_creator` is asked before each connection that the pool makes."""
    refresher = refresher_of(mariadb, mints)
    how = {
        "host": mariadb.host,
        "port": mariadb.port,
        "user": mariadb.user,
        "db": mariadb.database,
        "password_creator": refresher.password(mariadb.endpoint),
        "ssl": refresher.tls(mariadb.endpoint),
    }
    async with refresher:
        pool = await asyncmy.create_pool(**how, minsize=1, maxsize=1)
        assert await user_of(pool) == mariadb.user
        await until_replaced(mints, mariadb)
        await pool.clear()
        assert await user_of(pool) == mariadb.user
        pool.close()
        await pool.wait_closed()
    assert outcomes(mariadb) == {"accepted": 1}


async def user_of(pool: asyncmy.Pool) -> str:
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("select user()")
        (user,) = await cursor.fetchone()
    return str(user).partition("@")[0]
