"""L10, L12, L13, L16, L19: each operation cancelled at each turn of the loop that it takes.

An operation runs once to its end, to count its turns; then once more for each of them, on
a world made anew, and is cancelled at that turn. Nothing may be left over, nobody else may
feel it, and what comes later works.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import TokenRefresher, TokenUnavailableError
from rds_iam_async.telemetry import ColdConnect, RefresherClosed
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws, Seen

pytestmark = pytest.mark.anyio

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
CONTEXT = ssl.create_default_context()

Operation = Callable[[], Awaitable[Any]]


class Turning(FakeClock):
    """A sleep takes three turns of the loop, however long it is: steps to cancel between."""

    stopped = False

    async def sleep(self, seconds: float) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        if self.stopped:
            await anyio.Event().wait()
        self.suspend(max(0.0, seconds))


class RefusedError(Exception):
    sqlstate = "28000"


class Server:
    """Takes two turns for a login, and refuses what was revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.sent: list[str] = []

    async def connect(self, **kwargs: Any) -> str:
        password = kwargs["password"].encode().decode()
        self.sent.append(password)
        for _ in range(2):
            await asyncio.sleep(0)
        if password in self.revoked:
            raise RefusedError("PAM authentication failed")
        return password


class World:
    """Two engines with keys of their own; their connections go to a server made for the test."""

    def __init__(self) -> None:
        self.clock, self.seen, self.server = Turning(), Seen(), Server()
        self.aws = [FakeAws(self.clock), FakeAws(self.clock)]
        self.refresher = TokenRefresher(clock=self.clock, observe=self.seen, tls=CONTEXT)
        self._engines = [create_async_engine(URL) for _ in self.aws]
        for engine, aws in zip(self._engines, self.aws, strict=True):
            event.listen(engine.sync_engine, "do_connect", self._driver)
            self.refresher.attach(engine, credentials=aws)
        self._others = asyncio.all_tasks()
        self.waiting: list[asyncio.Future[Any]] = []

    def _driver(self, dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["async_creator_fn"] = self.server.connect

    async def connect(self, number: int = 0) -> str:
        """Do what SQLAlchemy does: the listeners, then `async_creator_fn`."""
        engine = self._engines[number]
        cparams: dict[str, Any] = {"host": engine.url.host, "user": engine.url.username}
        for listener in engine.sync_engine.dialect.dispatch.do_connect:
            listener(engine.sync_engine.dialect, None, [], cparams)
        return await cparams.pop("async_creator_fn")(**cparams)

    async def start(self) -> None:
        await self.refresher.start()

    async def aclose(self) -> None:
        await self.refresher.aclose()

    def tasks(self, *, ending: bool = True) -> set[str]:
        """Return the names of the tasks that came up, with or without those being cancelled."""
        ours = asyncio.all_tasks() - self._others - {asyncio.current_task()}
        return {task.get_name() for task in ours if ending or not task.cancelling()}

    async def leaves_nothing(self) -> None:
        await asyncio.gather(*self.waiting, return_exceptions=True)
        await self.clock.settle()
        assert self.tasks() == set()
        assert {t.name for t in threading.enumerate() if "rds_iam" in t.name} == set()

    async def joined_by_one_more(self) -> None:
        self.waiting.append(asyncio.ensure_future(self.connect()))
        await asyncio.sleep(0)

    async def all_went_on(self) -> None:
        """Nobody who waited felt it, and a token was made once for all of them."""
        await asyncio.gather(*self.waiting)
        assert self.aws[0].calls == 1 + (len(self.server.revoked) > 0)

    async def works(self) -> None:
        """Start, connect warm and cold, and close: no lock is held, nothing is half done."""
        self.clock.stopped = False
        await self.start()
        assert self.refresher.status().ready
        await asyncio.gather(self.connect(0), self.connect(1))
        self.clock.suspend(7200)  # neither tokens nor keys are good any more
        await asyncio.gather(self.connect(0), self.connect(1))
        await self.aclose()
        await self.leaves_nothing()


class Victim:
    """An operation in a task of its own, to be cancelled from outside."""

    def __init__(self, operation: Operation) -> None:
        self.scope = anyio.CancelScope()
        self.begun = False
        self.task = asyncio.ensure_future(self._run(operation))

    async def _run(self, operation: Operation) -> Any:
        self.begun = True
        with self.scope:
            return await operation()

    @property
    def came_through(self) -> bool:
        """Whether it was done before the cancellation reached it."""
        return not (self.task.cancelled() or self.scope.cancelled_caught)

    async def end(self) -> None:
        """Wait for its end, which must be cancellation or success."""
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()


async def by_task(victim: Victim) -> None:
    asked = victim.task.cancel()
    await victim.end()
    assert victim.task.cancelled() == asked, "somebody swallowed the cancellation"


async def by_task_twice(victim: Victim) -> None:
    """Press Ctrl-C again: cleaning up is interrupted, too."""
    victim.task.cancel()
    await asyncio.sleep(0)
    if not victim.task.done():
        await by_task(victim)


async def by_scope(victim: Victim) -> None:
    victim.scope.cancel()
    await victim.end()
    assert not victim.task.cancelled()


async def by_scope_then_task(victim: Victim) -> None:
    """A request times out, and then the server shuts down."""
    victim.scope.cancel()
    await asyncio.sleep(0)
    if not victim.task.done():
        await by_task(victim)


Cancel = Callable[[Victim], Coroutine[Any, Any, None]]
WAYS = [by_task, by_task_twice, by_scope, by_scope_then_task]
every_way = pytest.mark.parametrize("cancel", WAYS, ids=lambda way: way.__name__)


async def pass_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def turns_of(operation: Operation) -> int:
    """Return how many turns of the loop it takes when nobody cancels it."""
    running = asyncio.ensure_future(operation())
    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
        assert turns < 200, "it waits for what never comes"
    running.result()
    return turns


Prepared = Callable[[], Awaitable[tuple[World, Operation]]]


async def each_turn(prepared: Prepared) -> AsyncIterator[tuple[World, Victim]]:
    """Yield a world of its own, and what runs in it, for each turn that it takes."""
    world, operation = await prepared()
    turns = await turns_of(operation)
    assert turns > 2
    await world.aclose()
    await world.leaves_nothing()
    for turn in range(turns):
        world, operation = await prepared()
        victim = Victim(operation)
        await pass_turns(turn)
        assert not victim.task.done()
        yield world, victim
        await world.aclose()
        await world.leaves_nothing()


# Alone


async def starting() -> tuple[World, Operation]:
    world = World()
    return world, world.start


async def starting_again() -> tuple[World, Operation]:
    """After it was closed, and when the keys are no good any more."""
    world = World()
    await world.start()
    await world.aclose()
    world.clock.suspend(7200)
    return world, world.start


@every_way
@pytest.mark.parametrize("prepared", [starting, starting_again])
async def test_a_start_that_is_cancelled_has_ended_what_it_began(
    prepared: Prepared, cancel: Cancel
) -> None:
    """L16, L17: when it returns, also where AWS hangs; and the next one works."""
    async for world, victim in each_turn(prepared):
        world.clock.stopped = True
        await cancel(victim)
        if victim.came_through:
            assert world.refresher.status().ready
            continue
        assert world.tasks(ending=False) == set()
        await world.leaves_nothing()
        await world.works()


async def closing() -> tuple[World, Operation]:
    """While the refresher runs and mints for both engines hang."""
    world = World()
    await world.start()
    world.clock.suspend(7200)
    world.clock.stopped = True
    world.waiting = [asyncio.ensure_future(world.connect(number)) for number in (0, 1)]
    await world.clock.settle()
    return world, world.aclose


async def closing_while_a_refused_token_is_replaced() -> tuple[World, Operation]:
    world = World()
    await world.start()
    world.server.revoked |= {await world.connect(0), await world.connect(1)}
    world.clock.stopped = True
    world.waiting = [asyncio.ensure_future(world.connect(number)) for number in (0, 1)]
    await world.clock.settle()
    return world, world.aclose


@every_way
@pytest.mark.parametrize("prepared", [closing, closing_while_a_refused_token_is_replaced])
async def test_a_close_that_is_cancelled_closes_all_the_same(
    prepared: Prepared, cancel: Cancel
) -> None:
    """L19: no task goes on, neither the refresher's nor a mint that hangs; all can be used again.

    Who waited for such a mint hears of it by an error that the application can handle.
    """
    async for world, victim in each_turn(prepared):
        await cancel(victim)
        if not victim.begun:
            continue
        assert world.tasks(ending=False) <= {task.get_name() for task in world.waiting}
        await world.leaves_nothing()
        for task in world.waiting:
            error = task.exception()
            assert isinstance(error, RefusedError) or isinstance(
                error.__cause__, TokenUnavailableError
            )
        await world.works()


# Others wait for the same


async def alone() -> tuple[World, Operation]:
    world = World()
    return world, world.connect


async def joining() -> tuple[World, Operation]:
    """Another connect began the mint."""
    world = World()
    world.waiting.append(asyncio.ensure_future(world.connect()))
    await asyncio.sleep(0)
    return world, world.connect


async def joining_a_start() -> tuple[World, Operation]:
    world = World()
    world.waiting.append(asyncio.ensure_future(world.start()))
    await asyncio.sleep(0)
    return world, world.connect


async def refused() -> tuple[World, Operation]:
    """The token in the slot is good no more, and the server says so."""
    world = World()
    world.server.revoked.add(await world.connect())
    return world, world.connect


async def refused_and_joining() -> tuple[World, Operation]:
    world, operation = await refused()
    world.waiting.append(asyncio.ensure_future(world.connect()))
    await asyncio.sleep(0)
    return world, operation


@every_way
@pytest.mark.parametrize(
    "prepared", [alone, joining, joining_a_start, refused, refused_and_joining]
)
async def test_a_connect_that_is_cancelled_hurts_nobody_else(
    prepared: Prepared, cancel: Cancel
) -> None:
    """L10, L12, L13: those who wait for the same token get it, and it is minted once."""
    async for world, victim in each_turn(prepared):
        await world.joined_by_one_more()
        await cancel(victim)
        await world.all_went_on()
        await world.works()


@every_way
@pytest.mark.parametrize("prepared", [alone, joining])
async def test_a_connect_that_is_cancelled_is_not_said_to_have_got_a_token(
    prepared: Prepared, cancel: Cancel
) -> None:
    """`ColdConnect` without an error means that there was one; each that got one sent it."""
    async for world, victim in each_turn(prepared):
        await cancel(victim)
        await asyncio.gather(*world.waiting)
        served = [event for event in world.seen.of(ColdConnect) if event.error is None]
        assert len(served) == len(world.server.sent)


@every_way
async def test_a_start_that_is_cancelled_hurts_no_connect(cancel: Cancel) -> None:
    """L10: a connect that waits for the keys that the start fetches gets its token."""
    async for world, victim in each_turn(starting):
        await world.joined_by_one_more()
        await cancel(victim)
        await world.all_went_on()
        await world.works()


@every_way
async def test_a_start_that_is_cancelled_hurts_no_other(cancel: Cancel) -> None:
    """L10, L16: of two that start at once, the other one starts."""
    async for world, victim in each_turn(starting):
        other = asyncio.ensure_future(world.start())
        await asyncio.sleep(0)
        await cancel(victim)
        await other
        assert world.refresher.status().ready
        await world.works()


# A host that is cancelled


@every_way
async def test_a_host_that_is_cancelled_closes_what_it_opened(cancel: Cancel) -> None:
    """L16: the cancellation comes out of the block as it went in, and the block's work is over."""
    world = World()

    async def host() -> None:
        async with world.refresher:
            await anyio.Event().wait()

    victim = Victim(host)
    await world.clock.settle()
    await cancel(victim)
    assert not victim.came_through
    assert world.tasks(ending=False) == set()
    await world.leaves_nothing()
    assert len(world.seen.of(RefresherClosed)) == 1
    await world.works()


async def test_a_host_whose_sibling_fails_closes_what_it_opened() -> None:
    """L16: a task group says what failed, and nothing of ours beside it."""
    world = World()

    async def fails() -> None:
        await world.clock.settle()
        raise LookupError("mine")

    async def host() -> None:
        async with anyio.create_task_group() as group, world.refresher:
            group.start_soon(fails)
            await anyio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await host()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    await world.leaves_nothing()
    await world.works()


async def test_a_close_in_a_scope_that_is_over_its_time_closes() -> None:
    """L19: anyio's cancelled scopes keep out until it is done."""
    world = World()
    await world.start()
    with anyio.move_on_after(0):
        await world.aclose()
    assert world.tasks() == set()
    assert len(world.seen.of(RefresherClosed)) == 1
    await world.works()


async def test_a_close_in_a_timeout_that_is_over_closes() -> None:
    """L19: asyncio's own cancels the very task, and nothing shields from that; once more works."""
    world = World()
    await world.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await world.aclose()
    await world.leaves_nothing()
    await world.aclose()
    assert len(world.seen.of(RefresherClosed)) == 1
    await world.works()


async def test_two_refreshers_are_closed_in_the_order_of_their_opening_from_other_tasks() -> None:
    """L16: first in, first out, and nobody opens and closes in the same task."""
    first, second = World(), World()
    for operation in (first.start, second.start, first.aclose):
        await asyncio.create_task(operation())
    await second.connect()
    assert second.refresher.status().ready
    await asyncio.create_task(second.aclose())
    await second.leaves_nothing()
    await first.works()
