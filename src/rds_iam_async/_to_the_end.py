"""Cleaning up to the end, whoever is cancelled meanwhile, and however."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio


async def to_the_end(work: Coroutine[Any, Any, None], *, within: float) -> None:
    """Await *work* through cancellations; raise the last of them when it is done.

    A shielded anyio scope keeps off the cancellations of anyio's other scopes, not
    `Task.cancel()`, by which asyncio and most servers end their tasks.

    Args:
        work: What has to be done.
        within: The bound on it, in seconds; then it is cancelled itself.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    end = loop.time() + within
    interrupted: asyncio.CancelledError | None = None
    while not task.done() and loop.time() < end:
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task], timeout=end - loop.time())
        except asyncio.CancelledError as error:
            interrupted = error
    task.cancel()  # does nothing to a task that is done
    failure = task.exception() if task.done() and not task.cancelled() else None
    if interrupted is not None:
        raise interrupted
    if failure is not None:
        raise failure
