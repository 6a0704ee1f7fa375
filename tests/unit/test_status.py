"""L21: readiness is the token's remaining life, not a task's; and trouble is told early."""

from __future__ import annotations

import json

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import EndpointStatus, RefreshPolicy, TokenRefresher
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws

pytestmark = pytest.mark.anyio

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"


def refresher_of(aws: FakeAws, clock: FakeClock) -> TokenRefresher:
    return TokenRefresher(
        create_async_engine(URL), credentials=aws, clock=clock, policy=RefreshPolicy(spread=0)
    )


def only(refresher: TokenRefresher) -> EndpointStatus:
    [status] = refresher.status().endpoints
    return status


async def test_it_is_ready_with_nothing_attached() -> None:
    """A refresher without engines keeps nobody waiting."""
    assert TokenRefresher().status().ready


async def test_a_token_that_is_over_is_not_ready_whatever_is_in_the_slot(
    aws: FakeAws, clock: FakeClock
) -> None:
    """Here the task is gone; the token is still in the slot, and dead."""
    refresher = refresher_of(aws, clock)
    await refresher.start()
    await refresher.aclose()
    await clock.advance(869)
    assert refresher.status().ready
    await clock.advance(1)
    assert not refresher.status().ready
    assert (only(refresher).ready, only(refresher).usable_for) == (False, 0.0)
    assert only(refresher).expires_at is not None


async def test_an_outage_shows_while_the_token_is_still_good(
    aws: FakeAws, clock: FakeClock
) -> None:
    """An early warning, from half of the keys' life on, gone with the next look."""
    async with refresher_of(aws, clock) as refresher:
        aws.goes_down()
        await clock.advance(1801)
        status = only(refresher)
        assert status.ready
        assert status.consecutive_failures == 1
        assert "the test said so" in (status.last_error or "")
        aws.comes_back()
        await clock.advance(0.8 * 1770)
        assert only(refresher).ready
        assert (only(refresher).consecutive_failures, only(refresher).last_error) == (0, None)


async def test_it_tells_what_will_happen_next(aws: FakeAws, clock: FakeClock) -> None:
    """Plain data, which JSON takes."""
    began = clock.wall()
    async with refresher_of(aws, clock) as refresher:
        status = only(refresher)
        assert (status.minted_at, status.expires_at) == (began, began + 900)
        assert (status.next_mint_at, status.usable_for) == (began + 600, 870)
        assert (status.access_key_id, status.provider) == ("ASIAFAKE1", "fake")
        assert status.credentials_expire_at == began + 3600
        json.dumps(refresher.status().to_dict(), allow_nan=False)
        await clock.advance(601)
        assert (only(refresher).mints, only(refresher).minted_at) == (2, began + 600)
    assert only(refresher).next_mint_at is None


async def test_a_crash_shows_until_the_loop_has_turned_again(aws: FakeAws) -> None:
    """L18: visible, though the token in hand is good."""

    class BrokenClock(FakeClock):
        broken = False

        async def wait(self, event: anyio.Event, seconds: float) -> None:
            if self.broken:
                raise ZeroDivisionError("a bug")
            await super().wait(event, seconds)

        async def sleep(self, seconds: float) -> None:
            await super().wait(anyio.Event(), seconds)

    clock = BrokenClock()
    aws.clock = clock
    async with refresher_of(aws, clock) as refresher:
        await clock.settle()
        clock.broken = True
        await clock.advance(20)
        assert refresher.status().ready
        assert only(refresher).last_error == "the refresher crashed: ZeroDivisionError"
        assert only(refresher).consecutive_failures == 1
        clock.broken = False
        await clock.advance(60)
        assert only(refresher).last_error is None


async def test_the_next_mint_is_soon_when_the_clock_was_set_back(
    clock: FakeClock, aws: FakeAws
) -> None:
    """The refresher finds out at its next look, however far away the old instant is now."""
    async with refresher_of(aws, clock) as refresher:
        await clock.settle()
        clock.step(-7200)
        assert not refresher.status().ready
        assert only(refresher).next_mint_at == clock.wall() + 15
        await clock.advance(16)
        assert (only(refresher).ready, only(refresher).mints) == (True, 2)
