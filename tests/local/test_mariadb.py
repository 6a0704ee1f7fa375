"""Real drivers log in to a real MariaDB, through the gate and never past it."""

import asyncio
import contextlib
import fcntl
import math
import os
import pwd
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiomysql
import asyncmy
import pymysql
import pytest
from asyncmy.errors import OperationalError, ProgrammingError
from pymysql.constants import COMMAND
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import ConfigurationError, Credentials, RdsIamError
from rds_iam_async.testing import LocalRds
from rds_iam_async.testing import _mysql_wire as wire
from rds_iam_async.testing._mariadb_binaries import MARIADB_BIN, find_mariadb

from .conftest import Client
from .test_gate import BAD_TOKENS
from .test_local_rds import is_gone, is_running, owner, python_for, shown, wait_until

pytestmark = pytest.mark.anyio

DENIED = "Access denied for user '{}'@'localhost' (using password: YES)"
CAPABILITIES = wire.PROTOCOL_41 | wire.SECURE_CONNECTION | wire.PLUGIN_AUTH


class Caller(Client):
    """Somebody with AWS keys who wants to connect to MariaDB, by means of asyncmy."""

    def how(self, **changes: Any) -> dict[str, Any]:
        """Return what a driver needs to connect, with TLS and a token of now."""
        how: dict[str, Any] = {
            "host": self.rds.host,
            "port": self.rds.port,
            "user": self.rds.user,
            "database": self.rds.database,
            "ssl": self.tls,
            **changes,
        }
        if "password" not in how:
            how["password"] = self.token(user=how["user"])
        return how

    async def connect(self, **changes: Any) -> Any:
        return await asyncmy.connect(**self.how(**changes))

    async def ask(self, sql: str, **changes: Any) -> Any:
        connection = await self.connect(**changes)
        try:
            return await answer(connection, sql)
        finally:
            await connection.ensure_closed()

    def outcomes(self, user: str | None = None) -> list[str]:
        return [login.outcome for login in self.logins(user)]


@pytest.fixture
def caller(mariadb: LocalRds) -> Caller:
    return Caller(mariadb)


@pytest.fixture
async def watcher(caller: Caller) -> AsyncIterator[Any]:
    """A session that may look at all the others."""
    caller.rds.execute("GRANT PROCESS ON *.* TO app")
    connection = await caller.connect()
    caller.rds.log.clear()
    yield connection
    await connection.ensure_closed()


async def answer(connection: Any, sql: str, *arguments: Any) -> Any:
    """Return the first value of the first row."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, arguments or None)
        row = await cursor.fetchone()
    return row and row[0]


async def until_state(watcher: Any, thread: int, state: str) -> None:
    """Wait until the server says that a thread of it is in *state*."""
    sql = f"select state from information_schema.processlist where id = {thread}"
    while await answer(watcher, sql) != state:
        pass


async def refusal(caller: Caller, **changes: Any) -> tuple[int, str]:
    """Return what somebody hears who is not let in."""
    with pytest.raises(OperationalError) as refused:
        await caller.connect(**changes)
    return refused.value.args


# Who is let in.


async def test_a_token_lets_its_user_in(caller: Caller) -> None:
    """As the user whom it names, over TLS, and the log says by which key."""
    assert await caller.ask("select current_user()") == "app@%"
    (login,) = caller.logins()
    assert (login.outcome, login.reason) == ("accepted", "the token is good")
    assert login.access_key_id == caller.rds.credentials.access_key_id


async def test_a_token_of_temporary_keys_is_long_and_good(caller: Caller) -> None:
    """Some have 3 000 bytes: more than one byte can count."""
    role = Credentials(
        access_key_id="ASIAMARIADB",
        secret_access_key="secret",
        session_token="IQoJb3JpZ2luX2VjE+/=" * 100,
        expires_at=time.time() + 600,
    )
    caller.rds.trust(role)
    token = caller.token(key=role)
    assert len(token) > 2500
    assert await caller.ask("select 1", password=token) == 1
    caller.rds.distrust(role.access_key_id)
    assert await refusal(caller, password=token) == (1045, DENIED.format("app"))


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_without_a_hint(caller: Caller, kind: str) -> None:
    """The client hears what RDS says, always the same; the reason is in the log only."""
    make, reason = BAD_TOKENS[kind]
    password = make(caller)
    assert await refusal(caller, password=password) == (1045, DENIED.format("app"))
    (login,) = caller.logins()
    assert login.outcome == "denied"
    assert reason in login.reason
    assert not password or password not in repr(login)


def test_pymysql_hears_the_sqlstate_too(caller: Caller) -> None:
    """28000; and a blocking client does not block the gate."""
    with pytest.raises(pymysql.OperationalError) as refused:
        pymysql.connect(**caller.how(password="bad"))
    assert refused.value.args == (1045, DENIED.format("app"))
    with pymysql.connect(**caller.how()) as connection, connection.cursor() as cursor:
        cursor.execute("select connection_id()")
        # Some drivers KILL by the number in the greeting: it must be the session's own.
        assert cursor.fetchone() == (connection.thread_id(),)


def spelled(how: dict[str, Any]) -> dict[str, Any]:
    """Return *how* in the words of aiomysql."""
    return {"db" if name == "database" else name: value for name, value in how.items()}


async def test_aiomysql_connects_and_is_refused(caller: Caller) -> None:
    """It answers the gate's question without any setting, as asyncmy does."""
    connection = await aiomysql.connect(**spelled(caller.how()))
    async with connection.cursor() as cursor:
        await cursor.execute("select current_user()")
        assert await cursor.fetchone() == ("app@%",)
    await connection.ensure_closed()
    with pytest.raises(pymysql.OperationalError) as refused:
        await aiomysql.connect(**spelled(caller.how(password="bad")))
    assert refused.value.args[0] == 1045


async def test_sqlalchemy_connects_by_the_url(caller: Caller) -> None:
    """And another session sees what was committed."""
    assert caller.rds.url == f"mysql+asyncmy://app@localhost:{caller.rds.port}/app"
    engine = create_async_engine(
        caller.rds.url, connect_args={"ssl": caller.tls, "password": caller.token()}
    )
    async with engine.begin() as connection:
        await connection.execute(text("create or replace table kept (n int)"))
        await connection.execute(text("insert into kept values (7)"))
    await engine.dispose()
    assert await caller.ask("select n from kept") == 7


# Who is not.


def raw_login(user: str = "app", *, capabilities: int = CAPABILITIES, proof: bytes = b"") -> Any:
    settings = struct.pack("<IB", 1 << 24, 45) + bytes(23)
    return wire.LoginPacket(
        capabilities=capabilities,
        settings=settings,
        user=user.encode(),
        proof=proof,
        plugin=b"mysql_native_password" if capabilities & wire.PLUGIN_AUTH else None,
    )


def read_packet(raw: socket.socket) -> bytes:
    stream = raw.makefile("rb", buffering=0)
    header = read_whole(stream, 4)
    return read_whole(stream, int.from_bytes(header[:3], "little")) if header else b""


def read_whole(stream: Any, count: int) -> bytes:
    received = b""
    while len(received) < count and (more := stream.read(count - len(received))):
        received += more
    return received


@contextlib.contextmanager
def greeted(rds: LocalRds) -> Any:
    """Give a connection on which the server has said its greeting."""
    with socket.create_connection(("127.0.0.1", rds.port), timeout=30) as raw:
        assert read_packet(raw)[:1] == b"\n"
        yield raw


def test_without_tls_an_iam_user_is_refused_unasked(caller: Caller) -> None:
    """The first that it hears is the refusal: no client is led to send a token in clear."""
    with greeted(caller.rds) as raw:
        raw.sendall(wire.packet(1, raw_login().body()))
        assert read_packet(raw) == wire.error(1045, "28000", DENIED.format("app"))
        assert raw.recv(1) == b""
    assert caller.outcomes() == ["plaintext"]


async def test_drivers_without_tls_are_refused(caller: Caller) -> None:
    """However good the token."""
    assert await refusal(caller, ssl=None) == (1045, DENIED.format("app"))
    assert caller.outcomes() == ["plaintext"]


async def test_a_server_that_is_not_trusted_sees_no_token(caller: Caller) -> None:
    """Its certificate comes from an authority of its own."""
    _, said = await refusal(caller, ssl=ssl.create_default_context())
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert caller.outcomes() == []


async def test_the_certificate_covers_the_loopback_address(caller: Caller) -> None:
    """So that what is dialled may differ from what is signed."""
    assert await caller.ask("select 1", host="127.0.0.1", password=caller.token()) == 1


async def test_password_users_work_beside_iam_users(caller: Caller) -> None:
    """MariaDB judges them; a token is nothing to them, nor they to the log."""
    caller.rds.create_user("clerk", password="it's \\ 'secret'")
    clerk: dict[str, Any] = {"user": "clerk", "database": None}
    for tls in (caller.tls, None):
        who = await caller.ask(
            "select current_user()", **clerk, password="it's \\ 'secret'", ssl=tls
        )
        assert who == "clerk@%"
    for wrong in ("wrong", caller.token(user="clerk")):
        assert await refusal(caller, **clerk, password=wrong) == (1045, DENIED.format("clerk"))
    assert caller.logins("clerk") == []


async def test_a_password_may_take_more_than_one_answer(caller: Caller) -> None:
    """The server may ask for another plugin's proof: the gate only passes that on."""
    caller.rds.create_user("switched", password="secret")
    settings = raw_login().settings
    login = wire.LoginPacket(
        capabilities=CAPABILITIES, settings=settings, user=b"switched", proof=b"", plugin=b"other"
    )
    with greeted(caller.rds) as raw:
        raw.sendall(wire.packet(1, login.body()))
        asked = read_packet(raw)
        assert asked.startswith(b"\xfemysql_native_password\0")
        challenge = asked.removeprefix(b"\xfemysql_native_password\0")[:20]
        raw.sendall(wire.packet(3, wire.native_proof(b"secret", challenge)))
        assert read_packet(raw)[0] == wire.OK


@pytest.mark.parametrize("user", ["we ird+us/er=%~é", "quo'ted", "back\\slash", "數據"])
async def test_an_iam_user_may_have_any_name(caller: Caller, user: str) -> None:
    """The server and the gate read the same one."""
    caller.rds.create_user(user)
    who = await caller.ask("select current_user()", user=user, database=None)
    assert who == f"{user}@%"


async def test_a_user_without_a_name_is_nobody() -> None:
    """MariaDB would let anybody in as him."""
    with pytest.raises(ConfigurationError):
        LocalRds(engine="mariadb").create_user("")


def test_a_login_without_a_user_gets_mariadbs_answer(caller: Caller) -> None:
    """There is no token for it, so none is asked for; whoever is let in without a name."""
    caller.rds.execute("CREATE USER ''@localhost IDENTIFIED WITH AWSAuthenticationPlugin")
    try:
        with greeted(caller.rds) as raw:
            raw.sendall(wire.packet(1, raw_login("").body()))
            assert read_packet(raw)[:3] == b"\xff\x15\x04"
    finally:
        caller.rds.execute("DROP USER ''@localhost")
    assert list(caller.rds.log) == []


async def test_the_clause_of_rds_makes_and_unmakes_iam_users(caller: Caller) -> None:
    """Whether a user needs a token is MariaDB's knowledge, not the gate's."""
    rds, turncoat = caller.rds, {"user": "turncoat", "database": None}
    rds.create_user("turncoat", password="old")
    rds.execute("ALTER USER turncoat IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'")
    assert await refusal(caller, **turncoat, password="old") == (1045, DENIED.format("turncoat"))
    assert await caller.ask("select 1", **turncoat) == 1
    rds.execute("ALTER USER turncoat IDENTIFIED BY 'new'")
    assert await refusal(caller, **turncoat) == (1045, DENIED.format("turncoat"))
    assert await caller.ask("select 1", **turncoat, password="new") == 1
    assert caller.outcomes("turncoat") == ["denied", "accepted"]


async def test_require_ssl_means_what_it_means_on_rds(caller: Caller) -> None:
    """AWS advises it for IAM users; the server behind the gate sees TLS, or none."""
    rds = caller.rds
    rds.execute(
        "CREATE USER strict IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL;"
        "CREATE USER clerk_ssl IDENTIFIED BY 'secret' REQUIRE SSL"
    )
    cipher = "select variable_value <> '' from information_schema.session_status"
    cipher += " where variable_name = 'Ssl_cipher'"
    assert await caller.ask(cipher, user="strict", database=None) == 1
    await refusal(caller, user="strict", database=None, ssl=None)
    assert caller.outcomes("strict") == ["accepted", "plaintext"]
    clerk: dict[str, Any] = {"user": "clerk_ssl", "password": "secret", "database": None}
    assert await caller.ask(cipher, **clerk) == 1
    assert await refusal(caller, **clerk, ssl=None) == (1045, DENIED.format("clerk_ssl"))


async def test_what_a_user_may_do_is_for_mariadb_to_say(caller: Caller) -> None:
    """Grants, locks and limits: said to those whose token is good."""
    rds = caller.rds
    rds.execute("CREATE DATABASE IF NOT EXISTS secret")
    assert (await refusal(caller, database="secret"))[0] == 1044
    rds.create_user("limited")
    rds.execute("ALTER USER limited WITH MAX_USER_CONNECTIONS 1")
    limited: dict[str, Any] = {"user": "limited", "database": None}
    first = await caller.connect(**limited)
    assert (await refusal(caller, **limited))[0] == 1226
    assert await answer(first, "select 1") == 1
    await first.ensure_closed()
    rds.execute("ALTER USER limited ACCOUNT LOCK")
    assert (await refusal(caller, **limited))[0] == 4151
    assert await refusal(caller, **limited, password="bad") == (1045, DENIED.format("limited"))
    assert caller.outcomes("limited") == ["accepted", "accepted", "accepted", "denied"]


@pytest.mark.parametrize("user", ["root", "mariadb.sys", "nosuch"])
async def test_neither_token_nor_guess_makes_a_superuser(caller: Caller, user: str) -> None:
    """The superuser is let in from the inside only, with a password that nobody knows."""
    for password in (caller.token(user=user), "root", "x"):
        code, _ = await refusal(caller, user=user, password=password, database=None)
        assert code == 1045
    assert caller.logins(user) == []


def test_what_is_slipped_in_before_tls_is_not_taken_for_a_login(caller: Caller) -> None:
    """Bytes behind the request for TLS could be anybody's."""
    login = raw_login(capabilities=CAPABILITIES | wire.SSL)
    with greeted(caller.rds) as raw:
        raw.sendall(wire.packet(1, login.ssl_request) + wire.packet(2, login.body()))
        # Nothing, or a TLS alert (content type 21): never a packet of MariaDB's.
        assert raw.recv(1) in (b"", b"\x15")


@pytest.mark.parametrize("junk", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", bytes(40), b"\xff" * 40])
def test_a_client_that_talks_nonsense_is_dropped(caller: Caller, junk: bytes) -> None:
    """Noted, and harmless to everybody else."""
    with contextlib.suppress(OSError), greeted(caller.rds) as raw:
        raw.sendall(junk)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(1000) == b""
    assert {(login.user, login.outcome) for login in caller.rds.log} == {("", "dropped")}


def test_a_client_that_cannot_be_asked_is_told_so(caller: Caller) -> None:
    """From before plugins: as RDS does (mysqljs/mysql#1715)."""
    login = raw_login(capabilities=wire.PROTOCOL_41 | wire.SECURE_CONNECTION | wire.SSL)
    with greeted(caller.rds) as raw:
        raw.sendall(wire.packet(1, login.ssl_request))
        with caller.tls.wrap_socket(raw, server_hostname="localhost") as secured:
            secured.sendall(wire.packet(2, login.body()))
            assert read_packet(secured)[:9] == b"\xff\xe3\x04#08004"
    assert caller.outcomes() == ["dropped"]


def test_an_open_session_cannot_become_an_iam_user(caller: Caller) -> None:
    """COM_CHANGE_USER is not seen by the gate, so no token is asked for, and none is taken."""
    caller.rds.create_user("changer", password="secret")
    clerk = caller.how(user="changer", password="secret", database=None)
    for proof in (b"", caller.token().encode()[:250]):
        connection = pymysql.connect(**clerk)
        how = struct.pack("<H", 45) + b"mysql_clear_password\0" + b"\0"
        becoming = b"app\0" + bytes([len(proof)]) + proof + b"\0" + how
        connection._execute_command(COMMAND.COM_CHANGE_USER, becoming)
        # Its password is asked for, which nobody knows (1043: not even its length is right).
        assert connection._read_packet().is_auth_switch_request()
        connection.write_packet(proof)
        with pytest.raises(pymysql.OperationalError, match=r"\(104[35], "):
            connection._read_packet()
        connection._force_close()
    assert caller.logins() == []


# What passes once a session is open.


async def test_a_query_can_be_killed(caller: Caller, watcher: Any) -> None:
    """By the number that the session itself knows; it goes on to the next one."""
    connection = await caller.connect()
    thread = await answer(connection, "select connection_id()")
    query = asyncio.create_task(answer(connection, "select sleep(60) from dual"))
    await until_state(watcher, thread, "User sleep")
    await answer(watcher, f"kill query {thread}")
    with pytest.raises(Exception, match="interrupted"):
        await query
    assert await answer(connection, "select 42") == 42
    await answer(watcher, f"kill {thread}")
    with pytest.raises(OperationalError):
        await answer(connection, "select 1")
    connection.close()


def test_tens_of_megabytes_pass_both_ways(caller: Caller) -> None:
    """In packets of 16 MB and the rest."""
    data = "0123456789abcdef" * 1_300_000
    assert len(data) == 20_800_000
    with pymysql.connect(**caller.how()) as connection, connection.cursor() as cursor:
        cursor.execute("select %s", (data,))
        assert cursor.fetchone() == (data,)
        cursor.execute("select repeat('x', 40000000)")
        assert cursor.fetchone() == ("x" * 40_000_000,)


async def test_a_client_that_does_not_read_stops_the_server(caller: Caller, watcher: Any) -> None:
    """The gate holds back the server instead of filling its own memory."""
    stalled = pymysql.connect(**caller.how())
    # 200 MB, and nobody reads an answer.
    sql = "select repeat('x', 1000) from seq_1_to_200000"
    stalled._execute_command(COMMAND.COM_QUERY, sql)
    session = f"from information_schema.processlist where id = {stalled.thread_id()}"
    arrived, looks = 0, 0
    while looks < 300 or not arrived:  # the same number so often: it has stopped
        doing = await answer(watcher, f"select command {session}")
        now = waiting_bytes(stalled)
        arrived, looks = now, looks + 1 if now == arrived else 0
    assert (doing, arrived > 0) == ("Query", True)
    stalled._force_close()
    while await answer(watcher, f"select 1 {session}"):
        pass


def waiting_bytes(connection: Any) -> int:
    """Return how much the kernel holds that *connection* has not read."""
    held = fcntl.ioctl(connection._sock.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(held, sys.byteorder)


async def test_fifty_logins_at_once_are_fifty_sessions(caller: Caller) -> None:
    """Nobody is mixed up with anybody."""
    connections = await asyncio.gather(*(caller.connect() for _ in range(50)))
    threads = await asyncio.gather(*(answer(c, "select connection_id()") for c in connections))
    assert len(set(threads)) == 50
    await asyncio.gather(*(connection.ensure_closed() for connection in connections))
    assert caller.outcomes() == ["accepted"] * 50


async def test_an_abrupt_client_leaves_no_session_behind(caller: Caller, watcher: Any) -> None:
    """Its session ends with its connection; and the gate's own questions leave none."""
    connection = await caller.connect()
    connection.close()
    others = "select count(*) from information_schema.processlist where user = 'app'"
    while await answer(watcher, others) > 1:
        pass


# What a test asks for.


async def test_a_shorter_token_lifetime_is_felt_at_once(caller: Caller) -> None:
    """Compressed time; and back again."""
    token = caller.token()
    caller.rds.token_lifetime = 0
    await refusal(caller, password=token)
    caller.rds.token_lifetime = 900
    assert await caller.ask("select 1", password=token) == 1
    assert [login.reason[:7] for login in caller.logins()] == ["expired", "the tok"]


async def test_who_mints_because_a_revocation_refused_him_is_let_in(caller: Caller) -> None:
    """And open sessions go on."""
    connection, token = await caller.connect(), caller.token()
    caller.rds.revoke()
    await refusal(caller, password=token)
    assert await caller.ask("select 1") == 1
    assert await answer(connection, "select 2") == 2
    await connection.ensure_closed()
    assert caller.logins()[1].reason == "revoked"


async def test_a_delay_holds_the_answer_back(caller: Caller) -> None:
    """For good tokens, bad ones, and password users."""
    caller.rds.create_user("slow", password="slow")
    caller.rds.auth_delay = 0.2
    slow: dict[str, Any] = {"user": "slow", "password": "slow", "database": None}
    for how in ({}, {"password": "bad"}, slow):
        began = time.monotonic()
        try:
            await (await caller.connect(**how)).ensure_closed()
        except OperationalError:
            assert how == {"password": "bad"}
        assert time.monotonic() - began >= 0.2


async def test_so_many_tokens_are_refused_as_were_asked_for(caller: Caller) -> None:
    """However good; and the next one is not."""
    caller.rds.refuse(2)
    for _ in range(2):
        assert await refusal(caller) == (1045, DENIED.format("app"))
    assert await caller.ask("select 1") == 1
    assert [login.reason for login in caller.logins()] == [
        "told to refuse",
        "told to refuse",
        "the token is good",
    ]


async def test_so_many_logins_are_cut_off_as_were_asked_for(caller: Caller) -> None:
    """By a TCP reset, after the token has been sent and before its answer."""
    caller.rds.reset(1)
    code, said = await refusal(caller)
    assert (code, "reset by peer" in said) == (2013, True)
    assert await caller.ask("select 1") == 1
    first, _ = caller.logins()
    assert (first.outcome, first.reason) == ("dropped", "told to reset")


async def test_a_pause_refuses_connections_and_keeps_sessions(caller: Caller) -> None:
    """And the port: nobody needs a new URL afterwards."""
    port, connection = caller.rds.port, await caller.connect()
    caller.rds.pause()
    assert (await refusal(caller, host="127.0.0.1"))[0] == 2003
    assert await answer(connection, "select 1") == 1
    caller.rds.resume()
    assert await caller.ask("select 1", port=port) == 1
    await connection.ensure_closed()


async def test_a_restart_ends_sessions_and_keeps_data(caller: Caller) -> None:
    """As a failover does; when it returns, sessions are accepted again."""
    rds = caller.rds
    rds.execute("create or replace table survivor (n int)")
    connection = await caller.connect()
    for number in (1, 2):
        rds.execute(f"insert into survivor values ({number})")
        rds.restart()
        assert await caller.ask("select count(*) from survivor") == number
    with pytest.raises(OperationalError):
        await answer(connection, "select 1")
    connection.close()


async def test_a_login_while_mariadb_is_away_is_told_so(caller: Caller) -> None:
    """1053, in the place of a greeting."""
    path = Path(caller.rds.ca_file).parent / "s" / "mariadb.sock"
    path.rename(path.with_name("away"))
    try:
        assert await refusal(caller) == (1053, "Server shutdown in progress")
    finally:
        path.with_name("away").rename(path)
    assert [login.reason for login in caller.rds.log] == ["MariaDB does not run"]


async def test_too_many_connections_is_mariadbs_own_answer(caller: Caller) -> None:
    """1040, in the place of a greeting."""
    caller.rds.execute("SET GLOBAL max_connections = 10")
    held = []

    async def hold(count: int) -> None:
        for _ in range(count):
            held.append(await caller.connect())

    try:
        with pytest.raises(OperationalError) as refused:
            await hold(20)
        assert refused.value.args == (1040, "Too many connections")
    finally:
        for connection in held:
            await connection.ensure_closed()
        caller.rds.execute("SET GLOBAL max_connections = 500")


async def test_setting_up_works_from_a_running_loop(caller: Caller) -> None:
    """`execute` blocks and has a loop of its own; several statements are one call."""
    rds = caller.rds
    rds.execute(
        "create or replace table t (n int); insert into t values (1); insert into t values (2)"
    )
    assert await caller.ask("select count(*) from t") == 2
    with pytest.raises(ProgrammingError):
        rds.execute("select 1; select * from nothing")


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalRds(engine="mariadb", user="root"),
        lambda: LocalRds(engine="mariadb", database="mysql"),
        lambda: LocalRds(engine="mariadb", user=""),
        lambda: LocalRds(engine="oracle"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(make: Callable[[], LocalRds]) -> None:
    """Instead of doing something else."""
    with pytest.raises(ConfigurationError):
        make()


def test_an_engine_is_postgres_unless_it_is_said(caller: Caller) -> None:
    """As before there were two."""
    assert (LocalRds().engine, caller.rds.engine) == ("postgres", "mariadb")


# Life and death.


def opened() -> Counter[str]:
    """Return what this process has open, by what it is: a number may be another one's by now.

    The server of the other tests may still be closing what they opened.
    """
    found: Counter[str] = Counter()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[os.readlink(f"/dev/fd/{name}")] += 1
    found[f"/proc/{os.getpid()}/fd"] = 0  # of the listing itself
    return found


@pytest.mark.usefixtures("mariadb")
def test_it_starts_within_a_second_or_so(record_property: Callable[[str, object], None]) -> None:
    """The number is reported.

    It is the least of several, without the time in which others had the processors.
    """
    took: list[float] = []
    while min(took, default=math.inf) >= 1.5:
        assert len(took) < 5, took
        began, idle = time.perf_counter(), waited_for_a_processor()
        with LocalRds(engine="mariadb") as rds:
            elapsed = time.perf_counter() - began
            server = (Path(rds.ca_file).parent / "pid").read_text().strip()
            idle = waited_for_a_processor() - idle + waited_for_a_processor(server)
            took.append(elapsed - idle)
    record_property("start_seconds", min(took))


def waited_for_a_processor(of: str = "thread-self") -> float:
    """Return for how many seconds a thread, this one or a process's first, had to queue."""
    try:
        return int(Path(f"/proc/{of}/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:  # not on Linux
        return 0.0


@pytest.mark.usefixtures("mariadb")
async def test_it_leaves_nothing_behind() -> None:
    """No thread, no process, no file, no descriptor; with sessions open when it stops."""
    with LocalRds(engine="mariadb") as first:  # whatever is opened once and for all is open now
        first.stop()
    threads, descriptors = set(threading.enumerate()), opened()
    rds = LocalRds(engine="mariadb")
    rds.start()
    directory = Path(rds.ca_file).parent
    pid = int((directory / "pid").read_text())
    caller = Caller(rds)
    connection = await caller.connect()
    query = asyncio.create_task(answer(connection, "select sleep(60)"))
    rds.auth_delay = 60
    login = asyncio.create_task(caller.connect())
    await asyncio.sleep(0.05)  # whatever has begun by then, nothing of it is left
    await asyncio.to_thread(rds.stop)
    ends = await asyncio.gather(query, login, return_exceptions=True)
    assert all(isinstance(end, OperationalError) for end in ends)
    connection.close()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert is_gone(directory, pid)
    assert set(threading.enumerate()) <= threads
    assert opened() - descriptors == Counter()


OWNER = """
    import pymysql

    def ask(rds):
        password = _mint.mint(rds.endpoint, rds.credentials, now=time.time()).password
        tls = ssl.create_default_context(cafile=rds.ca_file)
        how = {"host": rds.host, "port": rds.port, "user": "app", "database": "app", "ssl": tls}
        with pymysql.connect(**how, password=password) as connection:
            with connection.cursor() as cursor:
                cursor.execute("select current_user()")
                return cursor.fetchone()[0]

    def show(rds):
        directory = Path(rds.ca_file).parent
        print(directory, (directory / "pid").read_text().strip(), flush=True)
"""


@pytest.mark.usefixtures("mariadb")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_gone_with_an_owner_who_is_killed(how: signal.Signals) -> None:
    """Though nobody was left to call `stop`."""
    body = """
    rds = LocalRds(engine="mariadb")
    rds.start()
    show(rds)
    sys.stdin.read()
    """
    with owner(OWNER + body) as process:
        directory, pid = shown(process)
        assert is_running(pid)
        process.send_signal(how)
        process.wait()
        wait_until(lambda: is_gone(directory, pid))


@pytest.mark.usefixtures("mariadb")
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a normal user already")
def test_it_starts_as_a_normal_user() -> None:
    """Who owns all of it, and erases all of it."""
    nobody = pwd.getpwnam("nobody")
    body = """
    with LocalRds(engine="mariadb") as rds:
        show(rds)
        print(os.geteuid(), ask(rds), Path(rds.ca_file).stat().st_uid)
    """
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    with owner(OWNER + body, python=python_for(nobody.pw_uid), **identity) as process:
        directory, pid = shown(process)
        out, err = process.communicate()
    assert out == f"{nobody.pw_uid} app@% {nobody.pw_uid}\n", err
    assert is_gone(directory, pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_does_not_run_it_as_root(mariadb: LocalRds) -> None:
    """Nor may anybody but root and that user read its files."""
    directory = Path(mariadb.ca_file).parent
    pid = int((directory / "pid").read_text())
    assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "server.pem").stat().st_mode & 0o777 == 0o600


# Where it comes from. No MariaDB is needed for these.


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A MariaDB that does not start."""
    server, tables = tmp_path / "sbin" / "mariadbd", tmp_path / "share" / "mysql"
    server.parent.mkdir()
    tables.mkdir(parents=True)
    (tables / "mysql_system_tables.sql").touch()
    server.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'no space left'; exit 1\n")
    server.chmod(0o755)
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    return server


@pytest.mark.parametrize("what", ["the program", "its directory", "its place on the PATH"])
def test_a_server_is_found_where_it_is_said_to_be(broken: Path, what: str) -> None:
    """With the statements that make its tables."""
    environ = {
        "the program": {MARIADB_BIN: str(broken), "PATH": ""},
        "its directory": {MARIADB_BIN: str(broken.parent), "PATH": ""},
        "its place on the PATH": {"PATH": str(broken.parent)},
    }[what]
    found = find_mariadb(environ, usual=())
    assert found.server == broken
    assert found.tables == broken.parents[1] / "share/mysql/mysql_system_tables.sql"


def test_a_mysql_is_not_taken_for_a_mariadb(broken: Path) -> None:
    """It has no such statements, and no such way to start."""
    (broken.parents[1] / "share/mysql/mysql_system_tables.sql").unlink()
    with pytest.raises(ConfigurationError, match="no MariaDB") as failed:
        find_mariadb({"PATH": str(broken.parent)}, usual=())
    assert "apt-get install mariadb-server-core" in failed.value.hint


def test_a_server_that_is_not_where_it_was_said_to_be_is_not_replaced(tmp_path: Path) -> None:
    """A default would hide the mistake."""
    with pytest.raises(ConfigurationError, match=MARIADB_BIN):
        find_mariadb({**os.environ, MARIADB_BIN: str(tmp_path)})


def test_a_failed_start_tells_why_and_cleans_up(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the end of MariaDB's log, and no file, thread or descriptor left."""
    threads, descriptors = set(threading.enumerate()), opened()
    monkeypatch.setenv(MARIADB_BIN, str(broken))
    with pytest.raises(RdsIamError, match=r"MariaDB did not start(?s:.*)no space left") as failed:
        LocalRds(engine="mariadb").start()
    assert MARIADB_BIN in failed.value.hint
    assert set(threading.enumerate()) <= threads
    assert opened() - descriptors == Counter()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_server_out_of_reach_is_said_to_be(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would run it as a user who cannot."""
    broken.parent.chmod(0o700)
    monkeypatch.setenv(MARIADB_BIN, str(broken))
    with pytest.raises(RdsIamError, match="cannot run"):
        LocalRds(engine="mariadb").start()


def test_without_the_extra_it_says_what_to_install(
    mariadb: LocalRds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncmy is not a dependency of production."""
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    with pytest.raises(ConfigurationError) as failed:
        mariadb.execute("select 1")
    assert "rds-iam-async[mysql]" in failed.value.hint
