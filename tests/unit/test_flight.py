"""L10: one at a time, shared by all, hurt by nobody's cancellation."""

from __future__ import annotations

import asyncio
import contextvars

import anyio
import pytest

from rds_iam_async import MintError
from rds_iam_async._flight import Flight

pytestmark = pytest.mark.anyio

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


class Work:
    def __init__(self) -> None:
        self.begun = 0
        self.may_end = anyio.Event()
        self.error: Exception | None = None
        self.saw = ""

    async def __call__(self) -> int:
        self.begun += 1
        self.saw = request_id.get()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.begun


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def flight(work: Work) -> Flight[int]:
    return Flight(work, name="the flight")


async def test_all_who_ask_meanwhile_share_one_result(flight: Flight[int], work: Work) -> None:
    """Fifty ask, one works; who asks later gets a new one."""
    joined = [asyncio.ensure_future(flight.join()) for _ in range(50)]
    await anyio.wait_all_tasks_blocked()
    work.may_end.set()
    assert await asyncio.gather(*joined) == [1] * 50
    assert not flight.running
    assert await flight.join() == 2


async def test_a_failure_is_shared_not_queued_for(flight: Flight[int], work: Work) -> None:
    """Twenty waiters of a failing call fail with it, not one after another."""
    work.error = MintError("no")
    joined = [asyncio.ensure_future(flight.join()) for _ in range(20)]
    await anyio.wait_all_tasks_blocked()
    work.may_end.set()
    outcomes = await asyncio.gather(*joined, return_exceptions=True)
    assert outcomes == [work.error] * 20
    assert work.begun == 1


async def test_a_cancelled_waiter_cancels_nobody_else(flight: Flight[int], work: Work) -> None:
    """Not even when it was the one that began."""
    first, second = (asyncio.ensure_future(flight.join()) for _ in range(2))
    await anyio.wait_all_tasks_blocked()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.may_end.set()
    assert await second == 1


async def test_the_work_inherits_nothing_of_the_request_that_began_it(
    flight: Flight[int], work: Work
) -> None:
    """A mint begun by a request must not carry its context, nor die with its cancel scope."""
    request_id.set("req-42")
    with anyio.move_on_after(0) as scope:
        await flight.join()
    assert scope.cancelled_caught
    assert flight.running
    work.may_end.set()
    assert await flight.join() == 1
    assert work.saw == "none"


async def test_closing_ends_the_work_and_tells_who_waits(flight: Flight[int], work: Work) -> None:
    """As an error of ours, not as a cancellation that the waiter never asked for."""
    waiter = asyncio.ensure_future(flight.join())
    await anyio.wait_all_tasks_blocked()
    await flight.aclose()
    assert not flight.running
    with pytest.raises(MintError, match="the flight was stopped"):
        await waiter
    await flight.aclose()


async def test_who_asks_after_an_abandoned_one_gets_a_new_one(
    flight: Flight[int], work: Work
) -> None:
    """A fetch that hung through a freeze is given up."""
    flight.begin()
    await anyio.wait_all_tasks_blocked()
    flight.abandon()
    work.may_end.set()
    assert await flight.join() == 2


async def test_who_had_joined_an_abandoned_one_joins_its_successor(
    flight: Flight[int], work: Work
) -> None:
    """A connection that waited through a freeze does not fail by what mends it."""
    waiter = asyncio.ensure_future(flight.join())
    await anyio.wait_all_tasks_blocked()
    flight.abandon()
    flight.begin()
    work.may_end.set()
    assert await waiter == 2


async def test_who_had_joined_an_abandoned_one_without_successor_is_told(
    flight: Flight[int],
) -> None:
    """He does not begin another himself: closing abandons, too."""
    waiter = asyncio.ensure_future(flight.join())
    await anyio.wait_all_tasks_blocked()
    flight.abandon()
    with pytest.raises(MintError, match="the flight was stopped"):
        await waiter
    assert not flight.running


def test_each_loop_has_its_own(flight: Flight[int], work: Work) -> None:
    """L20: a task can be awaited in its own loop only."""

    async def once() -> int:
        work.may_end = anyio.Event()
        work.may_end.set()
        return await flight.join()

    assert [asyncio.run(once()), asyncio.run(once())] == [1, 2]
