"""One process's looks for AWS keys, and how late its loop's ticker was in each.

`loop_stall.py` runs it, in a fresh process for each provider and way.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from _ticker import TICK, Ticker
from _witness import Told, Witness
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, RefreshPolicy, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import CredentialsResolved, Event, TokenMinted

URL = "postgresql+asyncpg://app@mydb{}.abc.eu-west-1.rds.amazonaws.com/orders"
PATIENCE = 60.0
"""Seconds, so that a busy machine does not make a refresher give up."""
AFTERMATH = 0.05
"""Seconds after a look in which its thread, and the SDK's sockets, come to their end."""
IDLE = 0.1
"""Seconds of nothing to compare a look with: about as long as it takes, and its aftermath."""
SOURCES = 5
"""Keys that have to be renewed every 0.5 to 1 s each, so that there are several looks a second."""
ENDPOINTS = 10
OFTEN = RefreshPolicy(lifetime=2.0, lead=1.0, spread=0.5, margin=0.1, retry_base=0.1, wait=PATIENCE)
"""A new token for each endpoint every second or so."""
SWITCH_INTERVAL = 0.0005

Result = dict[str, list[float]]
"""Worst lateness in milliseconds, of each look of a kind."""


class Dying:
    """The ordinary chain, but whatever keys it gives are said to end in 2 s.

    By themselves keys of EC2 and of files would not be renewed for minutes. Several of these
    share a chain, and look one after the other: each look is as if there were but one.
    """

    def __init__(self, chain: SessionCredentials, turn: Turn) -> None:
        self._chain = chain
        self._turn = turn

    async def snapshot(self) -> Credentials:
        await self._turn.begin()
        keys = await self._chain.snapshot()
        return replace(keys, expires_at=time.time() + 2)


class Turn:
    """Whose look it is.

    Attributes:
        began: When the current one began.
    """

    def __init__(self) -> None:
        self._free = asyncio.Lock()
        self.began = 0.0

    async def begin(self) -> None:
        await self._free.acquire()
        self.began = time.perf_counter()

    def end(self) -> None:
        self._free.release()


class Living:
    """The ordinary chain, but its keys are said to be good for an hour."""

    def __init__(self) -> None:
        self._chain = SessionCredentials()

    async def snapshot(self) -> Credentials:
        return replace(await self._chain.snapshot(), expires_at=time.time() + 3600)


class Renewing:
    """A refresher of ours that has to renew keys all the time.

    Attributes:
        turn: The look under way; ending its turn lets the next one begin.
    """

    def __init__(self) -> None:
        self.turn = Turn()
        self._looks: asyncio.Queue[CredentialsResolved] = asyncio.Queue()
        chain = SessionCredentials()
        one, *self._others = (Dying(chain, self.turn) for _ in range(SOURCES))
        self._refresher = TokenRefresher(
            create_async_engine(URL.format(0)),
            credentials=one,
            policy=RefreshPolicy(wait=PATIENCE),
            observe=self._note,
        )

    def _note(self, event: Event) -> None:
        if isinstance(event, CredentialsResolved):
            self._looks.put_nowait(event)

    async def start(self) -> None:
        """Make the first look."""
        await self._refresher.start(timeout=PATIENCE)
        await self.look()

    async def go_on(self) -> None:
        """Let all sources renew from now on."""
        for number, source in enumerate(self._others, 1):
            self._refresher.attach(create_async_engine(URL.format(number)), credentials=source)
        await asyncio.sleep(2 * TICK)  # what was done on the loop so far made a tick late, too
        self.turn.end()

    async def look(self) -> None:
        """Wait until a look is over."""
        await self._looks.get()

    async def aclose(self) -> None:
        await self._refresher.aclose()


async def ours(ticker: Ticker, count: int) -> Result:
    """Let a refresher do it; nothing of the SDK is imported before its first look."""
    renewing = Renewing()
    collected = Collected()
    first = await ticker.worst_during(renewing.start())
    return {"first": [first], "collected": collected.ms} | await renewals(renewing, ticker, count)


async def renewals(renewing: Renewing, ticker: Ticker, count: int) -> Result:
    """Measure so many, and as many times nothing."""
    found: Result = {"idle": [], "renewals": []}
    await renewing.go_on()
    for _ in range(count):
        await renewing.look()
        await asyncio.sleep(AFTERMATH)
        found["renewals"].append(ticker.worst(renewing.turn.began))
        await asyncio.sleep(2 * TICK)  # what was calculated here made one late, too
        began = time.perf_counter()
        await asyncio.sleep(IDLE)
        found["idle"].append(ticker.worst(began))
        renewing.turn.end()
    await renewing.aclose()
    return found


async def switching(ticker: Ticker, count: int) -> Result:
    """The same in an application that lets threads switch ten times as often as is usual."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    return await ours(ticker, count)


async def frozen(ticker: Ticker, count: int) -> Result:
    """The same in an application that collects garbage and freezes the rest after `start`."""
    renewing = Renewing()
    await renewing.start()
    collections = []
    for _ in range(2):
        began = time.perf_counter()
        gc.collect()
        collections.append(1000 * (time.perf_counter() - began))
        gc.freeze()
    before, after = collections
    found = await renewals(renewing, ticker, count)
    return {"collection": [before], "collection_when_frozen": [after]} | found


async def minting(ticker: Ticker, count: int) -> Result:
    """Refresh endpoints with good keys in hand: by far the most frequent case."""
    mints: asyncio.Queue[float] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, TokenMinted):
            mints.put_nowait(time.perf_counter() - event.took)

    engines = [create_async_engine(URL.format(number)) for number in range(ENDPOINTS)]
    refresher = TokenRefresher(*engines, credentials=Living(), policy=OFTEN, observe=observe)
    await refresher.start(timeout=PATIENCE)
    for _ in engines:
        await mints.get()  # one after the other, in `start`
    found = []
    for _ in range(count):
        began = await mints.get()
        await asyncio.sleep(0.005)
        found.append(ticker.worst(began))
    await refresher.aclose()
    return {"mints": found}


async def on_the_loop(ticker: Ticker, count: int) -> Result:
    """Do it as everybody does; the SDK is imported before, as everybody does, too."""
    import aioboto3

    async def look() -> None:
        chain = await aioboto3.Session().get_credentials()
        await chain.get_frozen_credentials()

    first, *later = [await ticker.worst_during(look()) for _ in range(1 + count)]
    return {"first": [first], "renewals": later}


class Collected:
    """Full garbage collections.

    Attributes:
        ms: How long each of them took since this was made, in milliseconds.
    """

    def __init__(self) -> None:
        self.ms: list[float] = []
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            if phase == "start":
                self._began = time.perf_counter()
            else:
                self.ms.append(1000 * (time.perf_counter() - self._began))


WAYS: dict[str, Callable[[Ticker, int], Awaitable[Result]]] = {
    "ours": ours,
    "switching": switching,
    "frozen": frozen,
    "minting": minting,
    "on_the_loop": on_the_loop,
}


async def measure(way: str, count: int) -> Result:
    """Do it one way in this process."""
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    result = await WAYS[way](ticker, count)
    ticking.cancel()
    return result


async def witnessed(count: int) -> Told:
    """Return what *count* renewals of ours did while the loop was kept waiting."""
    renewing = Renewing()
    await renewing.start()
    witness = Witness()
    watching = asyncio.create_task(witness.run())
    await renewing.go_on()
    for _ in range(count):
        await renewing.look()
        await asyncio.sleep(AFTERMATH)
        renewing.turn.end()
    watching.cancel()
    await renewing.aclose()
    return witness.told()


if __name__ == "__main__":
    way, number = sys.argv[1], int(sys.argv[2])
    print(
        json.dumps(asyncio.run(witnessed(number) if way == "witnessed" else measure(way, number)))
    )
