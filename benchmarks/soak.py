"""Connect for a minute while tokens, keys, endpoints and servers fail; count who feels it.

Run it with `make soak`, or `python benchmarks/soak.py --seconds 600 --seed 7`. A real
PostgreSQL accepts a token for 3 s, the ordinary AWS chain gives keys that live for 10 s,
and faults, drawn from the seed, come one after another. The measure is a static password:

- While all is well no use of the database fails, waits for a token or has one refused. Nor
  does one fail in a fault that is shorter than what is left of the keys in hand, or that a
  new token cures. After the others all succeed again within one retry interval.
- Less than 1 MiB more is held at the end than after the first third, which is for warming
  up. What counts is what Python allocated (tracemalloc, after a collection, while nothing
  is under way): resident memory moves by more than that as the allocator pleases, and is
  only shown. Less than 16 KiB of it was allocated by lines of this library, which is what a
  leak of tokens or keys would be. The servers are in a process of their own.
- When all is closed there are as many tasks, threads and open files as before.

It ends with status 1 when one of these claims does not hold, and says which.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import aioboto3
from _soak_faults import POLICY, Fault, plan
from _soak_holdings import Holdings, holdings, open_files
from _soak_load import Load, Witness
from _soak_stage import Stage, stage
from _soak_tally import Row, Tally
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher

PROVIDERS = ("container", "pod-identity", "assume-role", "web-identity")
"""Not IMDS: of keys that live for 10 s botocore says there that they live for many minutes."""

MOST_GROWTH = 2**20
MOST_GROWTH_OF_OURS = 2**14
"""A token leaked by each mint of a minute would be 50 KiB: too little for the claim above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one soak has found out.

    Attributes:
        provider: Where the keys came from.
        plan: The faults, in their order.
        rows: What became of the uses.
        mints: How many tokens were minted.
        looks: How many looks at credentials gave some.
        failed_looks: And how many did not.
        slowest_look: How long one of the former took at most, in seconds.
        before: What was held before there was a refresher.
        warm: After a third of the time.
        last: At the end of it.
        after: When all was closed.
    """

    provider: str
    plan: list[Fault]
    rows: list[Row]
    mints: int
    looks: int
    failed_looks: int
    slowest_look: float
    before: Holdings
    warm: Holdings
    last: Holdings
    after: Holdings

    @property
    def growth(self) -> int:
        """Bytes held at the end over those after a third of the time."""
        return self.last.allocated - self.warm.allocated

    @property
    def growth_of_ours(self) -> int:
        """Of these, the bytes that lines of this library allocated."""
        return self.last.allocated_by_us - self.warm.allocated_by_us

    def broken(self) -> list[str]:
        """Say which claims do not hold."""
        found = [claim for row in self.rows for claim in row.broken()]
        if self.growth >= MOST_GROWTH:
            found.append(f"memory grew by {_kib(self.growth)}, {_kib(MOST_GROWTH)} or more")
        if self.growth_of_ours >= MOST_GROWTH_OF_OURS:
            limit = _kib(MOST_GROWTH_OF_OURS)
            found.append(f"our own lines hold {_kib(self.growth_of_ours)} more, {limit} or more")
        for what in ("tasks", "threads", "files"):
            was, now = getattr(self.before, what), getattr(self.after, what)
            if was != now:
                found.append(f"there were {was} {what} before, and {now} are left")
        return found


class Director:
    """Lets faults happen, one after another."""

    def __init__(self, faults: Iterator[Fault], servers: Stage, tally: Tally, witness: Witness):
        self._faults = faults
        self._servers = servers
        self._tally = tally
        self._witness = witness
        self.happened: list[Fault] = []

    async def direct(self, *, seconds: float) -> None:
        """Go on for so long, and until the echo of the last fault is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fault = next(self._faults)
            self.happened.append(fault)
            await self._let_happen(fault)

    async def _let_happen(self, fault: Fault) -> None:
        kind = fault.kind
        await asyncio.sleep(fault.after)
        if kind.before_look:
            await asyncio.sleep(self._witness.next_look_at - fault.ahead - time.monotonic())
        self._tally.fault_begins(fault, time.monotonic())
        await self._pull(kind.lever, fault.value)
        await asyncio.sleep(fault.lasts)
        if kind.back:
            await self._pull(kind.back, kind.rest)
        self._tally.fault_ends(time.monotonic())
        await asyncio.sleep(kind.echo)

    async def _pull(self, lever: str, value: str | float | None) -> None:
        if lever == "app.stall":
            assert isinstance(value, float)
            time.sleep(value)  # noqa: ASYNC251 - so it is meant
        else:
            await self._servers.pull(lever, value)


async def soak(*, seconds: float, seed: int, workers: int, provider: str) -> Figures:
    """Use a database for that long, while faults happen."""
    tracemalloc.start()
    tally = Tally()
    witness = Witness(tally)
    async with stage(provider) as servers:
        session = await used_session()
        before = holdings()
        director, load = Director(plan(seed), servers, tally, witness), Load(tally)
        fresh = create_async_engine(servers.url, poolclass=NullPool)
        pooled = create_async_engine(servers.url, pool_size=2, pool_pre_ping=True)
        async with TokenRefresher(fresh, pooled, session=session, policy=POLICY, observe=witness):
            load.start_watch()
            for engine in (pooled, *[fresh] * workers):
                load.add_worker(engine)
            await director.direct(seconds=seconds / 3)
            async with load.resting():
                warm = holdings()
            await director.direct(seconds=seconds * 2 / 3)
            async with load.resting():
                last = holdings()
                await load.stop()
        await fresh.dispose()
        await pooled.dispose()
        await closed_sockets(before.files)
        after = holdings()
    return Figures(
        provider=provider,
        plan=director.happened,
        rows=tally.rows,
        mints=witness.mints,
        looks=witness.looks,
        failed_looks=witness.failed_looks,
        slowest_look=witness.slowest_look,
        before=before,
        warm=warm,
        last=last,
        after=after,
    )


async def used_session() -> aioboto3.Session:
    """Return a session of an app that has used AWS before.

    Importing the SDK and parsing its models takes seconds on a busy machine, under
    tracemalloc above all: as long as anything may take where keys live for ten.
    """
    session = aioboto3.Session()
    await (await session.get_credentials()).get_frozen_credentials()
    return session


async def closed_sockets(files: int) -> None:
    """Wait up to 2 s until no more than *files* are open: asyncpg leaves TLS its goodbye."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while open_files() > files:  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0.01)


def told(figures: Figures) -> str:
    """Return what a person wants to know."""
    lines = [
        f"{'while':<66}{'faults':>7}{'uses':>7}{'failed':>7}"
        f"{'waited':>7}{'refused':>8}{'felt for':>9}"
    ]
    for row in figures.rows:
        may = "may fail" if row.kind.may_fail else "none may fail"
        felt = f"{row.felt_for:.1f} s" if row.failures else ""
        lines.append(
            f"{f'{row.kind.name} ({may})':<66}{row.faults:>7}{row.uses:>7}{row.failures:>7}"
            f"{row.waits:>7}{row.refusals:>8}{felt:>9}"
        )
    warm, last, before, after = figures.warm, figures.last, figures.before, figures.after
    lines += [
        "",
        f"keys from {figures.provider}: {figures.looks} looks of at most "
        f"{figures.slowest_look:.2f} s, {figures.failed_looks} that failed; {figures.mints} tokens",
        f"memory: {_kib(figures.growth)} more after {_kib(warm.allocated)}; by our own lines "
        f"{_kib(figures.growth_of_ours)}; resident "
        f"{_kib(last.resident - warm.resident)}",
        f"before and after: tasks {before.tasks}, {after.tasks}; threads {before.threads}, "
        f"{after.threads}; files {before.files}, {after.files}",
        *[f"BROKEN: {claim}" for claim in figures.broken()],
    ]
    return "\n".join(lines)


def _kib(size: int) -> str:
    return f"{size / 1024:.0f} KiB"


def main() -> int:
    """Run it as the arguments say."""
    parser = argparse.ArgumentParser(description="Soak rds_iam_async in faults.")
    parser.add_argument("--seconds", type=float, default=60, help="at least so long (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the provider (1)")
    parser.add_argument("--workers", type=int, default=4, help="who connect all the time (4)")
    parser.add_argument("--provider", choices=PROVIDERS, help="of keys; else the seed draws it")
    parser.add_argument("--json", action="store_true", help="print all figures, and the plan")
    given = parser.parse_args()
    # It warns of each fault, which is no news here.
    logging.getLogger("aiobotocore").addHandler(logging.NullHandler())
    figures = asyncio.run(
        soak(
            seconds=given.seconds,
            seed=given.seed,
            workers=given.workers,
            provider=given.provider or random.Random(given.seed).choice(PROVIDERS),
        )
    )
    broken = figures.broken()
    print(json.dumps(asdict(figures) | {"broken": broken}) if given.json else told(figures))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
