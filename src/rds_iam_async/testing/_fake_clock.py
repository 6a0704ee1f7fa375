"""Time that stands still until a test moves it: hours of refreshing in milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

import anyio

_TURNS = 50
"""Turns of the event loop after which woken tasks have usually gone back to sleep."""


class FakeClock:
    """The three clocks of a machine, moved by hand.

    Give one to `TokenRefresher(clock=...)`. `advance` is ordinary time, `step` an
    administrator or NTP setting the wall clock, `suspend` a laptop's lid.

    Example:
        ```python
        clock = FakeClock()
        refresher = TokenRefresher(engine, clock=clock)
        await refresher.start()
        await clock.advance(3600)  # an hour of refreshing, every mint at its own time
        ```
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """Stop at *now*, in Unix seconds."""
        self._wall = now
        self._boot = 1000.0
        self._monotonic = 1000.0
        self._alarms: list[tuple[float, int, anyio.Event]] = []
        self._numbers = itertools.count()

    def wall(self) -> float:
        """Return Unix seconds in UTC."""
        return self._wall

    def boot(self) -> float:
        """Return seconds that count suspend."""
        return self._boot

    def monotonic(self) -> float:
        """Return seconds that stand still in suspend."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved monotonic time by *seconds*."""
        await self.wait(anyio.Event(), seconds)

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait for *event*, or as `sleep` does, whichever is first."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        rings = anyio.Event()
        # Some time must pass, or who waits for an instant just ahead never gets there.
        at = max(self._monotonic + seconds, math.nextafter(self._monotonic, math.inf))
        alarm = (at, next(self._numbers), rings)
        heapq.heappush(self._alarms, alarm)
        waiters = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(rings.wait())]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            if alarm in self._alarms:
                self._alarms.remove(alarm)
                heapq.heapify(self._alarms)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass on all three clocks, ringing each alarm at its own time."""
        target = self._monotonic + seconds
        await self.settle()
        while self._alarms and self._alarms[0][0] <= target:
            at, _, rings = heapq.heappop(self._alarms)
            self._pass(at - self._monotonic)
            rings.set()
            await self.settle()
        self._pass(target - self._monotonic)
        await self.settle()

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead (or back, if negative) while no time passes."""
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: wall and boot time go on, monotonic time and alarms do not."""
        self._wall += seconds
        self._boot += seconds

    async def settle(self) -> None:
        """Let every task run until it waits for something."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await anyio.wait_all_tasks_blocked()

    def _pass(self, seconds: float) -> None:
        self._wall += seconds
        self._boot += seconds
        self._monotonic += seconds
