"""L16 under pytest-asyncio, whose fixtures set up and tear down in tasks of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rds_iam_async import TokenRefresher, open_engine
from rds_iam_async.testing import LocalRds


@pytest.fixture(scope="module")
def rds() -> Iterator[LocalRds]:
    with LocalRds() as rds:
        yield rds


@pytest.fixture(autouse=True)
def aws(rds: LocalRds, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)


@pytest_asyncio.fixture
async def engine(rds: LocalRds) -> AsyncIterator[AsyncEngine]:
    async with open_engine(rds.url) as engine:
        yield engine


@pytest_asyncio.fixture
async def refresher(rds: LocalRds) -> AsyncIterator[TokenRefresher]:
    engine = create_async_engine(rds.url)
    async with TokenRefresher(engine) as refresher:
        yield refresher
    await engine.dispose()


@pytest.mark.asyncio
async def test_an_async_generator_fixture_holds_an_engine_open(engine: AsyncEngine) -> None:
    """No cancel scope is held open across its `yield`, which would poison this task."""
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1


@pytest.mark.asyncio
async def test_two_fixtures_at_once(engine: AsyncEngine, refresher: TokenRefresher) -> None:
    """Each with a refresher of its own, closed in the order that pytest likes."""
    assert refresher.status().ready
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1
