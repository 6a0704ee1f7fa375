"""Cleaning up goes to its end, however its caller is cancelled."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from rds_iam_async._to_the_end import to_the_end

pytestmark = pytest.mark.anyio


class CleanUp:
    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.done = False

    async def __call__(self) -> None:
        await self.go_on.wait()
        self.done = True


async def test_a_cancelled_caller_hears_of_it_when_the_work_is_done() -> None:
    """`Task.cancel()`, twice: anyio's shield alone would not keep it off."""
    clean_up = CleanUp()
    closing = asyncio.create_task(to_the_end(clean_up(), within=5))
    for _ in range(2):
        await asyncio.sleep(0)
        closing.cancel()
        await anyio.wait_all_tasks_blocked()
    assert not closing.done()
    clean_up.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert clean_up.done


async def test_a_cancelled_scope_does_not_stop_it() -> None:
    """Closing inside a scope that is cancelled already."""
    clean_up = CleanUp()
    clean_up.go_on.set()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await to_the_end(clean_up(), within=5)
    assert clean_up.done


async def test_it_is_bounded() -> None:
    """What hangs is cancelled itself."""
    clean_up = CleanUp()
    with anyio.fail_after(10):
        await to_the_end(clean_up(), within=0.01)
    assert not clean_up.done


async def test_its_errors_come_out() -> None:
    """A bug in cleaning up is not swallowed."""

    async def broken() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await to_the_end(broken(), within=1)
