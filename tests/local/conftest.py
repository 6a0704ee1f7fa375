"""One local RDS for all local tests, handed to each as good as new."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import asyncpg
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SigningKey
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import ConfigurationError, Credentials
from rds_iam_async.testing import FakeClock, LocalAws, LocalRds, Login
from rds_iam_async.testing._mariadb_binaries import MARIADB_BIN, find_mariadb


class Client:
    """Somebody with AWS keys who wants to connect, by means of AWS's SDK and asyncpg."""

    def __init__(self, rds: LocalRds) -> None:
        self.rds = rds
        self.tls = ssl.create_default_context(cafile=rds.ca_file)

    def token(
        self,
        *,
        user: str | None = None,
        host: str | None = None,
        port: int | None = None,
        region: str | None = None,
        key: Credentials | None = None,
        expires: int = 900,
    ) -> str:
        """Sign now, for the local RDS and its IAM user where nothing else is said."""
        rds, key = self.rds, key or self.rds.credentials
        url = f"https://{host or rds.host}:{port or rds.port}/?Action=connect"
        request = AWSRequest("GET", url, params={"DBUser": user or rds.user})
        signing_key = SigningKey(key.access_key_id, key.secret_access_key, key.session_token)
        SigV4QueryAuth(signing_key, "rds-db", region or rds.region, expires=expires).add_auth(
            request
        )
        return str(request.prepare().url).removeprefix("https://")

    async def connect(self, **changes: Any) -> asyncpg.Connection:
        """Connect as `asyncpg.connect` does, with TLS and a token of now."""
        how: dict[str, Any] = {
            "host": self.rds.host,
            "port": self.rds.port,
            "user": self.rds.user,
            "database": self.rds.database,
            "ssl": self.tls,
            **changes,
        }
        if "password" not in how:
            how["password"] = self.token(user=how["user"])
        return await asyncpg.connect(**how)

    async def ask(self, sql: str, **changes: Any) -> Any:
        """Connect, ask one question, and leave."""
        connection = await self.connect(**changes)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    def logins(self, user: str | None = None) -> list[Login]:
        """Return what the log says of one user."""
        return [login for login in self.rds.log if login.user == (user or self.rds.user)]


@pytest.fixture(autouse=True)
async def closed_sockets(anyio_backend: str) -> AsyncIterator[None]:
    """Let the sockets of a test be closed before its loop is.

    asyncpg does not wait for the TLS goodbye of a connection that it gives up, so a loop
    that ends in the same instant would leave it to the garbage collector to complain.
    """
    yield
    watched = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    with anyio.move_on_after(5):
        while len(watched) > 1:  # noqa: ASYNC110 - the self-pipe stays; no event says it
            await anyio.sleep(0.001)


@pytest.fixture(scope="session")
def running_rds() -> Iterator[LocalRds]:
    with LocalRds() as rds:
        yield rds


@pytest.fixture
def rds(running_rds: LocalRds) -> Iterator[LocalRds]:
    """A local RDS without faults, and with an empty log."""
    running_rds.log.clear()
    yield running_rds
    running_rds.clear_faults()


@pytest.fixture
def clock(rds: LocalRds) -> FakeClock:
    """A clock that stands until it is moved; the local RDS goes by it, and local AWS with that."""
    clock = FakeClock(time.time())
    rds.wall = clock.wall
    return clock


@pytest.fixture(scope="session")
def running_mariadb() -> Iterator[LocalRds]:
    """A local RDS for MariaDB. CI installs one: there its absence is a failure."""
    if "CI" not in os.environ and MARIADB_BIN not in os.environ:
        try:
            find_mariadb()
        except ConfigurationError as absent:
            pytest.skip(str(absent))
    with LocalRds(engine="mariadb") as rds:
        yield rds


@pytest.fixture
def mariadb(running_mariadb: LocalRds) -> Iterator[LocalRds]:
    """A local RDS for MariaDB without faults, and with an empty log."""
    running_mariadb.log.clear()
    yield running_mariadb
    running_mariadb.clear_faults()


@pytest.fixture
def client(rds: LocalRds) -> Client:
    return Client(rds)


@pytest.fixture
def aws(rds: LocalRds) -> Iterator[LocalAws]:
    """A local AWS whose keys the local RDS trusts."""
    with LocalAws(rds) as aws:
        yield aws


@pytest.fixture
async def fresh_connects(rds: LocalRds) -> AsyncIterator[AsyncEngine]:
    """An engine on the local RDS that opens a new connection for each use."""
    engine = create_async_engine(rds.url, poolclass=NullPool)
    yield engine
    await engine.dispose()
