"""The fault matrix of docs/explanation/failures.md: the server, and the way to it.

What the server itself does to a connect comes out as the driver says it, as with a password.
"""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import RdsIamError, RefreshPolicy, TokenRefresher
from rds_iam_async.telemetry import TokenMinted
from rds_iam_async.testing import FakeClock, LocalRds

from .test_credentials_done_right import Witness, state_of
from .workload import SteadyLoad, causes, one_connect, outcomes, sqlstate, time_passes, until_true

pytestmark = pytest.mark.anyio


def refresher_of(
    rds: LocalRds,
    engine: AsyncEngine,
    *,
    witness: Witness | None = None,
    clock: FakeClock | None = None,
) -> TokenRefresher:
    return TokenRefresher(
        engine,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=rds,
        observe=witness or Witness(),
        clock=clock,
    )


def blames_a_token(error: Exception) -> bool:
    return sqlstate(error) == "28000" or any(isinstance(e, RdsIamError) for e in causes(error))


async def test_token_refused_for_ever(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """L13: no policy allows `rds-db:connect`: the driver's own error, and no storm."""
    async with (
        refresher_of(rds, fresh_connects) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        await load.see(connects=1)
        rds.trust(rds.credentials, users=["somebody-else"])
        began = time.monotonic()
        await load.see(failures=20)
        state = state_of(refresher)
        assert state.rejections >= 20
        assert (state.consecutive_failures, state.last_error) == (0, None)
        # One at once, then after 1 s, 2 s, 4 s, …
        assert state.mints - 1 <= 1 + math.log2(1 + time.monotonic() - began)
        rds.trust(rds.credentials)
        await load.recovers(RefreshPolicy())
        state = state_of(refresher)
        assert state.ready
    assert {sqlstate(error) for error in load.errors} == {"28000"}
    assert all("PAM authentication failed" in str(error) for error in load.errors)
    assert outcomes(rds)["accepted"] == len(load.succeeded)


async def test_server_restarts(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """The driver's own errors while it is down; no token is blamed, none is minted."""
    async with (
        refresher_of(rds, fresh_connects) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        await load.see(connects=1)
        await asyncio.to_thread(rds.restart)
        back_at = time.monotonic()
        await load.see(connects=5)
        state = state_of(refresher)
    assert [attempt for attempt in load.failed if attempt.began >= back_at] == []
    assert not any(blames_a_token(error) for error in load.errors)
    assert all(status.ready for status in load.statuses)
    assert (state.mints, state.rejections, state.last_error) == (1, 0, None)


async def test_server_unreachable(
    rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """The driver's own errors; tokens go on to be minted, so that the first connect is good."""
    witness = Witness()
    async with (
        refresher_of(rds, fresh_connects, witness=witness, clock=clock) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        await load.see(connects=1)
        await asyncio.to_thread(rds.pause)
        await load.see(failures=3)
        await time_passes(clock, load, until=lambda: len(witness.of(TokenMinted)) == 3, step=120)
        await load.see(failures=1)
        state = state_of(refresher)
        assert (state.consecutive_failures, state.last_error) == (0, None)
        await asyncio.to_thread(rds.resume)
        back_at = time.monotonic()
        await load.see(connects=5)
    assert [attempt for attempt in load.failed if attempt.began >= back_at] == []
    assert all(any(isinstance(e, OSError) for e in causes(error)) for error in load.errors)
    assert not any(blames_a_token(error) for error in load.errors)
    assert all(status.ready for status in load.statuses)
    state = state_of(refresher)
    assert (state.cold_mints, state.rejections) == (0, 0)


async def test_gate_slow_to_answer(
    rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L5: tokens are replaced long before their end, so they bear 4 min to the server."""
    begun = asyncio.Event()
    async with refresher_of(rds, fresh_connects, clock=clock) as refresher:
        # Told after the refresher's own listener: the token has been read.
        event.listen(fresh_connects.sync_engine, "do_connect", lambda *_: begun.set())
        rds.auth_delay = 0.3  # long enough for 4 min of that clock
        await clock.advance(530)  # the first successor is due at 540 s at the earliest
        for _ in range(4):
            connecting = asyncio.ensure_future(one_connect(fresh_connects))
            await begun.wait()
            begun.clear()
            await clock.advance(240)
            await connecting
            assert state_of(refresher).ready
        assert state_of(refresher).cold_mints == 0
    assert outcomes(rds) == {"accepted": 4}


async def test_connection_reset_during_authentication(
    rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """The driver's own error, once for each that was cut off; the token is not blamed."""
    async with (
        refresher_of(rds, fresh_connects) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        await load.see(connects=1)
        rds.reset(3)
        await until_true(lambda: len(load.failed) == 3)
        await load.see(connects=5)
        state = state_of(refresher)
    assert len(load.errors) == 3
    assert not any(blames_a_token(error) for error in load.errors)
    assert all(status.ready for status in load.statuses)
    assert (state.mints, state.rejections, state.last_error) == (1, 0, None)
    assert outcomes(rds) == {"accepted": len(load.succeeded), "dropped": 3}
