"""Every async driver through the same door: the laws hold whatever speaks to the server."""

from __future__ import annotations

import asyncio
import ssl
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import Credentials, TokenRefresher, open_engine
from rds_iam_async.testing import FakeClock, LocalRds

from .hostile import HOSTILE, HostileServer, server_context
from .workload import RoleSession, SteadyLoad, one_connect, outcomes, time_passes

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]  # a busy machine takes its time

POSTGRESQL = ("postgresql+asyncpg", "postgresql+psycopg")
MYSQL = ("mysql+asyncmy", "mysql+aiomysql")
RDS_NAME = "mydb.abc123.eu-west-1.rds.amazonaws.com"


def fixture_of(driver: str) -> str:
    return "mariadb" if driver.startswith("mysql") else "rds"


@pytest.fixture(params=POSTGRESQL + MYSQL)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(request: pytest.FixtureRequest, driver: str) -> LocalRds:
    server: LocalRds = request.getfixturevalue(fixture_of(driver))
    return server


@pytest.fixture
def url(server: LocalRds, driver: str) -> str:
    return driver + server.url[server.url.index(":") :]


@pytest.fixture
def role(server: LocalRds) -> RoleSession:
    return RoleSession(server)


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, poolclass=NullPool)
    yield engine
    await engine.dispose()


@pytest.fixture
async def refresher(
    engine: AsyncEngine, server: LocalRds, role: RoleSession
) -> AsyncIterator[TokenRefresher]:
    refresher = TokenRefresher(
        engine, ca_file=server.ca_file, region=server.region, credentials=role
    )
    async with refresher:
        yield refresher


async def test_connects_go_on_while_tokens_die(
    engine: AsyncEngine, server: LocalRds, role: RoleSession
) -> None:
    """The promise: no failure, no refused attempt, nothing in clear text."""
    clock = FakeClock(time.time())
    server.wall = clock.wall
    refresher = TokenRefresher(
        engine, ca_file=server.ca_file, region=server.region, credentials=role, clock=clock
    )
    async with refresher, SteadyLoad(engine, refresher, now=clock.wall) as load:
        end = clock.wall() + 1860  # of two tokens' lives
        await time_passes(clock, load, until=lambda: clock.wall() > end, step=120)
    assert load.errors == []
    assert outcomes(server) == {"accepted": len(load.succeeded)}
    (state,) = refresher.status().endpoints
    assert (state.mints >= 3, state.cold_mints) == (True, 0)


async def test_a_revoked_session_costs_one_refused_attempt(
    refresher: TokenRefresher, engine: AsyncEngine, server: LocalRds, role: RoleSession
) -> None:
    """L13: the refusal is recognised, whatever the driver makes of it."""
    await one_connect(engine)
    server.distrust(role.issued[-1])
    await one_connect(engine)
    await one_connect(engine)
    assert outcomes(server) == {"accepted": 3, "denied": 1}
    assert len(role.issued) == 2


async def test_a_second_refusal_is_the_drivers_own_error_without_the_token(
    refresher: TokenRefresher, engine: AsyncEngine, server: LocalRds
) -> None:
    """L4, L13: bare, after two attempts; a traceback with locals does not show the token."""
    server.refuse(2)
    with pytest.raises(Exception, match=r"PAM authentication failed|Access denied") as caught:
        await one_connect(engine)
    assert outcomes(server) == {"denied": 2}
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(told.format())
    assert "one_connect" in shown
    assert "X-Amz-Signature=" not in shown
    await one_connect(engine)


async def test_an_unknown_authority_says_where_to_get_the_bundle(
    url: str, server: LocalRds, role: RoleSession
) -> None:
    """L14: the commonest first error of all, in each driver's own type; nothing was sent."""
    async with open_engine(
        url, region=server.region, credentials=role, poolclass=NullPool
    ) as engine:
        with pytest.raises((DBAPIError, ssl.SSLError), match=r"global-bundle\.pem"):
            await one_connect(engine)
    assert not {"accepted", "denied"} & outcomes(server).keys()


async def test_the_ca_file_may_be_named_as_the_driver_names_it(
    url: str, server: LocalRds, role: RoleSession, driver: str
) -> None:
    """libpq's words, understood for asyncpg too; MySQL's `ssl_ca`."""
    words = "sslmode=verify-full&sslrootcert=" if driver in POSTGRESQL else "ssl_ca="
    async with open_engine(
        f"{url}?{words}{server.ca_file}",
        region=server.region,
        credentials=role,
        poolclass=NullPool,
    ) as engine:
        await one_connect(engine)


@pytest.mark.parametrize("driver", POSTGRESQL, indirect=True)
async def test_direct_tls_by_libpqs_name(url: str, server: LocalRds, role: RoleSession) -> None:
    """PostgreSQL 17 and newer; asyncpg calls it `direct_tls`."""
    async with open_engine(
        f"{url}?sslnegotiation=direct",
        ca_file=server.ca_file,
        region=server.region,
        credentials=role,
        poolclass=NullPool,
    ) as engine:
        await one_connect(engine)


class Keys:
    """A `CredentialSource` of one key that nobody trusts."""

    async def snapshot(self) -> Credentials:
        return Credentials(access_key_id="AKIANOBODY", secret_access_key="nobody")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def connect(driver: str, port: int, ca_file: str, **how: Any) -> None:
    """Connect to a server on localhost that wants the token."""
    async with open_engine(
        f"{driver}://app@localhost:{port}/app",
        ca_file=ca_file,
        region="eu-west-1",
        credentials=Keys(),
        poolclass=NullPool,
        **how,
    ) as engine:
        await one_connect(engine)


@pytest.mark.parametrize("shown", HOSTILE)
async def test_a_hostile_server_never_sees_the_token(
    driver: str, shown: str, authority: trustme.CA, ca_file: str
) -> None:
    """L14: not in clear, not over TLS that was not verified."""
    hostile = HostileServer(HOSTILE[shown](authority), protocol=driver.partition("+")[0])
    async with hostile.running():
        with pytest.raises((OSError, DBAPIError)):
            await connect(driver, hostile.port, ca_file)
    assert hostile.connections > 0
    assert b"X-Amz-Signature" not in hostile.received


async def test_a_server_of_the_right_name_does_see_it(
    driver: str, authority: trustme.CA, ca_file: str
) -> None:
    """The test above can fail: the same server with the right certificate gets the token."""
    tls = server_context(authority, "localhost")
    told = HostileServer(tls, protocol=driver.partition("+")[0])
    async with told.running():
        await what_is_told(told, driver, ca_file)
    assert f"localhost:{told.port}/?Action=connect".encode() in told.received


async def test_a_tunnel_verifies_the_name_that_is_signed(
    driver: str, authority: trustme.CA, ca_file: str
) -> None:
    """What is dialled is localhost; the certificate is the database's own."""
    tls = server_context(authority, RDS_NAME)
    told = HostileServer(tls, protocol=driver.partition("+")[0])
    async with told.running():
        with pytest.raises((OSError, DBAPIError)):
            await connect(driver, told.port, ca_file)
        assert b"X-Amz-Signature" not in told.received
        await what_is_told(told, driver, ca_file, token_host=RDS_NAME, token_port=5432)
    assert f"{RDS_NAME}:5432/?Action=connect".encode() in told.received


async def test_a_tunnel_that_ends_elsewhere_gets_nothing(
    driver: str, authority: trustme.CA, ca_file: str
) -> None:
    """A certificate for the name that is dialled does not do."""
    tls = server_context(authority, "localhost")
    hostile = HostileServer(tls, protocol=driver.partition("+")[0])
    async with hostile.running():
        with pytest.raises((OSError, DBAPIError)):
            await connect(driver, hostile.port, ca_file, token_host=RDS_NAME)
    assert b"X-Amz-Signature" not in hostile.received


@pytest.mark.parametrize("where", ["tls", "connect_args", "listener"])
@pytest.mark.parametrize("driver", ["postgresql+asyncpg", *MYSQL], indirect=True)
async def test_a_context_of_ones_own_verifies_the_name_that_is_signed(
    driver: str, where: str, authority: trustme.CA, ca_file: str
) -> None:
    """Whoever brings it: a certificate for the name that is dialled does not do."""
    context = ssl.create_default_context(cafile=ca_file)
    for name in ("localhost", RDS_NAME):
        tls = server_context(authority, name)
        server = HostileServer(tls, protocol=driver.partition("+")[0])
        async with server.running():
            url = f"{driver}://app@localhost:{server.port}/app"
            given = {"ssl": context} if where == "connect_args" else {}
            engine = create_async_engine(url, poolclass=NullPool, connect_args=given)
            refresher = TokenRefresher(
                region="eu-west-1", credentials=Keys(), ca_file=ca_file if not given else None
            )
            if where == "tls":
                refresher = TokenRefresher(region="eu-west-1", credentials=Keys(), tls=context)
            refresher.attach(engine, token_host=RDS_NAME)
            if where == "listener":
                event.listen(
                    engine.sync_engine, "do_connect", lambda d, r, a, how: how.update(ssl=context)
                )
            connecting = asyncio.ensure_future(one_connect(engine))
            telling = asyncio.ensure_future(server.was_told.wait())
            await asyncio.wait([connecting, telling], return_when="FIRST_COMPLETED")
            connecting.cancel()
            telling.cancel()
            await asyncio.gather(connecting, telling, return_exceptions=True)
            await refresher.aclose()
            await engine.dispose()
        assert server.connections > 0
        assert (b"X-Amz-Signature" in server.received) == (name == RDS_NAME)


async def what_is_told(told: HostileServer, driver: str, ca_file: str, **how: Any) -> None:
    """Connect until the server, which never answers, has been told the token."""
    connecting = asyncio.ensure_future(connect(driver, told.port, ca_file, **how))
    telling = asyncio.ensure_future(told.was_told.wait())
    await asyncio.wait([connecting, telling], return_when="FIRST_COMPLETED")
    connecting.cancel()
    telling.cancel()
    await asyncio.gather(connecting, telling, return_exceptions=True)


async def test_aiomysql_itself_sends_it_in_clear_where_no_tls_is_offered() -> None:
    """Why it is not left to aiomysql: a verifying context is a wish to it."""
    import aiomysql

    stripped = HostileServer(None, protocol="mysql")
    async with stripped.running():
        connecting = asyncio.ensure_future(
            aiomysql.connect(
                host="localhost",
                port=stripped.port,
                user="app",
                password="static-password",
                ssl=ssl.create_default_context(),
            )
        )
        await stripped.was_told.wait()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    assert b"static-password\0" in stripped.received
