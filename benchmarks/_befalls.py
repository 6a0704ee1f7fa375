"""What can befall all endpoints of a refresher at once, and the work that it is, turn by turn."""

from __future__ import annotations

import asyncio
import gc
import itertools
from dataclasses import replace
from typing import Any

from _size_bench import KEYS, TEN_MINUTES, Bench, warm_up
from _turns import Turns

from rds_iam_async import Credentials
from rds_iam_async.telemetry import CredentialsResolved, Event, MintFailed, TokenMinted


async def turns(size: int, rounds: int) -> list[dict[str, Any]]:
    """Return what was done in the turns of the loop, whatever befell all endpoints at once."""
    await warm_up()
    befalls = Befalls(Bench(size))
    befalls.bench.attach()
    gc.collect()  # what was made until now is nobody's work
    found = []
    for what, work, times in (
        ("`start()`", befalls.start, 1),
        ("all tokens are due", befalls.bench.cycle, rounds),
        ("the keys are renewed", befalls.new_keys, rounds),
        ("the clock is set, and all are minted anew", befalls.clock_set, rounds),
        ("no keys: all of them fail", befalls.no_keys, 1),
        ("keys again: all are minted", befalls.keys_again, 1),
        ("`aclose()`", befalls.bench.refresher.aclose, 1),
    ):
        with Turns() as noted:
            for _ in range(times):
                await work()
                await asyncio.sleep(0.01)
        found.append({"what": what, **noted.summary(times)})
    return found


class Befalls:
    """What can befall all endpoints of a refresher at once."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._numbers = itertools.count()

    async def start(self) -> None:
        await self.bench.refresher.start()

    async def new_keys(self) -> None:
        """Nothing is minted because of them: what they sign is due when it is due."""
        self.bench.source.keys = self._other_keys()
        await self._until(CredentialsResolved, 1, winding=0.8 * TEN_MINUTES)
        await self.bench.cycle()

    async def clock_set(self) -> None:
        minted = self.bench.told.expect(TokenMinted, len(self.bench.engines))
        self.bench.clock.step(7200)
        await minted.wait()

    async def no_keys(self) -> None:
        """The keys in hand end while AWS is down."""
        end = self.bench.clock.wall() + 7200
        self.bench.source.keys = self._other_keys(expires_at=end)
        await self.bench.cycle()
        self.bench.source.is_down = True
        await self._until(MintFailed, len(self.bench.engines), winding=7200)

    async def keys_again(self) -> None:
        self.bench.source.keys = self._other_keys()
        self.bench.source.is_down = False
        await self._until(TokenMinted, len(self.bench.engines), winding=60)

    def _other_keys(self, expires_at: float | None = None) -> Credentials:
        key = f"ASIAANOTHER{next(self._numbers)}"
        return replace(KEYS, access_key_id=key, expires_at=expires_at)

    async def _until(self, kind: type[Event], times: int, *, winding: float) -> None:
        told = self.bench.told.expect(kind, times)
        self.bench.clock.wind(winding)
        await told.wait()
