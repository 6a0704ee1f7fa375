"""One process's looks for AWS keys, and how late its loop's ticker was in each.

`loop_stall.py` runs it, in a fresh process for each provider and way.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from _ticker import Ticker
from _witness import Witness
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, RefreshPolicy, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import CredentialsResolved, Event, Observer

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
PATIENCE = 60.0
AFTERMATH = 0.05
"""Seconds after a look in which its thread, and the SDK's sockets, come to their end."""

Result = dict[str, list[float]]
"""Worst lateness in milliseconds, of each look of a kind."""


class Dying:
    """The ordinary chain, but whatever keys it gives are said to end in 2 s: new ones every second.

    By themselves keys of EC2 and of files would not be renewed for minutes.
    """

    def __init__(self) -> None:
        self._chain = SessionCredentials()

    async def snapshot(self) -> Credentials:
        keys = await self._chain.snapshot()
        return replace(keys, expires_at=time.time() + 2)


def patient(observe: Observer) -> TokenRefresher:
    """Return a refresher that a busy machine does not make give up."""
    return TokenRefresher(
        create_async_engine(URL),
        credentials=Dying(),
        policy=RefreshPolicy(wait=PATIENCE),
        observe=observe,
    )


async def ours(ticker: Ticker, count: int) -> Result:
    """Let a refresher do it; nothing of the SDK is imported before its first look."""
    looks: asyncio.Queue[CredentialsResolved] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, CredentialsResolved):
            looks.put_nowait(event)

    refresher = patient(observe)
    first = await ticker.worst_during(refresher.start(timeout=PATIENCE))
    looks.get_nowait()
    renewals = []
    for _ in range(count):
        look = await looks.get()
        began = time.perf_counter() - look.took
        await asyncio.sleep(AFTERMATH)
        renewals.append(ticker.worst(began))
    await refresher.aclose()
    return {"first": [first], "renewals": renewals}


async def on_the_loop(ticker: Ticker, count: int) -> Result:
    """Do it as everybody does; the SDK is imported before, as everybody does, too."""
    import aioboto3

    async def look() -> None:
        chain = await aioboto3.Session().get_credentials()
        await chain.get_frozen_credentials()

    first, *renewals = [await ticker.worst_during(look()) for _ in range(1 + count)]
    return {"first": [first], "renewals": renewals}


WAYS: dict[str, Callable[[Ticker, int], Awaitable[Result]]] = {
    "ours": ours,
    "on_the_loop": on_the_loop,
}


async def measure(way: str, count: int) -> Result:
    """Do it one way in this process, after a look at what the ticker does by itself."""
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    idle = [await ticker.worst_during(asyncio.sleep(AFTERMATH)) for _ in range(count)]
    result = await WAYS[way](ticker, count)
    ticking.cancel()
    return {"idle": idle} | result


async def witnessed(count: int) -> dict[str, float]:
    """Return for how many milliseconds *count* renewals of ours kept the loop, and doing what."""
    looks: asyncio.Queue[CredentialsResolved] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, CredentialsResolved):
            looks.put_nowait(event)

    refresher = patient(observe)
    await refresher.start(timeout=PATIENCE)
    looks.get_nowait()
    witness = Witness()
    watching = asyncio.create_task(witness.run())
    for _ in range(count):
        await looks.get()
    watching.cancel()
    await refresher.aclose()
    longest_first = sorted(witness.waited.items(), key=lambda item: -item[1])
    return {what: ms / count for what, ms in longest_first}


if __name__ == "__main__":
    way, number = sys.argv[1], int(sys.argv[2])
    print(
        json.dumps(asyncio.run(witnessed(number) if way == "witnessed" else measure(way, number)))
    )
