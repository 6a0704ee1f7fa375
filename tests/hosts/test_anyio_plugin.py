"""L16 under anyio's pytest plugin, whose fixtures run in a task that they share with tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rds_iam_async import TokenRefresher, open_engine
from rds_iam_async.testing import LocalRds

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the whole module, as fixtures of its scope need it."""
    return "asyncio"


@pytest.fixture(scope="module")
def refresher(running_rds: LocalRds) -> TokenRefresher:
    return TokenRefresher(
        credentials=running_rds, region=running_rds.region, ca_file=running_rds.ca_file
    )


@pytest.fixture(scope="module")
async def shared(
    anyio_backend: str, running_rds: LocalRds, refresher: TokenRefresher
) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(running_rds.url)
    refresher.attach(engine)
    async with refresher:
        yield engine
    await engine.dispose()


@pytest.fixture
async def own(running_rds: LocalRds) -> AsyncIterator[AsyncEngine]:
    async with open_engine(
        running_rds.url,
        credentials=running_rds,
        region=running_rds.region,
        ca_file=running_rds.ca_file,
    ) as engine:
        yield engine


async def user(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return (await connection.execute(text("select current_user"))).scalar_one()


def refreshers() -> int:
    names = [task.get_name() for task in asyncio.all_tasks()]
    return names.count("rds_iam_async refresher")


async def test_an_async_generator_fixture_holds_an_engine_open(
    own: AsyncEngine, running_rds: LocalRds
) -> None:
    """L16: no cancel scope is held open across its `yield`."""
    assert await user(own) == running_rds.user


async def test_two_fixtures_of_different_scopes(
    shared: AsyncEngine, own: AsyncEngine, refresher: TokenRefresher, running_rds: LocalRds
) -> None:
    """L16: the one that was opened first is closed last; or never, as far as this test sees."""
    assert [await user(shared), await user(own)] == [running_rds.user] * 2
    assert refreshers() == 2
    assert refresher.status().endpoints[0].cold_mints == 0


async def test_a_scope_of_the_test_ends_what_the_test_began(
    shared: AsyncEngine, running_rds: LocalRds
) -> None:
    """L16: a test's own timeout does not reach the fixture's refresher."""
    with anyio.move_on_after(0) as scope:
        await user(shared)
    assert scope.cancelled_caught
    assert await user(shared) == running_rds.user
    assert refreshers() == 1
