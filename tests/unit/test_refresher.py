"""L5 to L8, L16 to L19 of one loop: the background task on a clock moved by hand."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import anyio
import pytest

from rds_iam_async import CredentialsError, Endpoint, MintError, RefreshPolicy
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._refresher import Refresher
from rds_iam_async._supply import TokenSupply
from rds_iam_async._token import Token
from rds_iam_async.telemetry import (
    ClockJumped,
    CredentialsFailed,
    Event,
    MintFailed,
    RefresherClosed,
    RefresherRestarted,
    TokenMinted,
)
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws, Seen

pytestmark = pytest.mark.anyio

POLICY = RefreshPolicy(spread=0)


class OpenSupply(TokenSupply):
    """One whose methods a test can replace: it has a `__dict__`."""


class World:
    """A refresher with its clock, its AWS and what was seen."""

    def __init__(self, clock: FakeClock, aws: FakeAws, seen: Seen) -> None:
        self.clock, self.aws, self.seen = clock, aws, seen
        self.refresher = Refresher(policy=POLICY, clock=clock, observe=seen)
        self.keys = CredentialCache(aws, policy=POLICY, clock=clock, observe=seen)

    def supply(self, user: str = "app") -> TokenSupply:
        endpoint = Endpoint(host="db", port=5432, user=user, region="eu-west-1")
        supply = OpenSupply(
            endpoint,
            self.keys,
            policy=POLICY,
            clock=self.clock,
            observe=self.seen,
            on_cold=self.refresher.revive,
        )
        self.refresher.add(supply)
        return supply

    def minted_at(self) -> list[float]:
        began = self.seen.of(TokenMinted)[0].minted_at  # type: ignore[attr-defined]
        return [event.minted_at - began for event in self.seen.of(TokenMinted)]  # type: ignore[attr-defined]


@pytest.fixture
async def world(clock: FakeClock, aws: FakeAws, seen: Seen):
    world = World(clock, aws, seen)
    yield world
    await world.refresher.aclose()
    assert {task for task in asyncio.all_tasks() if "rds_iam_async" in task.get_name()} == set()


async def test_a_token_is_replaced_at_ten_minutes_of_age_for_ever(world: World) -> None:
    """L5: when 300 s are left; nobody had to wait."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    await world.clock.advance(3600)
    assert world.minted_at() == [0, 600, 1200, 1800, 2400, 3000, 3600]
    assert supply.cold_mints == 0


async def test_every_instant_of_a_day_has_a_usable_token(world: World) -> None:
    """The promise, on an endpoint whose keys live 15 minutes."""
    world.aws.lifetime = 900
    supply = world.supply()
    await world.refresher.start(timeout=10)
    for _ in range(24 * 60):
        await world.clock.advance(60)
        assert supply.slot.usable_for() > 0
    assert supply.failures == 0


@pytest.mark.parametrize("lifetime", [10, 60, 300])
async def test_short_lived_keys_give_a_refresh_ahead_of_need(world: World, lifetime: float) -> None:
    """L5: with the default policy; and about two fetches per life of the keys, not one per mint."""
    world.aws.lifetime = lifetime
    supplies = [world.supply(f"user{n}") for n in range(5)]
    await world.refresher.start(timeout=10)
    for _ in range(200):
        await world.clock.advance(lifetime / 20)
        assert all(supply.slot.usable_for() > 0 for supply in supplies)
    assert world.aws.calls <= 2 + 200 / 20 * 2


async def test_an_outage_shorter_than_the_lead_is_not_felt(world: World) -> None:
    """L8: while fetching fails, the token in hand goes on to be read; retries never stop.

    The nearer the end of the keys, the sooner.
    """
    world.aws.lifetime = 900
    supply = world.supply()
    await world.refresher.start(timeout=10)
    first = supply.read()
    world.aws.goes_down()
    await world.clock.advance(869)
    assert supply.read() is not None
    world.aws.comes_back()
    await world.clock.advance(15.1)
    assert supply.read() not in (None, first)
    failures: list[Any] = world.seen.of(CredentialsFailed)
    assert failures
    for failed in failures:
        assert failed.retry_in <= max(15, 0.8 * (failed.usable_for - 30))


async def test_keys_of_an_hour_do_not_feel_an_outage_of_half_of_it(world: World) -> None:
    """L8, L9: whenever it comes; and nobody who can wait asks more than a few times."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    await world.clock.advance(1799)
    world.aws.goes_down()
    await world.clock.advance(1800)
    assert supply.read() is not None
    # Each look leaves three fifths of the time at most, less the margin: 1770 s * 0.6 ** 8 < 30 s.
    failures: list[Any] = world.seen.of(CredentialsFailed)
    assert 1 <= len([failed for failed in failures if failed.usable_for > 60]) <= 8
    assert world.seen.of(MintFailed) == []


@pytest.mark.timeout(60)  # a day is much to compute
async def test_after_an_outage_of_a_day_it_recovers_within_one_retry(world: World) -> None:
    """L8: for ever, and never longer apart than 15 s."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    world.aws.goes_down()
    await world.clock.advance(86400)
    assert supply.read() is None
    assert supply.keys.failures > 86400 / 15
    told = [event.failures for event in world.seen.of(MintFailed)]  # type: ignore[attr-defined]
    assert told == list(range(1, supply.failures + 1))  # each attempt that it had to wait for
    world.aws.comes_back()
    await world.clock.advance(15.1)
    assert supply.read() is not None
    assert (supply.failures, supply.keys.failures, supply.last_error) == (0, 0, None)


@pytest.mark.parametrize("by", [600, -600])
async def test_a_step_of_the_clock_re_mints_within_a_slice(world: World, by: float) -> None:
    """L6: the old token's date was wrong."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    await world.clock.advance(100)
    world.clock.step(by)
    await world.clock.advance(15)
    assert supply.mints == 2
    assert [event.by for event in world.seen.of(ClockJumped)] == [by]  # type: ignore[attr-defined]


async def test_after_a_suspend_it_re_mints_within_a_slice(world: World) -> None:
    """L6: a timer set for ten minutes would sleep on for as long as was left of it."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    await world.clock.advance(100)
    world.clock.suspend(1200)
    assert supply.read() is None
    await world.clock.advance(15)
    assert supply.read() is not None


async def test_start_raises_the_real_error_bare(world: World) -> None:
    """L17: no timeout, no group around it; and nothing is left running."""
    world.supply()
    world.aws.goes_down()
    with pytest.raises(CredentialsError, match="the test said so") as caught:
        await world.refresher.start(timeout=10)
    assert caught.value is world.aws.error
    assert not world.refresher.running
    world.aws.comes_back()
    starting = asyncio.ensure_future(world.refresher.start(timeout=10))
    await world.clock.advance(0.5)
    await starting
    assert world.refresher.running


async def test_start_past_its_timeout_names_what_it_waited_for(world: World) -> None:
    """A MintError, with the endpoint; nothing is left running."""
    world.supply("waiting_user")
    world.aws.delay = 1e9
    with pytest.raises(MintError, match=r"within 0.1 s.*waiting_user@db:5432"):
        await world.refresher.start(timeout=0.1)
    assert not world.refresher.running


async def test_of_many_that_it_waited_for_start_names_ten(world: World) -> None:
    """An error of half a megabyte helps nobody."""
    for number in range(1012):
        world.supply(f"user{number}")
    world.aws.delay = 1e9
    with pytest.raises(MintError, match=r"user9@db:5432 \(eu-west-1\) and 1,002 more \(hint"):
        await world.refresher.start(timeout=0.1)


async def test_start_and_close_as_often_as_one_likes(world: World) -> None:
    """L19: idempotent, and open again after it."""
    world.supply()
    await world.refresher.aclose()
    for _ in range(3):
        await world.refresher.start(timeout=10)
        await world.refresher.start(timeout=10)
        assert world.refresher.running
        await world.refresher.aclose()
        await world.refresher.aclose()
        assert not world.refresher.running
    assert len(world.seen.of(RefresherClosed)) == 3


async def test_start_in_one_task_and_close_in_another_inside_a_cancelled_scope(
    world: World,
) -> None:
    """L16: no scope is held open across the caller's frames."""
    world.supply()
    await asyncio.create_task(world.refresher.start(timeout=10))

    async def close() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await world.refresher.aclose()

    await asyncio.create_task(close())
    assert not world.refresher.running
    await asyncio.sleep(0)  # the host task is not poisoned


async def test_the_task_has_a_fresh_context(world: World) -> None:
    """L16: a refresher started by a request must not carry its context for ever."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    saw = []

    async def snapshot():
        saw.append(request_id.get())
        return await original()

    original, world.aws.snapshot = world.aws.snapshot, snapshot  # type: ignore[method-assign]
    world.aws.lifetime = 60
    world.supply()
    request_id.set("req-42")
    await world.refresher.start(timeout=10)
    await world.clock.advance(120)
    assert len(saw) > 2
    assert set(saw) == {"none"}


async def test_closing_ends_a_mint_that_hangs(world: World) -> None:
    """L19: bounded, whatever is under way."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    world.aws.delay = 1e9
    supply.keys.begin()
    waiting = asyncio.ensure_future(supply.keys.refresh())
    await world.clock.settle()
    with anyio.fail_after(10):
        await world.refresher.aclose()
    with pytest.raises(MintError, match="stopped"):
        await waiting


async def test_a_crash_is_reported_with_its_traceback_and_the_loop_goes_on(
    aws: FakeAws, seen: Seen
) -> None:
    """L18: the host never feels it; restarts back off, and readiness is the token's."""

    class BrokenClock(FakeClock):
        crashes = 0

        async def wait(self, event: anyio.Event, seconds: float) -> None:
            if self.crashes:
                self.crashes -= 1
                raise ZeroDivisionError("a bug")
            await super().wait(event, seconds)

        async def sleep(self, seconds: float) -> None:
            await super().wait(anyio.Event(), seconds)

    clock = BrokenClock()
    aws.clock = clock
    world = World(clock, aws, seen)
    supply = world.supply()
    await world.refresher.start(timeout=10)
    await clock.settle()
    clock.crashes = 4
    await clock.advance(3600)
    restarts = seen.of(RefresherRestarted)
    assert len(restarts) == 4
    for restart in restarts:
        assert isinstance(restart.error, ZeroDivisionError)  # type: ignore[attr-defined]
        assert restart.error.__traceback__ is not None  # type: ignore[attr-defined]
    assert supply.read() is not None
    assert supply.cold_mints == 0
    await world.refresher.aclose()


async def test_a_killed_task_is_started_again_by_the_next_cold_connect(world: World) -> None:
    """L12: the task is an optimisation, never a dependency."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    [task] = [t for t in asyncio.all_tasks() if t.get_name() == "rds_iam_async refresher"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await world.clock.advance(900)
    assert supply.read() is None
    await supply.obtain()
    assert world.refresher.running
    await world.clock.advance(900)
    assert supply.read() is not None


async def test_an_endpoint_added_while_it_runs_is_minted_at_once(world: World) -> None:
    """From any thread."""
    await world.refresher.start(timeout=10)
    added = []
    thread = threading.Thread(target=lambda: added.append(world.supply("late")))
    thread.start()
    thread.join()
    await world.clock.advance(0.001)
    assert added[0].read() is not None
    assert added[0].cold_mints == 0


async def test_a_removed_endpoint_is_minted_no_more(world: World) -> None:
    """`detach` ends its refreshing; the others go on."""
    gone, stays = world.supply("gone"), world.supply("stays")
    await world.refresher.start(timeout=10)
    world.refresher.remove(gone)
    await world.clock.advance(3600)
    assert (gone.mints, stays.mints) == (1, 7)


async def test_two_loops_in_turn(clock: FakeClock, aws: FakeAws, seen: Seen) -> None:
    """L20: `asyncio.run` twice with one refresher, without closing in between."""
    world = World(clock, aws, seen)
    supply = world.supply()

    async def once() -> bool:
        await world.refresher.start(timeout=10)
        return world.refresher.running

    def run_twice() -> list[bool]:
        return [asyncio.run(once()), asyncio.run(once())]

    assert await asyncio.to_thread(run_twice) == [True, True]
    assert supply.mints == 1


async def test_a_thousand_endpoints_share_one_failure_and_recover_together(
    world: World,
) -> None:
    """L9: one fetch per retry for all of them."""
    world.aws.lifetime = 900
    supplies = [world.supply(f"user{n}") for n in range(1000)]
    await world.refresher.start(timeout=10)
    assert world.aws.calls == 1
    world.aws.goes_down()
    await world.clock.advance(1200)
    assert not any(supply.read() for supply in supplies)
    calls = world.aws.calls
    await world.clock.advance(60)
    assert world.aws.calls - calls < 60
    world.aws.comes_back()
    await world.clock.advance(15.1)
    assert all(supply.read() is not None for supply in supplies)


async def test_keys_that_a_connection_found_are_for_all_endpoints(world: World) -> None:
    """L9: at once, though the refresher sleeps until its own next look."""
    asks, waits = world.supply("asks"), world.supply("waits")
    await world.refresher.start(timeout=10)
    world.aws.goes_down()
    await world.clock.advance(7200)
    world.aws.comes_back()
    await asks.obtain()
    await world.clock.settle()
    assert waits.read() is not None


async def test_keys_that_a_connection_found_while_failures_were_told_are_for_all(
    clock: FakeClock, aws: FakeAws
) -> None:
    """L9: the look began between two turns of the refresher, and ended when it slept."""
    looks: list[asyncio.Future[Token]] = []

    class Interested(Seen):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            told = isinstance(event, MintFailed) and event.endpoint == supplies[30].endpoint
            looks_itself = supplies[0].read() is None and not world.keys.looking
            if told and not looks and looks_itself:
                aws.comes_back()
                aws.delay = 2
                looks.append(asyncio.ensure_future(supplies[0].obtain()))

    world = World(clock, aws, Interested())
    supplies = [world.supply(f"user{n}") for n in range(200)]
    await world.refresher.start(timeout=10)
    aws.goes_down()
    while not looks:
        await clock.advance(1)
    # A look pauses up to `retry_base` and takes 2 s here; the refresher would sleep for 15.
    await clock.advance(5)
    await looks[0]
    assert all(supply.read() is not None for supply in supplies)
    await world.refresher.aclose()


async def test_the_observer_sees_the_story_in_order(world: World) -> None:
    """Frozen events, one for each thing that happens."""
    world.supply()
    await world.refresher.start(timeout=10)
    await world.refresher.aclose()
    names = [type(event).__name__ for event in world.seen]
    assert names == ["CredentialsResolved", "TokenMinted", "RefresherClosed"]
    event: Event = world.seen[1]
    with pytest.raises(AttributeError):
        event.cold = True  # type: ignore[attr-defined]


async def test_without_start_a_cold_connect_starts_no_task(world: World) -> None:
    """The lazy mode: for AWS Lambda, for scripts."""
    supply = world.supply()
    await supply.obtain()
    assert not world.refresher.running


async def test_a_bug_in_minting_for_one_endpoint_does_not_starve_the_others(
    world: World,
) -> None:
    """L18: it is set aside, reported, and tried again later."""
    broken, sound = world.supply("broken"), world.supply("sound")
    await world.refresher.start(timeout=10)

    def mint_from_hand(*, cold: bool = False) -> None:
        raise ZeroDivisionError("a bug")

    broken.mint_from_hand = mint_from_hand  # type: ignore[method-assign,assignment]
    await world.clock.advance(3600)
    assert sound.mints == 7
    assert sound.cold_mints == 0
    assert broken.failures > 100
    assert {event.retry_in for event in world.seen.of(MintFailed)} == {POLICY.retry_cap}  # type: ignore[attr-defined]
    assert "ZeroDivisionError" in str(broken.last_error)
    assert world.seen.of(RefresherRestarted) == []


async def test_restarts_after_crashes_are_apart(aws: FakeAws, seen: Seen) -> None:
    """L18: a loop that crashes at once must not become a busy loop."""

    class BrokenClock(FakeClock):
        async def wait(self, event: anyio.Event, seconds: float) -> None:
            raise ZeroDivisionError("a bug")

        async def sleep(self, seconds: float) -> None:
            await super().wait(anyio.Event(), seconds)

    clock = BrokenClock()
    aws.clock = clock
    world = World(clock, aws, seen)
    world.supply()
    await world.refresher.start(timeout=10)
    await clock.advance(600)
    assert 40 < len(seen.of(RefresherRestarted)) < 400
    assert isinstance(world.refresher.crash, ZeroDivisionError)
    pauses = [event.restart_in for event in seen.of(RefresherRestarted)]  # type: ignore[attr-defined]
    assert max(pauses) > 10
    await world.refresher.aclose()


async def test_a_jump_has_the_keys_looked_at_again(world: World) -> None:
    """L6: when they were due was reckoned by a clock that was wrong."""
    world.supply()
    await world.refresher.start(timeout=10)
    await world.clock.advance(100)
    world.clock.step(-600)
    await world.clock.advance(15)
    assert world.aws.calls == 2


async def test_after_a_refusal_the_background_mint_waits_for_the_next_second(
    world: World,
) -> None:
    """Not in a busy loop: the same key signs the same string until then."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    refused = supply.read()
    turns = 0

    def mint_from_hand(*, cold: bool = False) -> None:
        nonlocal turns
        turns += 1  # None: as for a string that was refused

    supply.mint_from_hand = mint_from_hand  # type: ignore[method-assign,assignment]
    assert refused is not None
    await world.clock.advance(610)
    assert 9 <= turns <= 12


async def test_a_thousand_mints_leave_the_loop_room_to_turn(world: World) -> None:
    """Work is spread: never more than a millisecond or so of signing at a time."""
    for number in range(1000):
        world.supply(f"user{number}")
    turns = 0

    stopped = False

    def count() -> None:
        nonlocal turns
        turns += 1
        if not stopped:
            asyncio.get_running_loop().call_soon(count)

    count()
    await world.refresher.start(timeout=10)
    at_start, turns = turns, 0
    minted_before = [supply.mints for supply in world.refresher.supplies]
    await world.clock.advance(599)
    turns = 0
    await world.clock.advance(1)
    stopped = True
    assert [supply.mints for supply in world.refresher.supplies] == [n + 1 for n in minted_before]
    assert at_start >= 1000 / 32
    assert turns >= 1000 / 32


async def test_sources_are_asked_at_the_same_time(clock: FakeClock, seen: Seen) -> None:
    """Two slow ones cost the time of one."""
    first, second = FakeAws(clock), FakeAws(clock)
    first.delay = second.delay = 3
    world = World(clock, first, seen)
    world.supply("one")
    world.keys = CredentialCache(second, policy=POLICY, clock=clock, observe=seen)
    world.supply("two")
    starting = asyncio.ensure_future(world.refresher.start(timeout=10))
    await clock.advance(3)
    assert starting.done()
    await world.refresher.aclose()


async def test_begun_without_waiting_it_mints_all_the_same(world: World) -> None:
    """The engines of a URL have nobody who could wait for `start`."""
    supply = world.supply()
    world.refresher.begin()
    assert world.aws.calls == 0
    await world.clock.advance(3600)
    assert world.minted_at() == [0, 600, 1200, 1800, 2400, 3000, 3600]
    assert supply.cold_mints == 0


async def test_at_rest_it_keeps_what_it_has_and_mints_no_more(world: World) -> None:
    """Until it is begun again; a cold connect does not do that."""
    supply = world.supply()
    await world.refresher.start(timeout=10)
    token = supply.slot.current()
    await world.refresher.rest()
    assert not world.refresher.running
    assert supply.slot.current() == token
    assert len(world.seen.of(RefresherClosed)) == 1
    await world.clock.advance(1000)
    assert world.minted_at() == [0]
    await supply.obtain()
    assert not world.refresher.running
    world.refresher.begin()
    await world.clock.advance(600)
    assert world.minted_at() == [0, 1000, 1600]


async def test_rest_leaves_to_connections_what_they_wait_for(world: World) -> None:
    """Keys, and another token than one that was refused; the rest ends."""
    supply = world.supply()
    world.aws.delay = 1
    waiting = asyncio.ensure_future(supply.obtain())
    await anyio.wait_all_tasks_blocked()
    await world.refresher.rest()
    await world.clock.advance(1)
    token = await waiting
    replaced = asyncio.ensure_future(supply.replace(token.password))
    await anyio.wait_all_tasks_blocked()
    await world.refresher.rest()
    await world.clock.advance(5)
    assert await replaced not in (None, token.password)
    given_up = asyncio.ensure_future(supply.replace(supply.slot.current().password))  # type: ignore[union-attr]
    await anyio.wait_all_tasks_blocked()
    given_up.cancel()
    await anyio.wait_all_tasks_blocked()
    assert ours() != []
    await world.refresher.rest()
    assert ours() == []


async def test_let_go_from_another_thread(world: World) -> None:
    """As the garbage collector may do it, in whichever thread."""
    world.supply()
    await world.refresher.start(timeout=10)
    letting_go = threading.Thread(target=world.refresher.let_go)
    letting_go.start()
    letting_go.join()
    assert not world.refresher.running
    await anyio.wait_all_tasks_blocked()
    assert ours() == []
    world.refresher.let_go()


def ours() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if "rds_iam" in task.get_name()]
