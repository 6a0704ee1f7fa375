"""The promise for sync engines, with real drivers, TLS and servers, from many threads."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
import trustme
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from rds_iam_async import CredentialsError, RefreshPolicy
from rds_iam_async._clock import SystemClock
from rds_iam_async.sync import ThreadedRefresher, open_engine
from rds_iam_async.telemetry import ColdConnect, TokenMinted, TokenRejected
from rds_iam_async.testing import LocalRds

from .hostile import HOSTILE, HostileServer
from .test_promise import Seen
from .test_secrets import signature_of, traceback_with_locals
from .workload import PACE, RoleSession, Tally, most_forced, outcomes

pytestmark = pytest.mark.timeout(180)  # two Pythons start in some, on a busy machine

SERVER_OF = {"psycopg2": "rds", "psycopg": "rds", "pymysql": "mariadb"}
"""The fixture that each driver connects to."""

REFUSED = "PAM authentication failed|Access denied"


@pytest.fixture(params=SERVER_OF)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(driver: str, request: pytest.FixtureRequest) -> LocalRds:
    """The server of this driver."""
    server: LocalRds = request.getfixturevalue(SERVER_OF[driver])
    return server


@pytest.fixture
def url(server: LocalRds, driver: str) -> str:
    """Its URL, for this driver."""
    scheme, _, rest = server.url.partition("://")
    return f"{scheme.partition('+')[0]}+{driver}://{rest}"


@pytest.fixture
def role(server: LocalRds) -> RoleSession:
    return RoleSession(server)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def engine(url: str) -> Engine:
    """An engine that opens a new connection for each use."""
    return create_engine(url, poolclass=NullPool)


@pytest.fixture
def refresher(
    engine: Engine, server: LocalRds, role: RoleSession, seen: Seen
) -> Iterator[ThreadedRefresher]:
    """Of that engine; lazy until a test starts it."""
    refresher = ThreadedRefresher(
        engine, ca_file=server.ca_file, region=server.region, credentials=role, observe=seen
    )
    yield refresher
    refresher.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """L19: whatever a test did."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    ours = [thread for thread in left if thread.name.startswith("rds_iam_async")]
    for thread in ours:
        thread.join(10)  # it has done its one call, and is about to end
    assert [thread.name for thread in ours if thread.is_alive()] == []


def one_connect(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1


def outcome(engine: Engine) -> BaseException | None:
    try:
        one_connect(engine)
    except Exception as error:
        return error
    return None


def load(engine: Engine, *, seconds: float, workers: int = 3) -> Tally:
    """Open new connections for *seconds*, from several threads."""
    end = time.monotonic() + seconds

    def work() -> Tally:
        tally = Tally()
        while time.monotonic() < end:
            try:
                one_connect(engine)
                tally.connects += 1
            except Exception as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
            time.sleep(PACE)
        return tally

    with ThreadPoolExecutor(workers) as threads:
        tallies = [done.result() for done in [threads.submit(work) for _ in range(workers)]]
    return Tally(
        connects=sum(tally.connects for tally in tallies),
        errors=[error for tally in tallies for error in tally.errors],
    )


class SteppedClock(SystemClock):
    """Goes on when the test says so, for the thread of a refresher, too."""

    def __init__(self) -> None:
        began, self.passed = time.time(), 0.0
        self.wall = lambda: began + self.passed
        self.boot = self.monotonic = lambda: self.passed

    async def sleep(self, seconds: float) -> None:
        await self.wait(anyio.Event(), seconds)

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        end = self.passed + seconds
        while not event.is_set() and self.passed < end:
            with anyio.move_on_after(0.002):
                await event.wait()


def test_tokens_that_live_four_seconds_with_a_matching_policy(
    server: LocalRds, engine: Engine, role: RoleSession, seen: Seen
) -> None:
    """No failure, no refused attempt, nothing in clear text, nobody waits for a mint.

    By a clock of the test's own: how far it goes between two connects is no matter of the
    machine's. Each token arrives 0.3 s after it was read, within its margin of 0.4 s.
    """
    server.token_lifetime = 4
    clock = SteppedClock()
    server.wall = lambda: clock.wall() + 0.3
    refresher = ThreadedRefresher(
        engine,
        ca_file=server.ca_file,
        region=server.region,
        credentials=role,
        policy=RefreshPolicy(lifetime=4),
        observe=seen,
        clock=clock,
    )
    with refresher:
        for _ in range(60):
            one_connect(engine)
            clock.passed += 0.15
            while (refresher.status().endpoints[0].next_mint_at or 0) <= clock.wall():
                time.sleep(0.001)  # until the thread that mints has noticed the time
                clock.passed += 0.005  # it may have read the last step as its beginning
    assert outcomes(server) == {"accepted": 60}
    assert seen.count(TokenMinted) >= 4
    assert seen.count(ColdConnect) == 0


@pytest.mark.slow
def test_a_server_that_kills_tokens_early_with_the_default_policy(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher, seen: Seen
) -> None:
    """No failure; at most one refused attempt for each token and connection in flight."""
    server.token_lifetime = 4
    workers = 3
    with refresher:
        tally = load(engine, seconds=9, workers=workers)
    assert tally.errors == []
    counts = outcomes(server)
    assert counts.pop("accepted") == tally.connects
    assert 0 < counts.pop("denied") <= seen.count(TokenMinted) * workers
    assert counts == {}


def test_fifty_cold_threads_cost_one_mint_and_one_fetch(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher, role: RoleSession, seen: Seen
) -> None:
    """L10, L12: without `start()`, all at once."""
    barrier = threading.Barrier(50)

    def connect() -> None:
        barrier.wait()
        one_connect(engine)

    with ThreadPoolExecutor(50) as threads:
        for connecting in [threads.submit(connect) for _ in range(50)]:
            connecting.result()
    assert (seen.count(TokenMinted), len(role.issued)) == (1, 1)
    assert outcomes(server) == {"accepted": 50}


def test_a_role_session_revoked_while_its_keys_are_in_hand(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher, role: RoleSession, seen: Seen
) -> None:
    """L13: connects go on after one refused attempt."""
    with refresher:
        one_connect(engine)
        for _ in range(2):
            server.distrust(role.issued[-1])
            for _ in range(3):
                one_connect(engine)
    assert outcomes(server) == {"accepted": 7, "denied": 2}
    assert len(role.issued) == 3
    assert seen.count(TokenRejected) == 2


def test_a_token_that_is_refused_for_ever_is_the_servers_own_error_and_no_storm(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher, role: RoleSession
) -> None:
    """L13: forced mints back off, the error is the driver's; and when it is over, it is over."""
    began = time.monotonic()
    with refresher:
        server.refuse(1000)
        with ThreadPoolExecutor(10) as threads:
            errors = list(threads.map(outcome, [engine] * 10))
        errors += [outcome(engine) for _ in range(5)]
        server.refuse(0)
        one_connect(engine)
    for error in errors:
        assert isinstance(error, OperationalError)
        assert isinstance(error.orig, engine.dialect.loaded_dbapi.OperationalError)
        assert any(words in str(error) for words in REFUSED.split("|"))
    assert len(role.issued) <= 1 + most_forced(time.monotonic() - began)


def test_a_success_makes_the_next_refusal_the_first_again(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher
) -> None:
    """L13: noted by the thread that connects, without asking the one that mints."""
    with refresher:
        for _ in range(3):
            server.revoke()
            one_connect(engine)
    assert outcomes(server) == {"accepted": 3, "denied": 3}


def test_when_no_token_can_be_had_it_is_an_operational_error(
    engine: Engine, server: LocalRds
) -> None:
    """L12: as for any database that cannot be reached."""

    class Broken(RoleSession):
        async def snapshot(self):  # type: ignore[no-untyped-def]
            raise CredentialsError("no keys today")

    refresher = ThreadedRefresher(
        engine, ca_file=server.ca_file, region=server.region, credentials=Broken(server)
    )
    with pytest.raises(OperationalError, match="no keys today"):
        one_connect(engine)
    with pytest.raises(CredentialsError, match="no keys today"):
        refresher.start()
    refresher.close()
    assert list(server.log) == []


class Hanging(RoleSession):
    """Never answers."""

    def __init__(self, rds: LocalRds) -> None:
        super().__init__(rds)
        self.asked = threading.Event()

    async def snapshot(self):  # type: ignore[no-untyped-def]
        self.asked.set()
        await asyncio.Event().wait()


def test_closing_ends_a_connect_that_waits_for_keys(engine: Engine, server: LocalRds) -> None:
    """L19: within two seconds, and the engine is as before; closing again does nothing."""
    role = Hanging(server)
    refresher = ThreadedRefresher(
        engine,
        ca_file=server.ca_file,
        region=server.region,
        credentials=role,
        policy=RefreshPolicy(wait=3600),  # nothing but the closing ends it
    )
    with ThreadPoolExecutor(1) as threads:
        took = [math.inf]
        while min(took) >= 2:  # of several, for the machine may pause in one
            assert len(took) < 4, took
            role.asked.clear()
            connecting = threads.submit(outcome, engine)
            assert role.asked.wait(30)
            began = time.monotonic()
            refresher.close()
            refresher.close()
            took.append(time.monotonic() - began)
            told = connecting.result()
            if min(took) >= 2:
                refresher.attach(engine)
    assert isinstance(told, OperationalError)
    assert "closed" in str(told) or "stopped" in str(told)
    assert len(engine.dialect.dispatch.do_connect) == 0


def test_it_starts_again_after_it_was_closed(
    engine: Engine, server: LocalRds, refresher: ThreadedRefresher
) -> None:
    """In a thread of its own, again."""
    for _ in range(3):
        with refresher:
            one_connect(engine)
    assert outcomes(server) == {"accepted": 3}


def test_status_tells_the_truth(
    engine: Engine, refresher: ThreadedRefresher, role: RoleSession
) -> None:
    """L21."""
    assert not refresher.status().ready
    with refresher:
        one_connect(engine)
        [state] = refresher.status().endpoints
        assert state.ready
        assert state.access_key_id == role.issued[0]
        assert (state.mints, state.cold_mints, state.rejections) == (1, 0, 0)
        assert state.next_mint_at is not None
    assert refresher.status().endpoints[0].next_mint_at is None


@pytest.mark.anyio
async def test_in_the_thread_of_an_apps_loop_a_cold_connect_does_not_deadlock(
    engine: Engine, refresher: ThreadedRefresher
) -> None:
    """It blocks that loop, as any sync connect does."""
    one_connect(engine)


def test_listeners_that_come_before_ours_are_heard(
    server: LocalRds, url: str, role: RoleSession
) -> None:
    """Ours opens the connection, so SQLAlchemy calls none after it."""
    engine = create_engine(url, poolclass=NullPool)
    heard: list[str] = []

    @event.listens_for(engine, "do_connect")
    def before(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        heard.append("before")
        cparams["connect_timeout"] = 7

    refresher = ThreadedRefresher(
        engine, ca_file=server.ca_file, region=server.region, credentials=role
    )

    @event.listens_for(engine, "do_connect")
    def after(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        heard.append("after")

    with refresher:
        one_connect(engine)
        refresher.close()
        heard.clear()
        assert outcome(engine) is not None  # closed: there is nobody who puts a password
    assert heard == ["before", "after"]


def test_a_tunnel_verifies_the_name_that_is_signed_and_dials_the_address(
    server: LocalRds, url: str, role: RoleSession
) -> None:
    """libpq has a name beside the address, the others a context that knows the name."""
    tunnel = url.replace(f"@{server.host}:", "@127.0.0.1:")
    assert tunnel != url
    options: dict[str, Any] = {
        "ca_file": server.ca_file,
        "region": server.region,
        "credentials": role,
        "poolclass": NullPool,
    }
    with open_engine(tunnel, token_host=server.host, **options) as engine:
        one_connect(engine)
    server.log.clear()
    with (
        open_engine(tunnel, token_host="other.test", **options) as engine,
        pytest.raises(OperationalError, match=r"global-bundle\.pem"),
    ):
        one_connect(engine)
    assert "accepted" not in outcomes(server)


def test_no_secret_in_the_traceback_of_a_failed_connect(
    server: LocalRds, engine: Engine, refresher: ThreadedRefresher, role: RoleSession
) -> None:
    """L4: nor in those of the driver, which makes a connection string."""
    with refresher:
        token = refresher.token(server.endpoint)
        server.refuse(2)
        with pytest.raises(OperationalError, match=REFUSED) as caught:
            one_connect(engine)
        again = refresher.token(server.endpoint)
    shown = traceback_with_locals(caught.value)
    assert "<secret>" in shown
    for secret in (token.password, again.password):
        assert signature_of(secret) not in shown


HOSTILE_TO = {
    "postgresql+psycopg2": "postgresql",
    "postgresql+psycopg": "postgresql",
    "mysql+pymysql": "mysql",
}


@pytest.mark.anyio
@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("scheme", HOSTILE_TO)
async def test_a_hostile_server_never_sees_the_token(how: str, scheme: str, rds: LocalRds) -> None:
    """L14: not in clear, not over TLS that was not verified."""
    authority = trustme.CA()

    def connect(port: int, ca_file: str) -> BaseException | None:
        with open_engine(
            f"{scheme}://app@localhost:{port}/app",
            ca_file=ca_file,
            region="eu-west-1",
            credentials=RoleSession(rds),
            poolclass=NullPool,
        ) as engine:
            return outcome(engine)

    with authority.cert_pem.tempfile() as ca_file:
        hostile = HostileServer(HOSTILE[how](authority), protocol=HOSTILE_TO[scheme])
        async with hostile.running():
            told = await asyncio.to_thread(connect, hostile.port, ca_file)
    assert isinstance(told, OperationalError)
    assert hostile.connections == 1
    assert b"X-Amz-Signature" not in hostile.received


def test_a_password_for_whoever_opens_connections(rds: LocalRds) -> None:
    """Without SQLAlchemy; the endpoint is refreshed like an attached one."""
    import psycopg

    refresher = ThreadedRefresher(ca_file=rds.ca_file, credentials=RoleSession(rds))
    password = refresher.password(rds.endpoint)
    assert "X-Amz" not in repr(password)
    with refresher:
        assert refresher.status().ready
        with psycopg.connect(
            host=rds.host,
            port=rds.port,
            user=rds.user,
            dbname=rds.database,
            password=password(),
            sslmode="verify-full",
            sslrootcert=rds.ca_file,
        ) as connection:
            assert connection.execute("select current_user").fetchone() == (rds.user,)
        [state] = refresher.status().endpoints
        assert (state.mints, state.cold_mints) == (1, 0)
        assert refresher.tls(rds.endpoint).check_hostname


def test_a_token_and_a_password_without_start(rds: LocalRds) -> None:
    """For scripts: minted on demand, and shared."""
    refresher = ThreadedRefresher(credentials=RoleSession(rds))
    password = refresher.password(rds.endpoint)()
    assert refresher.token(rds.endpoint).password == password
    refresher.close()


def test_no_more_connections_a_second_than_were_asked_for(
    server: LocalRds, url: str, role: RoleSession
) -> None:
    """From all threads together; they wait for their turn in the refresher's own."""
    with open_engine(
        url,
        ca_file=server.ca_file,
        region=server.region,
        credentials=role,
        max_connects_per_second=20,
        poolclass=NullPool,
    ) as engine:
        began = time.monotonic()
        with ThreadPoolExecutor(10) as threads:
            assert list(threads.map(outcome, [engine] * 12)) == [None] * 12
        assert time.monotonic() - began >= (12 - 2) / 20


# In processes of their own

PRELUDE = """
import asyncio, os, sys, threading, time
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from rds_iam_async import Credentials, Endpoint
from rds_iam_async.sync import ThreadedRefresher, open_engine
engine = create_engine(os.environ["URL"], poolclass=NullPool)
HERE = Endpoint(host="db", port=1, user="app", region="eu-west-1")

def connect():
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1

class Keys:  # not the chain: importing the AWS SDK is most of what a short program does
    async def snapshot(self):
        return Credentials(
            access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
            secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        )

class Hanging:
    asked = threading.Event()
    async def snapshot(self):
        self.asked.set()
        await asyncio.Event().wait()
"""


@pytest.fixture
def run(server: LocalRds, url: str) -> Callable[[str], str]:
    """Run a program of its own against the server; return what it printed."""

    # Coverage measures processes of multiprocessing, too, and makes them end with status 1
    # where warnings are errors, for it has one to give.
    unmeasured = {n: value for n, value in os.environ.items() if not n.startswith("COVERAGE_")}

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
            env={**unmeasured, **server.environment, "URL": url},
            capture_output=True,
            text=True,
            timeout=150,
        )
        # One warning is due: that localhost is no RDS name.
        said = [line for line in done.stderr.splitlines() if "token_host=" not in line]
        assert (said, done.returncode) == ([], 0)
        return done.stdout

    return run


ENDS = {
    "closed": "refresher.start(); connect(); refresher.close()",
    "by the ordinary chain": "refresher = ThreadedRefresher(); refresher.token(HERE)",
    "not closed": "refresher.start(); connect()",
    "never started": "connect()",
    "never used": "",
    # Started, because since Python 3.12 no thread can be begun once the main one has ended.
    "in another thread": "refresher.start(); threading.Thread(target=connect).start()",
    "hanging": """
refresher = ThreadedRefresher(credentials=Hanging())
threading.Thread(target=refresher.token, args=(HERE,), daemon=True).start()
Hanging.asked.wait()
""",
    "started in vain": """
hanging = ThreadedRefresher(credentials=Hanging(), region="eu-west-1")
hanging.attach(create_engine(os.environ["URL"]))
try:
    hanging.start(timeout=.1)
except Exception as error:
    assert "no token within" in str(error), error
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_interpreter_exits_at_once_and_says_nothing(end: str, run: Any) -> None:
    """However the refresher was left: the thread is a daemon, and nobody joins it."""
    program = "refresher = ThreadedRefresher(engine, credentials=Keys())\n" + ENDS[end] + "\n"
    program += "import atexit\n"
    program += "atexit.register(lambda: print(round(time.time(), 3), flush=True))\n"
    last = float(run(program))
    # Half a second on an idle machine; who joined a thread that hangs would never end.
    assert time.time() - last < 10


FORKS = {
    "os.fork": """
pid = os.fork()
if pid == 0:
    child()
    os._exit(0)
os.waitpid(pid, 0)
""",
    "multiprocessing": """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
""",
    "a grandchild": """
pid = os.fork()
if pid == 0:
    child()
    if (pid := os.fork()) == 0:
        child()
        os._exit(0)
    os.waitpid(pid, 0)
    os._exit(0)
os.waitpid(pid, 0)
""",
}
QUIET = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
"""Since Python 3.12 there is a warning for each fork of a process with threads."""


@pytest.mark.parametrize("way", FORKS)
def test_a_forked_child_has_a_thread_of_its_own(way: str, run: Any) -> None:
    """L20: of a parent that had started; its first connect brings the refresher back."""
    program = """
    refresher = ThreadedRefresher(engine, credentials=Keys())
    refresher.start()
    connect()
    def child():
        connect()
        after = refresher.status().endpoints[0]
        names = [thread.name for thread in threading.enumerate()]
        print(after.mints > 1, after.next_mint_at is not None, names, flush=True)
    """
    parent = "connect()\nrefresher.close()\nprint('parent')\n"
    printed = run(textwrap.dedent(program) + QUIET + FORKS[way] + parent)
    child = "True True ['MainThread', 'rds_iam_async']\n"
    assert printed == child * (1 + (way == "a grandchild")) + "parent\n"


def test_a_forked_child_of_a_lazy_parent(run: Any) -> None:
    """Of one that only minted on demand: the child does as well."""
    program = """
    refresher = ThreadedRefresher(engine, credentials=Keys())
    connect()
    def child():
        connect()
        print(refresher.status().endpoints[0].next_mint_at, flush=True)
        refresher.close()
        print([thread.name for thread in threading.enumerate()], flush=True)
    """
    printed = run(textwrap.dedent(program) + QUIET + FORKS["os.fork"])
    assert printed == "None\n['MainThread']\n"


def test_a_readiness_probe_alone_gets_a_forked_child_ready(run: Any) -> None:
    """No traffic comes to a worker before it is ready."""
    program = """
    refresher = ThreadedRefresher(engine, credentials=Keys())
    refresher.start()
    def child():
        end = time.monotonic() + 30
        while not refresher.status().ready and time.monotonic() < end:
            time.sleep(.01)
        print(refresher.status().ready, refresher.status().endpoints[0].cold_mints, flush=True)
    """
    assert run(textwrap.dedent(program) + QUIET + FORKS["os.fork"]) == "True 0\n"


def test_a_child_that_closes_what_its_parent_started(run: Any) -> None:
    """Without having connected: no thread is begun for that, and the parent's goes on."""
    program = """
    refresher = ThreadedRefresher(engine, credentials=Keys())
    refresher.start()
    def child():
        refresher.close()
        print([thread.name for thread in threading.enumerate()], flush=True)
        print(refresher.status().ready, flush=True)
        print([thread.name for thread in threading.enumerate()], flush=True)
    """
    parent = "connect()\nprint(refresher.status().endpoints[0].next_mint_at is not None)\n"
    printed = run(textwrap.dedent(program) + QUIET + FORKS["os.fork"] + parent)
    assert printed == "['MainThread']\nFalse\n['MainThread']\nTrue\n"


def test_a_fork_while_another_thread_starts_and_closes(run: Any) -> None:
    """Whatever it held of ours at that moment, the child does not wait for it.

    TLS is kept out of it: OpenSSL has locks of its own, which a fork leaves locked.
    """
    program = """
    import signal
    refresher = ThreadedRefresher(engine, credentials=Keys())
    refresher.start()
    done = threading.Event()
    def churn():
        while not done.is_set():
            refresher.close()
            refresher.start()
    churning = threading.Thread(target=churn, daemon=True)
    churning.start()
    for _ in range(10):
        time.sleep(.02)
        if (pid := os.fork()) == 0:
            signal.alarm(40)  # a deadlock would last for ever
            refresher.close()
            refresher.start()
            os._exit(not refresher.status().ready)
        assert os.waitpid(pid, 0)[1] == 0
    done.set()
    churning.join()
    print("done")
    """
    assert run(QUIET + textwrap.dedent(program)) == "done\n"
