"""What the refresher looks after, and one round of it: look for keys, mint what is due."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping

from ._agenda import Agenda
from ._clock import Clock
from ._credential_cache import CredentialCache
from ._errors import MintError
from ._portions import Portions
from ._schedule import RefreshPolicy
from ._supply import TokenSupply

_BATCH = 16
"""Tokens minted between two turns of the loop: half a millisecond. A timer needs three turns to
be heard, and a turn costs as much as half a mint: `benchmarks/size.py`."""

_TOLD = 32
"""Failures told between two turns of the loop: half a millisecond, too, with metrics."""

_LOOKED_AT = 512
"""Endpoints between two turns of which nothing is asked but an instant, or whether something
is under way: at 1 µs each."""

Looks = Mapping[CredentialCache, asyncio.Task[None]]
"""Who looks for which keys."""


class Upkeep:
    """The supplies that are looked after, and when each of them wants attention.

    Whoever touches that calendar is in the loop; `add` and `remove` may be called in any
    thread, and `plan` follows them in the loop.

    Attributes:
        supplies: In the order in which they came.
    """

    def __init__(self, *, policy: RefreshPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._agenda: Agenda[TokenSupply] = Agenda()
        self._caches: Counter[CredentialCache] = Counter()
        self._starved: dict[TokenSupply, None] = {}
        self.supplies: dict[TokenSupply, None] = {}

    # What is looked after

    def add(self, supply: TokenSupply) -> None:
        """Look after *supply*, which is not looked after yet."""
        self.supplies[supply] = None
        self._caches[supply.keys] += 1

    def remove(self, supply: TokenSupply) -> None:
        """Forget *supply*."""
        del self.supplies[supply]
        self._caches[supply.keys] -= 1
        self._caches += Counter()  # drops the zeros
        self._starved.pop(supply, None)

    def plan(self, supply: TokenSupply) -> None:
        """Set down when *supply* wants attention, or that it wants none any more."""
        if supply in self.supplies:
            self._agenda.put(supply, supply.next_mint_at)
        else:  # detached meanwhile, by an observer for one
            self._agenda.remove(supply)

    # The first tokens

    def begin_looks(self) -> Looks:
        """Look for the keys that are not in hand, from all sources at once."""
        return {keys: keys.begin() for keys in tuple(self._caches) if keys.usable() is None}

    async def mint_first(self, looks: Looks) -> None:
        """Mint for every endpoint.

        Args:
            looks: Those that were begun for it some time ago.

        Raises:
            MintError: What kept a token from being made, bare.
        """
        for keys, look in looks.items():
            failed = look.done() and not look.cancelled() and look.exception() is not None
            if failed and keys.usable() is None and keys in self._caches:
                look.result()  # raises: one that has failed by now is not worth another
        self.begin_looks()  # `first` waits for each
        async for supplies in Portions(self.supplies, _BATCH):
            for supply in supplies:
                await supply.first()

    # A round

    async def take_up(self) -> None:
        """Set down when each supply wants attention."""
        async for supplies in Portions(self.supplies, _LOOKED_AT):
            for supply in supplies:
                self.plan(supply)

    async def go_round(self) -> None:
        """Look for keys where it is time to, and mint what is due."""
        await self._look_at_keys()
        await self._mint_what_is_due()

    def next_round_at(self) -> float:
        """Return when the next round is due, in Unix seconds; infinity if never."""
        looks = (keys.due_at for keys in tuple(self._caches) if not keys.looking)
        return min(self._agenda.next_at(), *looks, math.inf)

    async def make_all_due(self) -> None:
        """Look for all keys anew, and mint for all endpoints in the next round."""
        for keys in tuple(self._caches):
            keys.look_soon()
        async for supplies in Portions(self.supplies, _LOOKED_AT):
            for supply in supplies:
                supply.next_mint_at = -math.inf
                self.plan(supply)

    async def _look_at_keys(self) -> None:
        now = self._clock.wall()
        for keys in tuple(self._caches):
            if keys.due_at <= now:
                keys.begin()
        async for starved in Portions(self._starved, _TOLD):
            for supply in starved:
                if supply not in self._starved:
                    continue  # detached meanwhile
                if supply.keys.usable() is None:
                    supply.note_failed_look()
                else:
                    del self._starved[supply]
                    self._agenda.put(supply, -math.inf)

    async def _mint_what_is_due(self) -> None:
        while due := self._agenda.pop_due(now := self._clock.wall(), most=_BATCH):
            for supply in due:
                if supply not in self.supplies:
                    continue  # detached meanwhile
                try:
                    self._mint(supply, now)
                except Exception as error:
                    self._set_aside(supply, error)
            # As between `Portions`, for what is found anew each time and no list of it is made.
            await asyncio.sleep(0)

    def _mint(self, supply: TokenSupply, now: float) -> None:
        # A connection may have minted meanwhile.
        if supply.next_mint_at <= now and supply.mint_from_hand() is None:
            if supply.keys.usable() is None:
                self._starved[supply] = None
                return
            supply.next_mint_at = math.floor(now) + 1.0  # this second's token was refused
        self.plan(supply)

    def _set_aside(self, supply: TokenSupply, error: Exception) -> None:
        """Report a bug in minting for one endpoint, and go on with the others."""
        failure = MintError(f"minting for {supply.endpoint} failed: {type(error).__name__}")
        failure.__cause__ = error
        supply.note_failure(failure, retry_in=self._policy.retry_cap)
        supply.next_mint_at = self._clock.wall() + self._policy.retry_cap
        self.plan(supply)

    # The end

    async def end_unwanted_flights(self) -> None:
        """End what is under way in this loop, unless a connection waits for it, too."""
        async for supplies in Portions(self.supplies, _LOOKED_AT):
            for supply in supplies:
                if not supply.wanted:
                    await supply.aclose()
        for keys in tuple(self._caches):
            if not keys.wanted:
                await keys.aclose()

    async def aclose(self, *, unless: Callable[[], bool]) -> None:
        """End what is under way in this loop.

        Args:
            unless: Whether to leave it at that: somebody looks for keys again.
        """
        async for supplies in Portions(self.supplies, _LOOKED_AT):
            for supply in supplies:
                await supply.aclose()
        for keys in tuple(self._caches):
            if unless():
                return
            await keys.aclose()
