"""What time it is, on two clocks, and how to wait.

Wall time is what AWS compares a token with; it can jump. Boot time cannot, and
it goes on while the machine is suspended, which `time.monotonic()` and so the
event loop's own time do not on Linux (clock_gettime(2)) and macOS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import anyio


class Clock(Protocol):
    """Where the library reads the time and where it sleeps; tests bring their own."""

    def wall(self) -> float:
        """Return Unix seconds in UTC."""
        ...

    def boot(self) -> float:
        """Return seconds that never jump and that count suspend."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump and that stand still in suspend."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for about *seconds* of monotonic time."""
        ...

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait for *event*, but no longer than `sleep` would."""
        ...


def boot_clock() -> Callable[[], float]:
    """Return the platform's clock that counts suspend.

    Source:
        CLOCK_BOOTTIME: clock_gettime(2) on Linux. On macOS CLOCK_MONOTONIC
        "will continue to increment while the system is asleep" (clock_gettime(3)),
        where `time.monotonic()` reads mach_absolute_time, which does not.
    """
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        clock_id = getattr(time, name, None)
        if clock_id is not None:
            return partial(time.clock_gettime, clock_id)  # each connect pays for it
    return time.monotonic


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        # Instance attributes, not methods: the connect path reads both for each
        # connection, and a bound method would double the price of the call.
        self.wall = time.time
        self.boot = boot_clock()
        self.monotonic = time.monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait for about *seconds* of monotonic time."""
        await anyio.sleep(seconds)

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait for *event*, but no longer than `sleep` would."""
        with anyio.move_on_after(seconds):
            await event.wait()
