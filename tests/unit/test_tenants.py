"""Tenants come and go: a thousand engines on one refresher, attached and detached as it runs."""

from __future__ import annotations

import gc
import os
import weakref

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws

pytestmark = pytest.mark.anyio

MANY = 1000


def engine_of(tenant: int, *, region: str = "eu-west-1") -> AsyncEngine:
    host = f"tenant{tenant}.abc.{region}.rds.amazonaws.com"
    return create_async_engine(f"postgresql+asyncpg://app@{host}/orders", poolclass=NullPool)


@pytest.fixture
def refresher(aws: FakeAws, clock: FakeClock) -> TokenRefresher:
    return TokenRefresher(credentials=aws, clock=clock)


async def test_a_thousand_come_while_it_runs_and_cost_one_look(
    refresher: TokenRefresher, aws: FakeAws, clock: FakeClock
) -> None:
    """Each has a token before its first connection asks for one."""
    async with refresher:
        engines = [engine_of(tenant) for tenant in range(MANY)]
        for engine in engines:
            refresher.attach(engine)
        await clock.advance(0.001)
        status = refresher.status()
        assert (status.ready, len(status.endpoints), aws.calls) == (True, MANY, 1)
        await clock.advance(600)
        assert {state.mints for state in refresher.status().endpoints} == {2}


async def test_those_who_go_leave_nothing(
    refresher: TokenRefresher, aws: FakeAws, clock: FakeClock
) -> None:
    """No token, no listener, no engine is kept; the others go on."""
    stays = engine_of(0)
    refresher.attach(stays)
    async with refresher:
        gone = []
        for tenant in range(1, MANY):
            engine = engine_of(tenant)
            refresher.attach(engine)
            gone.append(weakref.ref(engine.sync_engine))
            await clock.advance(0.001)
            refresher.detach(engine)
            assert len(engine.sync_engine.dialect.dispatch.do_connect) == 0
        del engine
        await clock.advance(600)
        gc.collect()
        assert [engine() for engine in gone if engine() is not None] == []
        (state,) = refresher.status().endpoints
        assert (state.ready, state.mints) == (True, 2)


async def test_one_who_comes_back_starts_anew(
    refresher: TokenRefresher, aws: FakeAws, clock: FakeClock
) -> None:
    """What was minted for it before is gone with the detach."""
    engine = engine_of(1)
    async with refresher:
        for _ in range(3):
            refresher.attach(engine)
            await clock.advance(0.001)
            (state,) = refresher.status().endpoints
            assert (state.ready, state.mints) == (True, 1)
            refresher.detach(engine)
            assert refresher.status().endpoints == ()


async def test_two_regions_are_two_endpoints(refresher: TokenRefresher) -> None:
    """Each is signed for its own."""
    regions = {
        refresher.attach(engine_of(1, region=region)).region
        for region in ("eu-west-1", "us-gov-west-1")
    }
    assert regions == {"eu-west-1", "us-gov-west-1"}


async def test_keys_of_a_tenants_own_go_with_it(
    refresher: TokenRefresher, clock: FakeClock
) -> None:
    """The refresher's own stay."""
    gone = []
    async with refresher:
        for tenant in range(20):
            engine, keys = engine_of(tenant), FakeAws(clock)
            refresher.attach(engine, credentials=keys)
            await clock.advance(0.001)
            gone.append(weakref.ref(keys))
            refresher.detach(engine)
        del engine, keys
        await clock.advance(600)
        gc.collect()
        assert [keys() for keys in gone if keys() is not None] == []
        refresher.attach(engine_of(1))
        await clock.advance(0.001)
        assert refresher.status().ready


async def test_a_thousand_names_are_verified_by_one_set_of_roots(
    refresher: TokenRefresher,
) -> None:
    """A file of roots, or a context of 0.8 MB, for each would end in no memory and no files."""
    for tenant in range(20):
        url = "postgresql+psycopg://app@127.0.0.1/orders"
        host = f"tenant{tenant}.abc.eu-west-1.rds.amazonaws.com"
        refresher.attach(create_async_engine(url, poolclass=NullPool), token_host=host)
    before = memory_files()
    async with refresher:
        assert memory_files() - before <= 1


def memory_files() -> int:
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(
        "rds_iam_async-roots" in os.readlink(link) for link in links if os.path.lexists(link)
    )
