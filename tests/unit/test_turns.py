"""Whatever befalls all endpoints at once is spread over turns of the loop: work, not time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import Endpoint, RefreshPolicy, TokenRefresher
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._refresher import Refresher
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import Event, MintFailed, TokenMinted
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws

pytestmark = pytest.mark.anyio

MANY = 600
MINTED, TOLD, LOOKED_AT, LINKED = 16, 32, 512, 32
"""The most in one turn: tokens, failures, endpoints looked at, engines linked or unlinked."""

POLICY = RefreshPolicy(spread=0)


class Turns:
    """Counts the turns of the loop, and what is done in each."""

    def __init__(self) -> None:
        self.number = 0
        self.done: dict[str, Counter[int]] = {}
        self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def note(self, what: str) -> None:
        self.done.setdefault(what, Counter())[self.number] += 1

    def taken(self, what: str) -> tuple[int, int]:
        """Return how often it was done, and the most in one turn; begin anew."""
        counts = self.done.pop(what)
        return counts.total(), max(counts.values())

    def stop(self) -> None:
        self._handle.cancel()

    def _turn(self) -> None:
        self.number += 1
        self._handle = asyncio.get_running_loop().call_soon(self._turn)


class Noting(TokenSupply):
    """A supply that notes the turns in which it is handled."""

    turns: Turns

    @property
    def next_mint_at(self) -> float:  # type: ignore[override]
        self.turns.note("looked at")
        return self.due_at

    @next_mint_at.setter
    def next_mint_at(self, at: float) -> None:
        self.due_at = at

    async def aclose(self) -> None:
        self.turns.note("closed")
        await super().aclose()


class World:
    """Six hundred endpoints that share their keys, and what happens to them in which turn."""

    def __init__(self, clock: FakeClock, aws: FakeAws) -> None:
        self.clock, self.aws, self.turns = clock, aws, Turns()
        self.refresher = Refresher(policy=POLICY, clock=clock, observe=self._observe)
        keys = CredentialCache(aws, policy=POLICY, clock=clock, observe=self._observe)
        for number in range(MANY):
            supply = Noting(
                Endpoint(host="db", port=5432, user=f"user{number}", region="eu-west-1"),
                keys,
                policy=POLICY,
                clock=clock,
                observe=self._observe,
                on_cold=self.refresher.revive,
            )
            supply.turns = self.turns
            self.refresher.add(supply)

    def _observe(self, event: Event) -> None:
        self.turns.note(type(event).__name__)


@pytest.fixture
async def world(clock: FakeClock, aws: FakeAws) -> AsyncIterator[World]:
    world = World(clock, aws)
    yield world
    world.turns.stop()
    await world.refresher.aclose()


async def test_the_first_tokens_are_minted_a_few_at_a_time(world: World) -> None:
    """`start()` with six hundred endpoints; and the task takes them up in portions."""
    await world.refresher.start(timeout=10)
    assert world.turns.taken("TokenMinted") == (MANY, MINTED)
    world.turns.done.clear()
    await world.clock.settle()
    assert world.turns.taken("looked at") == (MANY, LOOKED_AT)


async def test_tokens_that_are_due_at_once_are_minted_a_few_at_a_time(world: World) -> None:
    """The worst case: no spread."""
    await world.refresher.start(timeout=10)
    world.turns.done.clear()
    await world.clock.advance(600)
    assert world.turns.taken("TokenMinted") == (MANY, MINTED)


async def test_a_jump_of_the_clock_has_all_re_minted_a_few_at_a_time(world: World) -> None:
    """Nor are all made due in one turn."""
    await world.refresher.start(timeout=10)
    await world.clock.settle()
    world.turns.done.clear()
    world.clock.step(7200)
    await world.clock.advance(15)
    assert world.turns.taken("TokenMinted") == (MANY, MINTED)
    looks, most = world.turns.taken("looked at")
    assert looks >= MANY
    assert most <= LOOKED_AT


async def test_a_failure_that_all_share_is_told_a_few_at_a_time(world: World) -> None:
    """And so is its end: whoever waited for keys is minted for as if they were due."""
    world.aws.lifetime = 900
    await world.refresher.start(timeout=10)
    world.aws.goes_down()
    await world.clock.advance(1200)
    world.turns.done.clear()
    await world.clock.advance(15.1)
    told, most = world.turns.taken("MintFailed")
    assert (told % MANY, most) == (0, TOLD)
    world.aws.comes_back()
    await world.clock.advance(15.1)
    assert world.turns.taken("TokenMinted") == (MANY, MINTED)


async def test_the_end_asks_a_part_of_the_endpoints_at_a_time(world: World) -> None:
    """Whether something is under way for them."""
    await world.refresher.start(timeout=10)
    await world.refresher.aclose()
    assert world.turns.taken("closed") == (MANY, LOOKED_AT)


async def test_engines_are_linked_and_unlinked_a_few_at_a_time(
    aws: FakeAws, clock: FakeClock
) -> None:
    """Each costs SQLAlchemy some microseconds."""
    engines = [
        create_async_engine(f"postgresql+asyncpg://u{number}@db/orders", poolclass=NullPool)
        for number in range(100)
    ]
    refresher = TokenRefresher(*engines, credentials=aws, region="eu-west-1", clock=clock)
    await refresher.start()
    assert linked(engines) == 100
    assert await most_changed_while(refresher.aclose(), engines) == LINKED
    assert linked(engines) == 0
    assert await most_changed_while(refresher.start(), engines) == LINKED
    assert linked(engines) == 100
    await refresher.aclose()


@pytest.mark.parametrize("turns", range(1, 7))
async def test_what_is_started_again_while_it_closes_stays_linked(
    aws: FakeAws, clock: FakeClock, turns: int
) -> None:
    """The end takes several turns, and the new start may come in any of them."""
    engines = [
        create_async_engine(f"postgresql+asyncpg://u{number}@db/orders", poolclass=NullPool)
        for number in range(100)
    ]
    refresher = TokenRefresher(*engines, credentials=aws, region="eu-west-1", clock=clock)
    await refresher.start()
    closing = asyncio.ensure_future(refresher.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    await refresher.start()
    await closing
    assert linked(engines) == 100
    assert refresher.status().ready
    await refresher.aclose()
    assert linked(engines) == 0


def linked(engines: list[AsyncEngine]) -> int:
    return sum(len(engine.sync_engine.dialect.dispatch.do_connect) for engine in engines)


async def most_changed_while(work: object, engines: list[AsyncEngine]) -> int:
    """Return how many engines were linked or unlinked in one turn, at most."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    most, before = 0, linked(engines)
    while not task.done():
        await asyncio.sleep(0)
        now = linked(engines)
        most, before = max(most, abs(now - before)), now
    await task
    return most


async def test_a_supply_that_an_observer_removes_as_it_is_minted_for_is_minted_for_no_more(
    clock: FakeClock, aws: FakeAws
) -> None:
    """Detaching is allowed at any time, also of those that are due in the same turn."""
    minted: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, TokenMinted | MintFailed):
            minted.append(event.endpoint.user)
            for supply in tuple(refresher.supplies):
                if len(minted) > 2:
                    refresher.remove(supply)

    refresher = Refresher(policy=POLICY, clock=clock, observe=observe)
    keys = CredentialCache(aws, policy=POLICY, clock=clock, observe=observe)
    for user in ("one", "other"):
        endpoint = Endpoint(host="db", port=5432, user=user, region="eu-west-1")
        refresher.add(
            TokenSupply(
                endpoint,
                keys,
                policy=POLICY,
                clock=clock,
                observe=observe,
                on_cold=refresher.revive,
            )
        )
    await refresher.start(timeout=10)
    await clock.advance(3600)
    assert len(minted) == 3  # the first two, and one of the two that were due together
    await refresher.aclose()
