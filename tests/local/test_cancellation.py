"""L10, L12, L13, L16, L19 with a real driver: cancelled at each await that really waits.

An operation runs once to its end, to count how often its task is suspended; then once more
for each of these, and is cancelled there. So no await of ours, of SQLAlchemy or of asyncpg
on the way is left out, however long it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any

import anyio
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher, open_engine
from rds_iam_async.testing import LocalRds

from .conftest import Client
from .workload import RoleSession, one_connect

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]  # a busy machine takes its time

Operation = Callable[[], Coroutine[Any, Any, Any]]


async def nothing_is_left() -> None:
    """Wait for what is ending; there is nothing else, no task and no thread."""
    own = [task for task in asyncio.all_tasks() if "rds_iam" in task.get_name()]
    if own:
        _, endless = await asyncio.wait(own, timeout=5)
        assert endless == set()
    for thread in threading.enumerate():
        if "rds_iam" in thread.name:
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


class Stepped:
    """A coroutine in a task of its own, and what to do at some of its suspensions."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *cancels: Cancel, at: int) -> None:
        self.suspensions = 0
        self.scope = anyio.CancelScope()
        self._due = dict(enumerate(cancels, at))
        self.task = asyncio.ensure_future(self._run(coroutine))

    async def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self.scope:
            return await self._steps(coroutine)

    @types.coroutine
    def _steps(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = partial(coroutine.send, None)
        while True:
            try:
                awaited = resume()
            except StopIteration as done:
                return done.value
            self.suspensions += 1
            if (cancel := self._due.get(self.suspensions)) is not None:
                cancel(self)
            try:
                resume = partial(coroutine.send, (yield awaited))
            except BaseException as error:
                resume = partial(coroutine.throw, error)

    def by_task(self) -> None:
        self.task.cancel()

    def by_scope(self) -> None:
        self.scope.cancel()

    @property
    def came_through(self) -> bool:
        """Whether it was done before the cancellation reached it."""
        return not (self.task.cancelled() or self.scope.cancelled_caught)

    async def end(self) -> None:
        """Wait for its end, which must be cancellation or success."""
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()


Cancel = Callable[[Stepped], None]
WAYS = {
    "by task": (Stepped.by_task,),
    "by task twice": (Stepped.by_task, Stepped.by_task),
    "by scope": (Stepped.by_scope,),
}
every_way = pytest.mark.parametrize("cancels", WAYS.values(), ids=WAYS)


async def suspensions_of(operation: Operation) -> int:
    stepped = Stepped(operation(), at=0)
    await stepped.end()
    return stepped.suspensions


@pytest.fixture(autouse=True)
async def asyncpg_said() -> AsyncIterator[list[str]]:
    """Leave asyncpg's own complaint of a login that was given up to asyncpg.

    It makes it with a static password, too, and whoever gave up cannot hear it.
    """
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    said: list[str] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if str(error) == "unexpected connection_lost() call":
            said.append(str(error))
        elif handler is not None:
            handler(loop, context)

    loop.set_exception_handler(handle)
    yield said
    loop.set_exception_handler(handler)


class App:
    """An application with one place in its pool."""

    def __init__(self, rds: LocalRds, tls: ssl.SSLContext) -> None:
        role = RoleSession(rds)
        self.engine = create_async_engine(rds.url, pool_size=1, max_overflow=0, pool_timeout=2)
        self.refresher = TokenRefresher(self.engine, region=rds.region, credentials=role, tls=tls)

    async def connect(self) -> None:
        await one_connect(self.engine)


@contextlib.asynccontextmanager
async def app_on(rds: LocalRds, tls: ssl.SSLContext) -> AsyncIterator[App]:
    app = App(rds, tls)
    try:
        yield app
    finally:
        await app.refresher.aclose()
        await app.engine.dispose()
    await nothing_is_left()


@pytest.fixture(autouse=True)
def ca_file(rds: LocalRds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDS_IAM_CA_FILE", rds.ca_file)


@every_way
@pytest.mark.parametrize("refusals", [0, 1], ids=["cold", "refused"])
async def test_a_connect_that_is_cancelled_leaves_its_place_in_the_pool(
    rds: LocalRds, client: Client, refusals: int, cancels: tuple[Cancel, ...]
) -> None:
    """L12, L13: whatever it waited for: a token, the server, another token."""
    async with app_on(rds, client.tls) as app:
        rds.refuse(refusals)
        count = await suspensions_of(app.connect)
    assert count > 10
    for at in range(1, count + 1):
        async with app_on(rds, client.tls) as app:
            rds.refuse(refusals)
            stepped = Stepped(app.connect(), *cancels, at=at)
            await stepped.end()
            assert app.engine.pool.checkedout() == 0
            rds.refuse(0)
            await app.connect()
            assert app.engine.pool.checkedout() == 0


@every_way
async def test_a_start_that_is_cancelled_leaves_no_task_and_no_thread(
    rds: LocalRds, cancels: tuple[Cancel, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L16, L17: with the ordinary AWS chain, which is looked at in a thread with its own loop."""
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)

    engine = create_async_engine(rds.url, poolclass=NullPool)
    first = TokenRefresher(engine)
    count = await suspensions_of(first.start)
    await first.aclose()
    first.detach(engine)
    assert count > 0  # one for the roots; one more if the keys, looked for meanwhile, take longer
    for at in range(1, count + 1):
        refresher = TokenRefresher(engine)
        stepped = Stepped(refresher.start(), *cancels, at=at)
        await stepped.end()
        if not stepped.came_through:
            await nothing_is_left()
            await refresher.start()
        await one_connect(engine)
        await refresher.aclose()
        await nothing_is_left()
        refresher.detach(engine)


@every_way
async def test_leaving_the_block_closes_the_refresher_wherever_it_is_cancelled(
    rds: LocalRds, cancels: tuple[Cancel, ...]
) -> None:
    """L16, L19: `open_engine` says goodbye to each pooled connection, then to the refresher."""

    async def block(engines: list[AsyncEngine]) -> None:
        async with open_engine(rds.url, region=rds.region, credentials=RoleSession(rds)) as engine:
            engines.append(engine)
            await asyncio.gather(one_connect(engine), one_connect(engine))

    count = await suspensions_of(lambda: block([]))
    assert count > 2
    for at in range(1, count + 1):
        engines: list[AsyncEngine] = []
        stepped = Stepped(block(engines), *cancels, at=at)
        await stepped.end()
        await nothing_is_left()
        for engine in engines:
            assert engine.pool.checkedin() == 0


@pytest.mark.parametrize("after", [0.0, 0.002, 0.01, 0.03])
async def test_connects_that_time_out_leave_the_others_theirs(rds: LocalRds, after: float) -> None:
    """L10: ten of twenty have no patience; the rest are served, with one token."""
    role = RoleSession(rds)
    # A pool for all: SQLAlchemy's wakes nobody who waits for a place whose connect has failed.
    engine = create_async_engine(rds.url, pool_size=20, max_overflow=0)
    refresher = TokenRefresher(engine, region=rds.region, credentials=role)

    async def impatient() -> None:
        with anyio.move_on_after(after):
            await one_connect(engine)

    async def impatient_by_asyncio() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after):
                await one_connect(engine)

    await asyncio.gather(
        *(impatient() for _ in range(5)),
        *(one_connect(engine) for _ in range(5)),
        *(impatient_by_asyncio() for _ in range(5)),
        *(one_connect(engine) for _ in range(5)),
    )
    assert engine.pool.checkedout() == 0
    assert len(role.issued) == 1
    assert refresher.status().endpoints[0].mints == 1
    await refresher.aclose()
    await engine.dispose()
    await nothing_is_left()
