"""The work: open a new connection, close it, and again, from several workers at once."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy.ext.asyncio import AsyncEngine

from ._stage import Tally

_UNTIMED = 8


async def connect_once(engine: AsyncEngine, tally: Tally) -> None:
    """Open one connection and close it; *engine* has a `NullPool`, so it is a new one."""
    tally.connects += 1
    began = time.perf_counter()
    try:
        async with engine.connect():
            tally.latencies.append(time.perf_counter() - began)
    except Exception as error:  # of whatever kind: an application would have felt it
        tally.fail(error)


async def warm_up(engine: AsyncEngine, tally: Tally) -> None:
    """Open the first few connections: they are counted like any other, but not timed.

    SQLAlchemy asks the server who it is, modules are imported, caches are filled.
    """
    for _ in range(_UNTIMED):
        await _finished([asyncio.create_task(connect_once(engine, tally))])
        if tally.failures:
            break  # what fails is shown by the run, and is not made faster by waiting for it
    tally.latencies.clear()


async def run_round(engine: AsyncEngine, tally: Tally, *, workers: int, seconds: float) -> None:
    """Open connections until *seconds* have passed, and wait for those under way."""
    until = time.perf_counter() + seconds
    stopped = asyncio.Event()

    async def work() -> None:
        while time.perf_counter() < until and not stopped.is_set():
            await connect_once(engine, tally)

    tally.begin_round()
    try:
        await _finished([asyncio.create_task(work()) for _ in range(workers)], stopped)
    finally:
        tally.end_round()


async def _finished(tasks: list[asyncio.Task[None]], stopped: asyncio.Event | None = None) -> None:
    """Wait for *tasks*; when interrupted, tell them and let them end by themselves.

    A connection that is cancelled in the middle is reported by SQLAlchemy's pool with a
    traceback, which Ctrl-C does not deserve.
    """
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        if stopped is not None:
            stopped.set()
        await asyncio.wait(tasks, timeout=2)
        raise
