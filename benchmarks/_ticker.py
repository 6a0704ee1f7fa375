"""A ticker on the application's loop: how late it is tells how long the loop stood still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

TICK = 0.001


@dataclass
class Ticker:
    """Wants to run every millisecond, and notes by how much it was late."""

    ticks: list[tuple[float, float]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.ticks.append((now, now - due))

    def since(self, began: float) -> list[float]:
        """Return all latenesses since an instant, in milliseconds."""
        return [1000 * late for at, late in self.ticks if at >= began]

    def worst(self, since: float) -> float:
        """Return the worst lateness since an instant, in milliseconds."""
        return max(self.since(since))

    async def worst_during(self, work: Awaitable[Any], *, aftermath: float = 0.05) -> float:
        """Return the worst one of *work* and of so many seconds after it."""
        await asyncio.sleep(2 * TICK)  # what was done to prepare it made a tick late, too
        began = time.perf_counter()
        await work
        await asyncio.sleep(aftermath)
        return self.worst(began)
