"""How long the application's loop stands still while AWS credentials are looked up.

Run it with `make bench`, or `python benchmarks/loop_stall.py --quick`. A 1 ms ticker on the
application's loop notes its worst lateness in each look: by a refresher of ours, and on the
loop as everybody does it (`await aioboto3.Session().get_credentials()`, then the frozen
ones), in turn, in fresh processes; the local AWS is in another one. Medians on two slow
cores: 1 to 3 ms per renewal, where the loop stalls for 8 to 95 ms if it does that itself.

What the rest is made of. A thread of its own is not enough (5 to 9 ms), since the
interpreter lock is shared, and Python code lets go of it when 5 ms are over
(`sys.getswitchinterval`), later if a system call of less than that comes in between. So what
counts is the longest piece of work between two real rests of the look:

- 4 ms were the 120 event handlers of a new session; now they are copied, in 0.3 ms.
- 16, 9 and 8 ms were `endpoints.json` and the two models of STS, each one call of C that
  lets nobody in between; now they are kept, and parsed in small bites the first time.
- 1 to 2 ms are left for the profile files and the chain, 2 to 3 ms for making a client of STS
  or SSO, 2 ms for its request: there the look rests in between. That is what the table shows.
- 17 ms for the certificates of a TLS context are spent without the lock.

What stays above 5 ms. The first look imports the SDK: 300 ms, much of it in stretches that
last as long as the switch interval, so 5.3 to 6.6 ms. And the garbage collector: 60 to
80 ms for a full collection of the 110 000 objects that there are once the SDK is imported,
in whichever thread comes to have it done: a process has it once, in its first look (STS and
SSO, always on this machine) or one of the next (the worst of all, in the others). These are
Python 3.11's; on 3.13 renewals cost the same, and any first look 25 to 42 ms. Only a process
of its own for the look could avoid both. But `start()` makes the first look, before
the application serves anybody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from _other_process import Elsewhere
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import CredentialsResolved, Event
from rds_iam_async.testing import LocalAws

PROVIDERS = [name for name in LocalAws.PROVIDERS if name != "static-session"]
URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
TICK = 0.001
AFTERMATH = 0.05
"""Seconds after a look in which its thread, and the SDK's sockets, come to their end."""


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

    def worst(self, since: float) -> float:
        """Return the worst lateness since an instant, in milliseconds."""
        return 1000 * max(late for at, late in self.ticks if at >= since)

    async def worst_during(self, work: Awaitable[Any]) -> float:
        await asyncio.sleep(2 * TICK)  # what was done to prepare it made a tick late, too
        began = time.perf_counter()
        await work
        await asyncio.sleep(AFTERMATH)
        return self.worst(began)


class Dying:
    """The ordinary chain, but whatever keys it gives are said to end in 2 s: new ones every second.

    By themselves keys of EC2 and of files would not be renewed for minutes.
    """

    def __init__(self) -> None:
        self._chain = SessionCredentials()

    async def snapshot(self) -> Credentials:
        keys = await self._chain.snapshot()
        return replace(keys, expires_at=time.time() + 2)


Result = dict[str, list[float]]


async def ours(ticker: Ticker, count: int) -> Result:
    """Let a refresher do it; nothing of the SDK is imported before its first look."""
    looks: asyncio.Queue[CredentialsResolved] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, CredentialsResolved):
            looks.put_nowait(event)

    refresher = TokenRefresher(create_async_engine(URL), credentials=Dying(), observe=observe)
    first = await ticker.worst_during(refresher.start())
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


def rounds(number: int, count: int) -> dict[str, dict[str, Result]]:
    """Measure all ways and providers in turn, each time in a fresh process."""
    found: dict[str, dict[str, Result]] = {
        provider: {way: {} for way in WAYS} for provider in PROVIDERS
    }
    with Elsewhere() as elsewhere:
        for _ in range(number):
            for provider, of_provider in found.items():
                for way, so_far in of_provider.items():
                    run = subprocess.run(
                        [sys.executable, __file__, "--measure", way, "--renewals", str(count)],
                        env=elsewhere.environment(provider),
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    for name, values in json.loads(run.stdout).items():
                        so_far.setdefault(name, []).extend(values)
    return found


def table(found: dict[str, dict[str, Result]]) -> None:
    print("Worst lateness of a 1 ms ticker in ms, medians  (… the worst of all)")
    print(f"{'':14}{'idle':>6}{'renewal, ours':>18}{'on the loop':>14}", end="")
    print(f"{'first look, ours':>20}{'on the loop':>14}")
    for provider, of_provider in found.items():
        mine, theirs = of_provider["ours"], of_provider["on_the_loop"]
        cells = [mine["idle"] + theirs["idle"]]
        cells += [way[name] for name in ("renewals", "first") for way in (mine, theirs)]
        middle = [f"{statistics.median(values):.1f}" for values in cells]
        most = f"{middle[1]} (… {max(mine['renewals']):.0f})"
        print(f"{provider:14}{middle[0]:>6}{most:>18}{middle[2]:>14}{middle[3]:>20}{middle[4]:>14}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print all values instead of a table")
    parser.add_argument("--renewals", type=int, default=5, help="in each process")
    parser.add_argument("--rounds", type=int, default=5, help="processes for each provider and way")
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure(options.measure, options.renewals))))
        return
    found = rounds(1 if options.quick else options.rounds, options.renewals)
    if options.json:
        print(json.dumps(found))
    else:
        table(found)


if __name__ == "__main__":
    main()
