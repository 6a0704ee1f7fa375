"""Several users on one host, several hosts for one user, two regions, two AWS sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher
from rds_iam_async.testing import LocalRds

from .workload import RoleSession, until_true

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[LocalRds]:
    with LocalRds(region="us-east-1") as rds:
        yield rds


async def user_of(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("select current_user")))


async def test_each_user_host_and_region_has_tokens_of_its_own_signed_by_its_own_keys(
    rds: LocalRds, elsewhere: LocalRds
) -> None:
    """Two AWS sessions never sign for each other's endpoint, on whichever connection."""
    elsewhere.log.clear()
    rds.create_user("tenant")
    here, there = RoleSession(rds), RoleSession(elsewhere)
    refresher = TokenRefresher(credentials=here, ca_file=rds.ca_file)
    app, tenant, far = (
        create_async_engine(url, poolclass=NullPool)
        for url in (rds.url, rds.url.replace("//app@", "//tenant@"), elsewhere.url)
    )
    refresher.attach(app, region=rds.region)
    refresher.attach(tenant, region=rds.region)
    refresher.attach(far, region=elsewhere.region, credentials=there, ca_file=elsewhere.ca_file)
    async with refresher:
        for _ in range(3):
            users = await asyncio.gather(*(user_of(engine) for engine in (app, tenant, far)))
            assert users == ["app", "tenant", "app"]
        refresher.detach(tenant)
        with pytest.raises(Exception, match=r"no encryption|password"):
            await user_of(tenant)
        assert await user_of(app) == "app"
    accepted = [login for login in rds.log if login.outcome == "accepted"]
    assert {login.access_key_id for login in accepted} == set(here.issued)
    assert {login.user for login in accepted} == {"app", "tenant"}
    assert {login.access_key_id for login in elsewhere.log} == set(there.issued)
    assert {login.outcome for login in elsewhere.log} == {"accepted"}
    for engine in (app, tenant, far):
        await engine.dispose()


async def test_a_thousand_attached_and_detached_under_load(rds: LocalRds) -> None:
    """The one that connects all the while feels nothing."""
    role = RoleSession(rds)
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(engine, credentials=role, ca_file=rds.ca_file, region=rds.region)
    connects = 0
    async with refresher:
        for tenant in range(1000):
            url = f"postgresql+asyncpg://tenant{tenant}@{rds.host}:{rds.port}/app"
            other = create_async_engine(url, poolclass=NullPool)
            refresher.attach(other, token_host=rds.host)
            if tenant % 50 == 0:
                assert await user_of(engine) == "app"
                connects += 1
            if tenant % 2:
                refresher.detach(other)
        assert len(refresher.status().endpoints) == 501
        await until_true(lambda: refresher.status().ready)
    assert [login.outcome for login in rds.log] == ["accepted"] * connects
    assert len(role.issued) == 1
    await engine.dispose()
