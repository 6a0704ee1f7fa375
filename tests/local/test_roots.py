"""L14: for the name of an RDS instance or cluster only the CA file is trusted, if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher
from rds_iam_async.sync import ThreadedRefresher
from rds_iam_async.testing import LocalRds

from .workload import RoleSession, one_connect, outcomes

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

INSTANCE = "mydb.c0ffee000000.eu-west-1.rds.amazonaws.com"
PROXY = "mydb.proxy-c0ffee000000.eu-west-1.rds.amazonaws.com"
OTHER = "db.example.com"


@pytest.fixture(scope="module", params=[INSTANCE, PROXY, OTHER])
def rds(request: pytest.FixtureRequest) -> Iterator[LocalRds]:
    """A server with a certificate of this name."""
    with LocalRds(host=request.param, region="eu-west-1") as rds:
        yield rds


@pytest.fixture(autouse=True)
def public(rds: LocalRds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make its authority one of the system's."""
    rds.log.clear()
    monkeypatch.delenv("RDS_IAM_CA_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", rds.ca_file)
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    """AWS's, so to say: without the authority of the server's certificate."""
    path = tmp_path / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


async def in_a_loop(driver: str, rds: LocalRds, ca_file: str | None) -> None:
    """Connect by a tunnel, which is where the server's name is not looked up."""
    url = f"postgresql+{driver}://app@127.0.0.1:{rds.port}/app"
    engine = create_async_engine(url, poolclass=NullPool)
    async with TokenRefresher(
        credentials=RoleSession(rds), region=rds.region, ca_file=ca_file
    ) as refresher:
        refresher.attach(engine, token_host=rds.host)
        await one_connect(engine)


async def in_a_thread(driver: str, rds: LocalRds, ca_file: str | None) -> None:
    url = f"postgresql+{driver}://app@127.0.0.1:{rds.port}/app"
    engine = create_engine(url, poolclass=NullPool)
    with ThreadedRefresher(
        credentials=RoleSession(rds), region=rds.region, ca_file=ca_file
    ) as refresher:
        refresher.attach(engine, token_host=rds.host)
        with engine.connect() as connection:
            connection.execute(text("select 1"))


WAYS = [(in_a_loop, "asyncpg"), (in_a_loop, "psycopg"), (in_a_thread, "psycopg")]
each_way = pytest.mark.parametrize(
    ("connect", "driver"), WAYS, ids=lambda one: getattr(one, "__name__", one)
)


@each_way
async def test_a_public_certificate_gets_no_token_meant_for_rds_itself(
    connect: Any, driver: str, rds: LocalRds, bundle: str
) -> None:
    """RDS's own never chain to public roots; RDS Proxy's do, and of other names who knows."""
    if rds.host == INSTANCE:
        with pytest.raises(Exception, match=r"(?s)Trusted are the roots in .*bundle\.pem' alone"):
            await connect(driver, rds, bundle)
        assert "accepted" not in outcomes(rds)
    else:
        await connect(driver, rds, bundle)
        assert outcomes(rds) == {"accepted": 1}


@each_way
async def test_without_a_file_the_systems_roots_are_trusted_for_every_name(
    connect: Any, driver: str, rds: LocalRds
) -> None:
    """Some add AWS's bundle to them, when they build their machines."""
    await connect(driver, rds, None)
    assert outcomes(rds) == {"accepted": 1}


@each_way
async def test_the_file_is_trusted_for_every_name(
    connect: Any, driver: str, rds: LocalRds, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is trusted beside it."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    await connect(driver, rds, rds.ca_file)
    assert outcomes(rds) == {"accepted": 1}


async def test_a_context_for_asyncpg_alone_follows_the_same_rule(
    rds: LocalRds, bundle: str
) -> None:
    """`tls()` is for those who connect without SQLAlchemy."""
    refresher = TokenRefresher(credentials=RoleSession(rds), region=rds.region, ca_file=bundle)
    trusted = len(refresher.tls(rds.endpoint).get_ca_certs())
    assert trusted == (1 if rds.host == INSTANCE else 2)
