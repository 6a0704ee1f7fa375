"""Time that is moved by hand always moves."""

from __future__ import annotations

import asyncio
import math

import pytest

from rds_iam_async.testing import FakeClock

pytestmark = pytest.mark.anyio


async def test_who_waits_for_an_instant_just_ahead_gets_there() -> None:
    """Also when the wait is too short to be told from none on the clock that rings alarms."""
    clock = FakeClock(0.0)
    due = math.nextafter(0.25, 1.0)

    async def until_due() -> None:
        while (now := clock.wall()) < due:
            await clock.sleep(due - now)

    waiter = asyncio.ensure_future(until_due())
    await clock.advance(0.25)
    await clock.advance(1.0)
    assert waiter.done()
