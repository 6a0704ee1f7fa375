"""No marker here: these run under `asyncio_mode = auto`, and under `anyio_mode = auto`."""

import asyncio
from pathlib import Path

import parcels
import pytest
from parcels.app import receive
from parcels.shelf import Shelf
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import rds_iam_async
from rds_iam_async import TokenRefresher


@pytest.fixture
async def session(rds_iam_engine):
    async with AsyncSession(rds_iam_engine) as session:
        yield session


async def test_what_is_tested_is_installed():
    for module in (rds_iam_async, parcels):
        assert "site-packages" in Path(module.__file__).parts


@pytest.mark.parametrize("repetition", range(5))
async def test_each_test_begins_with_an_empty_shelf(rds_iam_engine, repetition):
    assert await Shelf(rds_iam_engine).put("Ada") == 1
    assert await Shelf(rds_iam_engine).count() == 1


@pytest.mark.parametrize("repetition", range(2))
async def test_an_async_fixture_upon_the_engine(session, repetition):
    await session.execute(text("insert into parcels (recipient) values ('Ada')"))
    await session.commit()
    assert await session.scalar(text("select count(*) from parcels")) == 1


async def test_the_engine_holds_its_first_token(rds_iam_engine, local_rds):
    await asyncio.gather(*(Shelf(rds_iam_engine).count() for _ in range(5)))
    assert [login.outcome for login in local_rds.log] == ["accepted"] * 5


async def test_a_revoked_token(rds_iam_engine, local_rds):
    shelf = Shelf(rds_iam_engine)
    await shelf.put("Ada")
    local_rds.revoke()
    await shelf.put("Grace")
    assert await shelf.count() == 2
    assert [login.outcome for login in local_rds.log] == [
        *["accepted", "denied"],
        *["accepted"] * 2,
    ]


@pytest.mark.rds_iam(token_lifetime=4)
async def test_the_marker(rds_iam_engine, local_rds):
    assert local_rds.token_lifetime == 4
    assert await Shelf(rds_iam_engine).count() == 0


@pytest.mark.parametrize("repetition", range(2))
async def test_the_app_as_it_is(rds_iam_environment, repetition):
    assert await receive(["Ada", "Grace"]) == 2


async def test_the_app_on_ecs(rds_iam_environment, local_rds, local_aws):
    with local_aws.installed("container"):
        assert await receive(["Ada"]) == 1
    assert {login.access_key_id for login in local_rds.log} == {local_aws.issued[-1].access_key_id}


async def test_an_hour_in_no_time(rds_iam_database, local_rds, rds_iam_clock):
    engine = create_async_engine(rds_iam_database)
    async with TokenRefresher(
        engine,
        credentials=local_rds,
        region=local_rds.region,
        ca_file=local_rds.ca_file,
        clock=rds_iam_clock,
    ) as refresher:
        await rds_iam_clock.advance(3600)
        assert await Shelf(engine).count() == 0
        assert refresher.status().endpoints[0].cold_mints == 0
        await engine.dispose()
