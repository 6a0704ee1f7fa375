"""L16 to L20 in real processes: ownership, forks, loops in turn, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import CredentialsError, TokenRefresher, open_engine
from rds_iam_async.testing import LocalRds

from .workload import RoleSession, one_connect

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]  # programs of their own


async def test_a_credential_call_that_hangs_is_left_with_the_block(rds: LocalRds) -> None:
    """L19: closing ends it, within its bound."""

    asked = asyncio.Event()

    class Hanging(RoleSession):
        async def snapshot(self):  # type: ignore[no-untyped-def]
            asked.set()
            await asyncio.Event().wait()

    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine, ca_file=rds.ca_file, region=rds.region, credentials=Hanging(rds)
    )
    connecting = asyncio.ensure_future(one_connect(engine))
    await asked.wait()
    with anyio.fail_after(20):  # left alone it would never end
        await refresher.aclose()
    with pytest.raises(Exception, match="was stopped"):
        await connecting
    assert {t.get_name() for t in asyncio.all_tasks() if "rds_iam" in t.get_name()} == set()
    await engine.dispose()


async def test_errors_of_the_body_come_out_bare(rds: LocalRds) -> None:
    """L16: no ExceptionGroup around what the caller raised."""
    with pytest.raises(LookupError, match="mine"):
        async with open_engine(
            rds.url, ca_file=rds.ca_file, region=rds.region, credentials=RoleSession(rds)
        ):
            raise LookupError("mine")


async def test_a_first_mint_that_fails_leaves_nothing(rds: LocalRds) -> None:
    """L17: `open_engine` raises the real error and the engine is gone."""

    class Broken(RoleSession):
        async def snapshot(self):  # type: ignore[no-untyped-def]
            raise CredentialsError("no keys today")

    with pytest.raises(CredentialsError, match="no keys today"):
        async with open_engine(
            rds.url, ca_file=rds.ca_file, region=rds.region, credentials=Broken(rds)
        ):
            raise AssertionError("entered")
    assert {t.get_name() for t in asyncio.all_tasks() if "rds_iam" in t.get_name()} == set()


async def test_two_refreshers_closed_in_the_order_of_their_opening(rds: LocalRds) -> None:
    """L16: first in, first out: cancel scopes held open would not bear it."""
    engines = [create_async_engine(rds.url, poolclass=NullPool) for _ in range(2)]
    first, second = (
        TokenRefresher(e, ca_file=rds.ca_file, region=rds.region, credentials=RoleSession(rds))
        for e in engines
    )
    await first.start()
    await second.start()
    await first.aclose()
    await one_connect(engines[1])
    await second.aclose()
    await asyncio.sleep(0)


async def test_a_start_in_a_scope_that_times_out(rds: LocalRds) -> None:
    """L16: the scope takes what it interrupted with it, and no more."""

    class Slow(RoleSession):
        async def snapshot(self):  # type: ignore[no-untyped-def]
            await answered.wait()
            return await super().snapshot()

    answered = asyncio.Event()
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine, ca_file=rds.ca_file, region=rds.region, credentials=Slow(rds)
    )
    with anyio.move_on_after(0.05) as scope:
        await refresher.start()
    assert scope.cancelled_caught
    assert {t.get_name() for t in asyncio.all_tasks() if "rds_iam" in t.get_name()} == set()
    answered.set()
    await refresher.start()
    await one_connect(engine)
    await refresher.aclose()


async def test_cancelled_connects_give_their_places_back(rds: LocalRds) -> None:
    """A connect cancelled while it waits for a token leaks no pool slot, and hurts no other."""

    class Gated(RoleSession):
        gate = asyncio.Event()

        async def snapshot(self):  # type: ignore[no-untyped-def]
            await self.gate.wait()
            return await super().snapshot()

    engine = create_async_engine(rds.url, pool_size=2, max_overflow=0, pool_timeout=2)
    role = Gated(rds)
    refresher = TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, credentials=role)
    for _ in range(5):
        with anyio.move_on_after(0.01):
            await one_connect(engine)
    waiting = [asyncio.ensure_future(one_connect(engine)) for _ in range(2)]
    await anyio.wait_all_tasks_blocked()
    role.gate.set()
    await asyncio.gather(*waiting)
    assert len(role.issued) == 1
    await engine.dispose()
    await refresher.aclose()


PRELUDE = """
import asyncio, os, sys, time
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from rds_iam_async import RefreshPolicy, TokenRefresher, open_engine
URL = os.environ["URL"]

async def connect(engine):
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1
"""


def run(rds: LocalRds, program: str) -> str:
    """Run a program of its own against the local RDS; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        env={**os.environ, **rds.environment, "URL": rds.url},
        capture_output=True,
        text=True,
        timeout=50,
    )
    # One warning is due: that localhost is no RDS name.
    assert [line for line in done.stderr.splitlines() if "token_host=" not in line] == []
    assert done.returncode == 0
    return done.stdout


def test_nothing_is_left_behind(rds: LocalRds) -> None:
    """L19: no task, thread, descriptor or listener, however often it is opened and closed."""
    program = """
    import gc, threading
    async def main():
        counts = []
        for _ in range(5):
            async with open_engine(URL) as engine:
                await connect(engine)
            assert len(engine.sync_engine.dialect.dispatch.do_connect) == 0
            gc.collect()
            names = {thread.name for thread in threading.enumerate()}
            # The loop's own are for name resolution: one, or two if the first was not back yet.
            names = {name for name in names if not name.startswith(("MainThread", "asyncio_"))}
            counts.append((len(asyncio.all_tasks()), names, len(os.listdir("/proc/self/fd"))))
        assert counts == counts[:1] * 5, counts
        print(counts[0][:2])
    asyncio.run(main())
    """
    assert run(rds, program) == "(1, set())\n"


def test_a_program_that_forgets_to_close_ends_all_the_same(rds: LocalRds) -> None:
    """No thread hangs the interpreter's exit, nothing is printed on the way out."""
    program = """
    async def main():
        engine = create_async_engine(URL, poolclass=NullPool)
        await TokenRefresher(engine).start()
        await connect(engine)
        print("done")
    asyncio.run(main())
    """
    assert run(rds, program) == "done\n"


def test_asyncio_run_twice_with_a_module_level_engine(rds: LocalRds) -> None:
    """L20: the first loop took the task with it; the second has its own."""
    program = """
    engine = create_async_engine(URL, poolclass=NullPool)
    refresher = TokenRefresher(engine)
    async def main():
        await refresher.start()
        await connect(engine)
        print(refresher.status().endpoints[0].next_mint_at is not None)
    asyncio.run(main())
    asyncio.run(main())
    """
    assert run(rds, program) == "True\nTrue\n"


def test_two_loops_at_once(rds: LocalRds) -> None:
    """L20: the slot is safe to read from any thread and any loop."""
    program = """
    import threading
    engine = create_async_engine(URL, poolclass=NullPool)
    refresher = TokenRefresher(engine)
    async def many():
        for _ in range(10):
            await asyncio.gather(*(connect(engine) for _ in range(2)))
    async def main():
        await refresher.start()
        await connect(engine)  # SQLAlchemy's own first connect is not made for two loops
        other = threading.Thread(target=asyncio.run, args=(many(),))
        other.start()
        await many()
        while other.is_alive():
            await asyncio.sleep(0.01)
        await refresher.aclose()
        print(refresher.status().endpoints[0].cold_mints)
    asyncio.run(main())
    """
    assert run(rds, program) == "0\n"


def test_a_forked_child_starts_its_own_task(rds: LocalRds) -> None:
    """L20: gunicorn preload: the parent's task is not there, whatever the object says."""
    program = """
    engine = create_async_engine(URL, poolclass=NullPool)
    refresher = TokenRefresher(engine)
    async def main():
        await refresher.start()
        await connect(engine)
    asyncio.run(main())
    async def child():
        first = refresher.status().endpoints[0]
        await connect(engine)
        after = refresher.status().endpoints[0]
        names = [task.get_name() for task in asyncio.all_tasks()]
        print(first.next_mint_at is not None, after.ready, "rds_iam_async refresher" in names)
        print(first.ready, after.cold_mints)  # it looked before trusting what it inherited
        await refresher.aclose()
    pid = os.fork()
    if pid == 0:
        asyncio.run(child())
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    async def parent():
        await connect(engine)
        print("parent")
    asyncio.run(parent())
    """
    assert run(rds, program) == "True True True\nFalse 1\nparent\n"


def test_uvloop(rds: LocalRds) -> None:
    """Web apps run on it."""
    program = """
    import uvloop
    async def main():
        async with open_engine(URL, poolclass=NullPool) as engine:
            await connect(engine)
            print(type(asyncio.get_running_loop()).__module__)
    uvloop.run(main())
    """
    assert run(rds, program) == "uvloop\n"
