"""A ticker on the application's loop: how late it is tells how long the loop stood still."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

TICK = 0.001


@dataclass
class Ticker:
    """Wants to run every millisecond, and notes by how much it was late.

    It also notes how much the loop's thread worked since the last time. On a machine that does
    other things, too, that is what the loop itself is to blame for.
    """

    ticks: list[tuple[float, float]] = field(default_factory=list)
    worked: list[tuple[float, float]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + TICK
            before = time.thread_time()
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.ticks.append((now, now - due))
            self.worked.append((now, time.thread_time() - before))

    def since(self, began: float) -> list[float]:
        """Return all latenesses since an instant, in milliseconds."""
        return _since(began, self.ticks)

    def worst(self, since: float) -> float:
        """Return the worst lateness since an instant, in milliseconds."""
        return max(self.since(since))

    def most_work(self, since: float) -> float:
        """Return the most work between two ticks since an instant, in milliseconds of CPU."""
        return max(_since(since, self.worked))

    async def worst_during(self, work: Awaitable[Any], *, aftermath: float = 0.05) -> float:
        """Return the worst one of *work* and of so many seconds after it."""
        await asyncio.sleep(2 * TICK)  # what was done to prepare it made a tick late, too
        began = time.perf_counter()
        await work
        await asyncio.sleep(aftermath)
        return self.worst(began)


def _since(began: float, noted: list[tuple[float, float]]) -> list[float]:
    """Return what was noted since an instant, in milliseconds, the latest first."""
    recent = itertools.takewhile(lambda item: item[0] >= began, reversed(noted))
    return [1000 * value for _, value in recent]
