"""By URL alone, with real drivers: code that takes nothing but a URL logs in with IAM tokens."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import contextvars
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Engine, create_engine, engine_from_config, pool, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_engine_from_config,
    create_async_engine,
    create_async_pool_from_url,
)
from sqlalchemy.util import greenlet_spawn

from rds_iam_async.testing import LocalAws, LocalRds

from .workload import load, one_connect, outcomes

pytestmark = pytest.mark.timeout(120)  # two Pythons start in some, on a busy machine

ASYNC = ["asyncpg", "psycopg"]
SYNC = ["psycopg2", "psycopg"]
TASK = THREAD = "rds_iam_async"


def url_of(rds: LocalRds, driver: str = "asyncpg", **arguments: str) -> str:
    """Return all that the code under test is told."""
    told = "".join(f"&rds_iam_{name}={value}" for name, value in arguments.items())
    url = rds.url.replace("asyncpg", driver)
    return f"{url}?plugin=rds_iam&rds_iam_token_host={rds.host}{told}"


@pytest.fixture(autouse=True)
def environment(rds: LocalRds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, region and CA file, where the ordinary chain looks for them."""
    for name, value in rds.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def container(aws: LocalAws) -> Iterator[LocalAws]:
    """Keys of a role session instead, from an agent that counts its calls."""
    with aws.installed("container"):
        yield aws


def tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if TASK in task.get_name()]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == THREAD]


def connect(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1


async def until(what: Callable[[], bool]) -> None:
    """Let the loop turn until *what* is true of it."""
    with anyio.fail_after(30):
        while not what():  # noqa: ASYNC110 - the end of a task elsewhere is no event of ours
            await anyio.sleep(0.001)


class TestItsLife:
    """Begun by the first connection, ended by `dispose()`, and so on."""

    @pytest.mark.parametrize("driver", ASYNC)
    @pytest.mark.parametrize("close", [True, False])
    @pytest.mark.anyio
    async def test_of_an_async_engine(self, rds: LocalRds, driver: str, close: bool) -> None:
        """The task is gone when `dispose()` returns, and there after the next connection."""
        engine = create_async_engine(url_of(rds, driver), poolclass=pool.NullPool)
        assert tasks() == []
        for _ in range(2):
            await one_connect(engine)
            assert tasks() == ["rds_iam_async refresher"]
            await one_connect(engine)
            assert tasks() == ["rds_iam_async refresher"]
            await engine.dispose(close)
            assert tasks() == []
        assert outcomes(rds) == {"accepted": 4}

    @pytest.mark.parametrize("driver", SYNC)
    @pytest.mark.anyio
    async def test_of_a_sync_engine(self, rds: LocalRds, driver: str) -> None:
        """It has a thread instead."""
        engine = create_engine(url_of(rds, driver), poolclass=pool.NullPool)
        for _ in range(2):
            connect(engine)
            assert threads() == [THREAD]
            connect(engine)
            engine.dispose()
            assert threads() == []
        assert outcomes(rds) == {"accepted": 4}

    @pytest.mark.anyio
    async def test_disposed_of_where_nothing_can_be_awaited(self, rds: LocalRds) -> None:
        """`sync_engine.dispose()` outside a greenlet; of a copy with options it is the same."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        for one in (engine.sync_engine, engine.execution_options(x=1).sync_engine):
            await one_connect(engine)
            one.dispose()
            await until(lambda: tasks() == [])
        await one_connect(engine)
        await engine.execution_options(x=1).dispose()
        assert tasks() == []

    @pytest.mark.anyio
    async def test_disposed_of_from_another_thread(self, rds: LocalRds) -> None:
        """By the loop that is there; the task's own loop is told."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        await one_connect(engine)
        await asyncio.to_thread(asyncio.run, engine.dispose())
        await until(lambda: tasks() == [])

    @pytest.mark.anyio
    async def test_an_engine_that_is_forgotten_takes_its_task_along(self, rds: LocalRds) -> None:
        """Neither the task nor SQLAlchemy's registry of events keeps it alive."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        await one_connect(engine)
        there = weakref.ref(engine.sync_engine), weakref.ref(engine.sync_engine.dialect)
        del engine
        gc.collect()
        assert [ref() for ref in there] == [None, None]
        await until(lambda: tasks() == [])

    @pytest.mark.anyio
    async def test_a_sync_engine_that_is_forgotten_takes_its_thread_along(
        self, rds: LocalRds
    ) -> None:
        """As the task of an async one."""
        engine = create_engine(url_of(rds, "psycopg2"), poolclass=pool.NullPool)
        connect(engine)
        there = weakref.ref(engine), weakref.ref(engine.dialect)
        del engine
        gc.collect()
        assert [ref() for ref in there] == [None, None]
        await until(lambda: threads() == [])

    @pytest.mark.anyio
    async def test_connections_under_way_survive_dispose(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """They wait for keys; that somebody empties the pool meanwhile must not fail them."""
        container.delay = 0.3
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        waiting = [asyncio.ensure_future(one_connect(engine)) for _ in range(3)]
        await until(lambda: len(container.calls) == 1)  # which it is slow to answer
        await engine.dispose()
        await asyncio.gather(*waiting)
        await engine.dispose()
        assert tasks() == []

    @pytest.mark.anyio
    async def test_connections_of_a_sync_engine_under_way_survive_dispose(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """The thread stays for as long as they wait, and ends with the next dispose."""
        container.delay = 0.3
        engine = create_engine(url_of(rds, "psycopg2"), poolclass=pool.NullPool)
        waiting = asyncio.ensure_future(asyncio.to_thread(connect, engine))
        await until(lambda: len(container.calls) == 1)  # which it is slow to answer
        await asyncio.to_thread(engine.dispose)
        await waiting
        engine.dispose()
        assert threads() == []

    @pytest.mark.anyio
    async def test_what_no_connection_waits_for_ends_with_dispose(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """A look at credentials that a cancelled connection left behind."""
        container.delay = 3
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        connecting = asyncio.ensure_future(one_connect(engine))
        await until(lambda: len(container.calls) == 1)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert tasks() == ["rds_iam_async: resolving AWS credentials"]
        await engine.dispose()
        assert tasks() == []


class TestItsWork:
    """What holds for a `TokenRefresher` holds for an engine that has none at hand."""

    @pytest.mark.slow
    @pytest.mark.parametrize("driver", ASYNC)
    @pytest.mark.anyio
    async def test_tokens_rotate_ahead_of_need(self, rds: LocalRds, driver: str) -> None:
        """No failure, no refused attempt, though the first tokens die meanwhile.

        They are used for 2 s, so that a machine that pauses for as long does not bring one late.
        """
        rds.token_lifetime = 4
        engine = create_async_engine(url_of(rds, driver, lifetime="2"), poolclass=pool.NullPool)
        tally = await load(engine, seconds=6)
        await engine.dispose()
        assert tally.errors == []
        assert outcomes(rds) == {"accepted": tally.connects}

    @pytest.mark.parametrize("driver", ASYNC)
    @pytest.mark.anyio
    async def test_tokens_revoked_at_the_server(self, rds: LocalRds, driver: str) -> None:
        """One refused attempt, felt by nobody."""
        engine = create_async_engine(url_of(rds, driver), poolclass=pool.NullPool)
        await one_connect(engine)
        rds.revoke()
        await one_connect(engine)
        await engine.dispose()
        assert outcomes(rds) == {"accepted": 2, "denied": 1}

    @pytest.mark.parametrize("driver", SYNC)
    @pytest.mark.anyio
    async def test_tokens_revoked_at_the_server_of_a_sync_engine(
        self, rds: LocalRds, driver: str
    ) -> None:
        """The same."""
        engine = create_engine(url_of(rds, driver), poolclass=pool.NullPool)
        connect(engine)
        rds.revoke()
        connect(engine)
        engine.dispose()
        assert outcomes(rds) == {"accepted": 2, "denied": 1}

    @pytest.mark.anyio
    async def test_a_role_session_revoked_while_its_keys_are_in_hand(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """L13: the chain is asked afresh."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        await one_connect(engine)
        container.revoke()
        await one_connect(engine)
        await engine.dispose()
        assert outcomes(rds) == {"accepted": 2, "denied": 1}

    @pytest.mark.anyio
    async def test_cold_connects_at_once_cost_one_fetch_and_one_task(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """L10: and the task that begins meanwhile does not fetch or mint again."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        await asyncio.gather(*(one_connect(engine) for _ in range(20)))
        assert tasks() == ["rds_iam_async refresher"]
        await engine.dispose()
        await one_connect(engine)
        await engine.dispose()
        assert len(container.calls) == 1
        assert outcomes(rds) == {"accepted": 21}

    @pytest.mark.anyio
    async def test_aws_that_is_down_at_the_first_connection(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """L12: SQLAlchemy's own error, nothing left running, and the next connection works."""
        container.failure = "403"
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        with pytest.raises(OperationalError, match="no IAM token"):
            await one_connect(engine)
        assert tasks() == []
        container.failure = None
        await one_connect(engine)
        assert tasks() == ["rds_iam_async refresher"]
        await engine.dispose()

    @pytest.mark.anyio
    async def test_a_profile(
        self, rds: LocalRds, aws: LocalAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It wins over keys in the environment, which are not trusted here."""
        monkeypatch.setenv("AWS_CONFIG_FILE", str(aws.config_file))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws.credentials_file))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY")
        engine = create_async_engine(url_of(rds, profile="static"), poolclass=pool.NullPool)
        await one_connect(engine)
        await engine.dispose()
        (login,) = rds.log
        assert login.outcome == "accepted"

    @pytest.mark.anyio
    async def test_another_name_and_another_ca_file_than_the_environment_says(
        self, rds: LocalRds, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tunnel to 127.0.0.1: signed and verified is the name that the URL gives."""
        monkeypatch.delenv("RDS_IAM_CA_FILE")
        monkeypatch.delenv("AWS_REGION", raising=False)
        monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
        url = url_of(rds, ca_file=rds.ca_file, region=rds.region, token_port=str(rds.port))
        engine = create_async_engine(url.replace("@localhost:", "@127.0.0.1:"))
        assert engine.url.host == "127.0.0.1"
        await one_connect(engine)
        await engine.dispose()
        assert outcomes(rds) == {"accepted": 1}


class TestWhoConnectsFirst:
    """The task is nobody's child: a request only happens to be the first."""

    @pytest.mark.anyio
    async def test_its_context_variables_stay_with_it(
        self, rds: LocalRds, caplog: pytest.LogCaptureFixture
    ) -> None:
        """L16: what mints does not see them, however long after the request."""
        request = contextvars.ContextVar("request", default="none")
        seen: set[tuple[str, str]] = set()
        both = asyncio.Event()

        class Witness(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                with contextlib.suppress(RuntimeError):  # no loop: not ours
                    task = asyncio.current_task()
                    seen.add((task.get_name() if task else "", request.get()))
                    if "rds_iam_async refresher" in {name for name, _ in seen}:
                        both.set()

        logger = logging.getLogger("rds_iam_async")
        witness = Witness()
        logger.addHandler(witness)
        caplog.set_level(logging.DEBUG, "rds_iam_async")
        engine = create_async_engine(url_of(rds, lifetime="2"), poolclass=pool.NullPool)
        request.set("first")
        try:
            await one_connect(engine)
            with anyio.fail_after(30):
                await both.wait()
        finally:
            await engine.dispose()
            logger.removeHandler(witness)
        ours = {value for name, value in seen if name.startswith("rds_iam_async")}
        assert ours == {"none"}

    @pytest.mark.anyio
    async def test_its_cancellation_ends_with_it(self, rds: LocalRds) -> None:
        """A scope that is cancelled, a task that is, after it connected."""
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        with anyio.CancelScope() as scope:
            await one_connect(engine)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        for _ in range(5):
            await asyncio.sleep(0)
        assert tasks() == ["rds_iam_async refresher"]
        await engine.dispose()

    @pytest.mark.anyio
    async def test_a_first_connection_that_is_given_up_leaves_the_keys_to_the_next(
        self, rds: LocalRds, container: LocalAws
    ) -> None:
        """One fetch, though the one that asked for it is gone."""
        container.delay = 0.3
        engine = create_async_engine(url_of(rds), poolclass=pool.NullPool)
        with anyio.CancelScope() as scope:
            container_asked = asyncio.ensure_future(until(lambda: len(container.calls) == 1))
            container_asked.add_done_callback(lambda _: scope.cancel())
            await one_connect(engine)
        assert scope.cancelled_caught
        await one_connect(engine)
        assert tasks() == ["rds_iam_async refresher"]
        await engine.dispose()
        assert len(container.calls) == 1


class TestThirdPartyCode:
    """Code that takes a URL, and nothing else."""

    @pytest.mark.parametrize("driver", ASYNC)
    @pytest.mark.anyio
    async def test_migrations(self, rds: LocalRds, driver: str) -> None:
        """As Alembic's own template for async engines does it, from an ini file."""
        ca_file = rds.ca_file.replace("/", "%2F")
        url = url_of(rds, driver, ca_file=ca_file).replace("%", "%%")  # ini files want it
        config = configparser.ConfigParser()
        config.read_string(f"[alembic]\nsqlalchemy.url = {url}\n")
        section = dict(config["alembic"])
        connectable = async_engine_from_config(
            section, prefix="sqlalchemy.", poolclass=pool.NullPool
        )
        async with connectable.connect() as connection:
            assert await connection.run_sync(lambda c: c.scalar(text("select 1"))) == 1
        await connectable.dispose()
        assert tasks() == []

    @pytest.mark.parametrize("driver", SYNC)
    @pytest.mark.anyio
    async def test_migrations_with_a_sync_engine(self, rds: LocalRds, driver: str) -> None:
        """As its other template does, which disposes of nothing."""
        section = {"sqlalchemy.url": url_of(rds, driver)}
        connectable = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
        with connectable.connect() as connection, connection.begin():
            assert connection.scalar(text("select current_user")) == rds.user
        del connection, connectable
        gc.collect()
        await until(lambda: threads() == [])

    @pytest.mark.parametrize(
        "options",
        [
            {"poolclass": pool.StaticPool},
            {"pool_size": 1, "max_overflow": 2, "pool_pre_ping": True},
            {"pool_recycle": 0, "execution_options": {"isolation_level": "AUTOCOMMIT"}},
        ],
        ids=["static", "pre_ping", "recycle"],
    )
    @pytest.mark.anyio
    async def test_engines_of_every_kind(self, rds: LocalRds, options: dict[str, object]) -> None:
        """Each physical connection gets the token of its time."""
        engine: AsyncEngine = create_async_engine(url_of(rds), **options)  # type: ignore[arg-type]
        await one_connect(engine)
        async with engine.connect() as connection:
            await connection.invalidate()
        rds.revoke()
        await one_connect(engine.execution_options(logging_token="x"))
        await engine.dispose()
        assert outcomes(rds)["accepted"] >= 2
        assert tasks() == []

    @pytest.mark.anyio
    async def test_a_pool_from_a_url(self, rds: LocalRds) -> None:
        """SQLAlchemy drops the engine and returns its pool; both end when that is forgotten."""
        connections = create_async_pool_from_url(url_of(rds), poolclass=pool.NullPool)
        gc.collect()

        def ask(connections: pool.Pool) -> object:
            connection = connections.connect()
            cursor = connection.cursor()
            cursor.execute("select current_user")
            row = cursor.fetchone()
            connection.close()
            return row

        for _ in range(2):
            assert tuple(await greenlet_spawn(ask, connections)) == (rds.user,)  # type: ignore[arg-type]
        assert tasks() == ["rds_iam_async refresher"]
        del connections
        gc.collect()
        await until(lambda: tasks() == [])


PRELUDE = """
import asyncio, gc, os, sys, threading
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
URL = os.environ["URL"]

async def connect(engine):
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1

def tasks():
    return [t.get_name() for t in asyncio.all_tasks() if "rds_iam_async" in t.get_name()]
"""


def run(rds: LocalRds, program: str) -> str:
    """Run a program of its own that knows a URL; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        env={**os.environ, "URL": url_of(rds)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


class TestLoops:
    """Module-level engines see loops come and go, and nobody closes anything."""

    def test_two_in_turn(self, rds: LocalRds) -> None:
        """L20: the second has a task of its own, though the token is there already."""
        program = """
        engine = create_async_engine(URL, poolclass=NullPool)
        async def main():
            await connect(engine)
            print(tasks())
        asyncio.run(main())
        asyncio.run(main())
        """
        assert run(rds, program) == "['rds_iam_async refresher']\n" * 2

    @pytest.mark.parametrize("afterwards", ["", "engine.sync_engine.dispose()", "del engine"])
    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_closed_with_the_task_in_it(self, rds: LocalRds, loop: str, afterwards: str) -> None:
        """Nothing is said of it on stderr, then or at exit."""
        program = f"""
        import {loop}
        loop = {loop}.new_event_loop()
        engine = create_async_engine(URL, poolclass=NullPool)
        loop.run_until_complete(connect(engine))
        loop.close()
        {afterwards}
        del loop
        for _ in range(3):
            gc.collect()
        print("done")
        """
        assert run(rds, program) == "done\n"

    def test_disposed_of_between_its_loops_last_turn_and_its_end(self, rds: LocalRds) -> None:
        """Where nothing can be awaited any more, and nothing is cancelled either."""
        program = """
        loop = asyncio.new_event_loop()
        engine = create_async_engine(URL, poolclass=NullPool)
        loop.run_until_complete(connect(engine))
        engine.sync_engine.dispose()
        loop.close()
        del loop, engine
        for _ in range(3):
            gc.collect()
        print("done")
        """
        assert run(rds, program) == "done\n"

    def test_a_sync_engine_that_nobody_disposes_of(self, rds: LocalRds) -> None:
        """Its thread does not keep the interpreter."""
        program = """
        engine = create_engine(URL.replace("asyncpg", "psycopg2"), poolclass=NullPool)
        with engine.connect() as connection:
            print(connection.scalar(text("select current_user")))
        """
        assert run(rds, program) == f"{rds.user}\n"

    def test_a_forked_child(self, rds: LocalRds) -> None:
        """L20: after `dispose(close=False)`, as SQLAlchemy wants it; both go on."""
        program = """
        engine = create_async_engine(URL, poolclass=NullPool)
        async def main():
            await engine.dispose(close=False)
            await connect(engine)
            print(tasks())
            await engine.dispose()
        asyncio.run(connect(engine))
        pid = os.fork()
        if pid == 0:
            asyncio.run(main())
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """
        assert run(rds, program) == "['rds_iam_async refresher']\n"
