"""The fault matrix of docs/explanation/failures.md: the app's loops, and what runs in them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import anyio
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import EndpointStatus, RefreshPolicy, TokenRefresher
from rds_iam_async.telemetry import Event, RefresherRestarted, TokenMinted
from rds_iam_async.testing import FakeClock, LocalAws, LocalRds

from .test_credentials_done_right import Witness, state_of, until
from .workload import SteadyLoad, one_connect, outcomes, time_passes, until_true

pytestmark = pytest.mark.anyio

REFRESHER = "rds_iam_async refresher"


def refresher_of(rds: LocalRds, engine: AsyncEngine, **how: Any) -> TokenRefresher:
    policy = RefreshPolicy(lifetime=900 if "clock" in how else 2)
    how = {"credentials": rds, "policy": policy, "observe": Witness(), **how}
    return TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, **how)


def seen_from_outside(refresher: TokenRefresher) -> EndpointStatus:
    """Ask for the state in another thread: in its loop, asking alone revives the task."""
    states: list[EndpointStatus] = []
    thread = threading.Thread(target=lambda: states.append(state_of(refresher)))
    thread.start()
    thread.join()
    return states[0]


def task_names() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks()]


# The loop and the task


async def test_loop_blocked_for_3_s(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """L12: the token died meanwhile; connects that were due wait for the next one."""
    rds.token_lifetime = 3  # with us 2: what is minted anew has a second more to get there
    seen: list[EndpointStatus] = []

    async with (
        refresher_of(rds, fresh_connects) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        await load.see(connects=3)

        def watch() -> None:
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                seen.append(state_of(refresher))
                time.sleep(0.01)

        watching = threading.Thread(target=watch)
        watching.start()
        time.sleep(3)  # noqa: ASYNC251 - the fault
        watching.join()
        await load.see(connects=5)
        await until_true(lambda: state_of(refresher).ready)
    assert (seen[-1].ready, seen[-1].usable_for) == (False, 0)
    assert load.errors == []


async def test_refresher_task_killed(
    rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L12, L21: ready while the token is; the first connect after that starts a task again."""
    witness = Witness()
    async with (
        refresher_of(rds, fresh_connects, observe=witness, clock=clock) as refresher,
        SteadyLoad(fresh_connects) as load,
    ):
        await load.see(connects=1)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == REFRESHER]
        task.cancel()
        await asyncio.wait([task])
        state = seen_from_outside(refresher)
        assert state.next_mint_at is None
        assert state.ready
        await time_passes(clock, load, until=lambda: len(witness.of(TokenMinted)) == 2, step=120)
        assert witness.of(TokenMinted)[1].cold
        assert REFRESHER in task_names()
        await time_passes(clock, load, until=lambda: len(witness.of(TokenMinted)) == 3, step=120)
        assert not witness.of(TokenMinted)[2].cold
        assert seen_from_outside(refresher).next_mint_at is not None
        await load.see(connects=3)
    assert load.errors == []


class BuggyClock(FakeClock):
    """A clock moved by hand; with a bug, where the refresher's loop waits."""

    bug: Exception | None = None

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if self.bug is not None:
            raise self.bug
        await super().wait(event, seconds)

    async def sleep(self, seconds: float) -> None:
        await super().wait(anyio.Event(), seconds)


async def test_refresher_loop_crashes_repeatedly(
    rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L18: for longer than a token lives; the clock is where a bug can be planted."""
    clock, witness = BuggyClock(time.time()), Witness()
    rds.wall = clock.wall
    async with (
        refresher_of(rds, fresh_connects, clock=clock, observe=witness) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        first = state_of(refresher)
        clock.bug = ZeroDivisionError("a bug")
        while len(witness.of(RefresherRestarted)) < 3:
            await clock.advance(1)
        assert {event.error for event in witness.of(RefresherRestarted)} == {clock.bug}
        state = state_of(refresher)
        assert state.ready
        assert state.consecutive_failures > 0
        assert state.last_error == "the refresher crashed: ZeroDivisionError"
        end = first.expires_at
        assert end is not None
        await time_passes(clock, load, until=lambda: clock.wall() > end, step=60)
        await load.see(connects=3)
        clock.bug = None
        minted = len(witness.of(TokenMinted))
        await time_passes(
            clock, load, until=lambda: len(witness.of(TokenMinted)) > minted, step=120
        )
        assert not witness.of(TokenMinted)[-1].cold
        assert state_of(refresher).last_error is None
        assert state_of(refresher).consecutive_failures == 0
        await load.see(connects=3)
    assert load.errors == []


async def test_observer_raises(
    rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told on and on, and its error is logged once."""
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        raise LookupError("the dashboard is down")

    async with (
        refresher_of(rds, fresh_connects, observe=observe, clock=clock) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        await time_passes(clock, load, until=lambda: state_of(refresher).mints >= 3, step=60)
        await load.see(connects=3)
    assert load.errors == []
    assert len(told) > 3
    for status in load.statuses:
        assert status.ready
        assert status.endpoints[0].last_error is None
    ours = [record for record in caplog.records if record.name.startswith("rds_iam_async")]
    [record] = [record for record in ours if record.levelno >= logging.ERROR]
    assert "the observer raised" in record.message


async def test_engine_disposed_during_a_mint(
    aws: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L10: those who wait for it get their connections all the same."""
    aws.delay = 0.5
    with aws.installed("web-identity"):
        refresher = TokenRefresher(fresh_connects)
        connecting = [asyncio.ensure_future(one_connect(fresh_connects)) for _ in range(5)]
        await until_true(lambda: len(aws.calls) == 1)
        state = state_of(refresher)
        assert (state.ready, state.mints, state.last_error) == (False, 0, None)
        await fresh_connects.dispose()
        assert not any(connect.done() for connect in connecting)
        await asyncio.gather(*connecting)
        await one_connect(fresh_connects)
        state = state_of(refresher)
        await refresher.aclose()
    assert (state.ready, state.mints, state.cold_mints) == (True, 1, 1)
    assert len(aws.calls) == 1
    assert outcomes(rds) == {"accepted": 6}


# Two loops


async def test_two_event_loops_in_turn(rds: LocalRds) -> None:
    """L20: the first one took the task with it; the next one has its own."""
    rds.token_lifetime = 2
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = refresher_of(rds, engine)
    loads: list[SteadyLoad] = []
    between: list[EndpointStatus] = []
    names: list[str] = []

    async def first() -> None:
        await refresher.start()
        async with SteadyLoad(engine, refresher) as load:
            await load.see(connects=3)
        loads.append(load)

    async def second() -> None:
        end = state_of(refresher).expires_at
        async with SteadyLoad(engine, refresher) as load:
            await until(end)
            await load.see(connects=3)
        loads.append(load)
        names.extend(task_names())
        await refresher.aclose()

    def in_turn() -> None:
        asyncio.run(first())
        between.append(state_of(refresher))
        asyncio.run(second())

    await asyncio.to_thread(in_turn)
    assert between[0].next_mint_at is None
    assert between[0].ready == (between[0].usable_for > 0)
    assert names.count(REFRESHER) == 1
    assert [load.errors for load in loads] == [[], []]


async def test_two_event_loops_at_once(
    rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L20: one task in one loop; tokens are read in both."""
    loads: list[SteadyLoad] = []
    over = threading.Event()

    async def beside() -> None:
        async with SteadyLoad(fresh_connects, refresher, now=clock.wall) as load:
            loads.append(load)
            await until_true(over.is_set)
            await load.see(connects=3)
        assert REFRESHER not in task_names()

    async with refresher_of(rds, fresh_connects, clock=clock) as refresher:
        await one_connect(fresh_connects)  # SQLAlchemy's own first one is not made for two loops
        end = state_of(refresher).expires_at
        assert end is not None
        async with SteadyLoad(fresh_connects, refresher, now=clock.wall) as load:
            elsewhere = asyncio.ensure_future(asyncio.to_thread(asyncio.run, beside()))
            await until_true(lambda: loads != [])
            while clock.wall() < end:
                await clock.advance(60)
                await load.turn()
                await loads[0].turn()
            over.set()
            await elsewhere
            await load.see(connects=3)
        loads.append(load)
        assert task_names().count(REFRESHER) == 1
    assert [load.errors for load in loads] == [[], []]
    assert all(status.ready for load in loads for status in load.statuses)
    assert state_of(refresher).cold_mints == 0
