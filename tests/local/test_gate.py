"""Real drivers log in to a real PostgreSQL, through the gate and never past it."""

import asyncio
import contextlib
import io
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from rds_iam_async import Credentials
from rds_iam_async.testing import LocalRds

pytestmark = pytest.mark.anyio

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


def startup(**parameters: str) -> bytes:
    strings = (string for pair in parameters.items() for string in pair)
    body = b"".join(string.encode() + b"\0" for string in strings) + b"\0"
    return struct.pack("!II", len(body) + 8, 196608) + body


def dsn(rds: LocalRds, password: str, **more: str) -> dict[str, Any]:
    return {
        "host": rds.host,
        "port": rds.port,
        "user": rds.user,
        "dbname": rds.database,
        "password": password,
        "sslmode": "verify-full",
        "sslrootcert": rds.ca_file,
        **more,
    }


def program(name: str) -> str:
    """Return the path of a PostgreSQL program that can speak TLS, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on the PATH")
    # The wheels' libpq has no TLS and refuses the setting before it connects.
    nowhere = {"PGHOST": "/nonexistent", "PGSSLMODE": "require"}
    said = subprocess.run([found, "-l"], env=nowhere, capture_output=True, text=True).stderr
    if "SSL support is not compiled in" in said:
        pytest.skip(f"{found} has no TLS")
    return found


def shell(rds: LocalRds, password: str, **more: str) -> dict[str, str]:
    """Return the environment of somebody who connects from a shell."""
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": rds.host,
        "PGPORT": str(rds.port),
        "PGUSER": rds.user,
        "PGDATABASE": rds.database,
        "PGPASSWORD": password,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": rds.ca_file,
        **more,
    }


def psql(rds: LocalRds, password: str, sql: str, **more: str) -> Any:
    """Run one statement in psql."""
    return subprocess.run(
        [program("psql"), "-XAtc", sql],
        env=shell(rds, password, **more),
        capture_output=True,
        text=True,
    )


async def test_a_token_lets_its_user_in(client: Any) -> None:
    """As the role that it names, over TLS, and the log says by which key."""
    assert await client.ask("select current_user::text") == "app"
    (login,) = client.logins()
    assert (login.outcome, login.reason) == ("accepted", "the token is good")
    assert login.access_key_id == client.rds.credentials.access_key_id


BAD_TOKENS: dict[str, tuple[Callable[[Any], str], str]] = {
    "tampered": (lambda c: c.token().replace("connect", "destroy"), "Action is 'destroy'"),
    "cut": (lambda c: c.token()[:-1], "the signature is wrong"),
    "user": (lambda c: c.token(user="bob"), "signed for user 'bob', not 'app'"),
    "host": (lambda c: c.token(host="db.example.com"), "signed for 'db.example.com:"),
    "port": (lambda c: c.token(port=1), "signed for 'localhost:1'"),
    "region": (lambda c: c.token(region="us-east-1"), "signed for region 'us-east-1'"),
    "secret": (
        lambda c: c.token(
            key=Credentials(
                access_key_id=c.rds.credentials.access_key_id, secret_access_key="another"
            )
        ),
        "the signature is wrong",
    ),
    "key": (
        lambda c: c.token(
            key=Credentials(access_key_id="AKIAUNKNOWN", secret_access_key="unknown")
        ),
        "access key 'AKIAUNKNOWN' is not trusted",
    ),
    "session": (
        lambda c: c.token(
            key=Credentials(
                access_key_id=c.rds.credentials.access_key_id,
                secret_access_key=c.rds.credentials.secret_access_key,
                session_token="of-another-role",
            )
        ),
        "the session token is not that of the key",
    ),
    "too long": (lambda c: c.token(expires=901), "X-Amz-Expires is 901"),
    "repeated": (lambda c: c.token() + "&DBUser=app", "a parameter is repeated"),
    "garbage": (lambda c: "hunter2", "not a token: Action is missing"),
    "empty": (lambda c: "", "not a token: empty"),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_without_a_hint(client: Any, kind: str) -> None:
    """The client hears what RDS says, always the same; the reason is in the log only."""
    make, reason = BAD_TOKENS[kind]
    password = make(client)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as refused:
        await client.connect(password=password)
    assert refused.value.sqlstate == "28000"
    assert str(refused.value) == 'PAM authentication failed for user "app"'
    (login,) = client.logins()
    assert login.outcome == "denied"
    assert reason in login.reason
    assert not password or password not in repr(login)


async def test_without_tls_nobody_is_let_in(client: Any) -> None:
    """In the words of RDS, before any password has been asked for."""
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as refused:
        await client.connect(ssl=False)
    assert refused.value.sqlstate == "28000"
    assert str(refused.value) == (
        'pg_hba.conf rejects connection for host "127.0.0.1", user "app", database "app", '
        "no encryption"
    )
    assert [login.outcome for login in client.logins()] == ["plaintext"]


async def test_a_server_that_is_not_trusted_sees_no_token(client: Any) -> None:
    """Its certificate comes from an authority of its own."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.connect(ssl=ssl.create_default_context())
    assert client.logins() == []


async def test_the_certificate_covers_the_loopback_address(client: Any) -> None:
    """So that what is dialled may differ from what is signed."""
    assert await client.ask("select 1", host="127.0.0.1", password=client.token()) == 1


async def test_password_users_work_beside_iam_users(client: Any) -> None:
    """PostgreSQL asks them itself (SCRAM); a token is nothing to them, nor they to the log."""
    client.rds.create_user("clerk", password="it's 'secret'")
    assert (
        await client.ask("select current_user::text", user="clerk", password="it's 'secret'")
        == "clerk"
    )
    for wrong in ("wrong", client.token(user="clerk")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await client.connect(user="clerk", password=wrong)
    assert client.logins("clerk") == []


@pytest.mark.parametrize("user", ["we ird+us/er=%~é", 'quo"ted', "數據"])
async def test_an_iam_user_may_have_any_name(client: Any, user: str) -> None:
    """`GRANT rds_iam` is all it takes."""
    client.rds.create_user(user)
    assert await client.ask("select current_user::text", user=user) == user


async def test_grant_and_revoke_of_rds_iam_mean_what_they_mean_on_rds(client: Any) -> None:
    """Whether a user needs a token is PostgreSQL's knowledge, not the gate's."""
    client.rds.create_user("turncoat", password="old")
    client.rds.execute("GRANT rds_iam TO turncoat")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await client.connect(user="turncoat", password="old")
    assert await client.ask("select 1", user="turncoat") == 1
    client.rds.execute("REVOKE rds_iam FROM turncoat")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await client.connect(user="turncoat")
    assert await client.ask("select 1", user="turncoat", password="old") == 1


@pytest.mark.parametrize("user", ["postgres", "nosuch"])
async def test_neither_token_nor_guess_makes_a_superuser(client: Any, user: str) -> None:
    """The superuser is let in from the inside only, with a password that nobody knows."""
    for password in (client.token(user=user), "postgres", "x"):
        with pytest.raises(asyncpg.InvalidPasswordError) as refused:
            await client.connect(user=user, password=password)
        assert refused.value.sqlstate == "28P01"


async def test_an_iam_user_cannot_reach_the_replication_stream(client: Any) -> None:
    """There is none, and a token does not make one."""
    with pytest.raises(asyncpg.PostgresError):
        await client.connect(server_settings={"replication": "true"})


async def test_a_missing_database_is_postgresqls_own_answer(client: Any) -> None:
    """3D000, after the token was found good."""
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await client.connect(database="nowhere")


async def test_a_query_can_be_cancelled_within_tls(client: Any) -> None:
    """asyncpg sends its cancel request through TLS."""
    connection = await client.connect(server_settings={"application_name": "to-cancel"})
    query = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    await until_waiting(client, "to-cancel", "PgSleep")
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    assert await connection.fetchval("select 42") == 42
    await connection.close()


async def test_a_query_can_be_cancelled_in_the_clear(client: Any) -> None:
    """As Ctrl-C in psql does before 17: pid and secret, without TLS."""
    psql = await asyncio.create_subprocess_exec(
        *(program("psql"), "-XAtc", "select pg_sleep(60)"),
        env=shell(client.rds, client.token(), PGAPPNAME="psql-to-cancel"),
        stderr=subprocess.PIPE,
    )
    await until_waiting(client, "psql-to-cancel", "PgSleep")
    psql.send_signal(signal.SIGINT)
    _, said = await psql.communicate()
    assert b"canceling statement due to user request" in said


async def until_waiting(client: Any, application: str, event: str) -> None:
    """Wait until the backend of *application* itself waits for *event*."""
    client.rds.execute("GRANT pg_monitor TO app")
    watcher = await client.connect()
    sql = "select wait_event from pg_stat_activity where application_name = $1"
    while await watcher.fetchval(sql, application) != event:
        pass
    await watcher.close()


async def test_direct_tls_needs_no_request(client: Any) -> None:
    """PostgreSQL 17's `sslnegotiation=direct`."""
    assert await client.ask("select 1", direct_tls=True) == 1


def test_alpn_is_agreed_on(rds: LocalRds) -> None:
    """Direct TLS clients demand the protocol `postgresql`."""
    tls = ssl.create_default_context(cafile=rds.ca_file)
    tls.set_alpn_protocols(["postgresql"])
    with (
        socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw,
        tls.wrap_socket(raw, server_hostname=rds.host) as secured,
    ):
        assert secured.selected_alpn_protocol() == "postgresql"


def test_what_is_slipped_in_before_tls_is_not_taken_for_a_message(rds: LocalRds) -> None:
    """CVE-2021-23214: bytes behind the SSLRequest could be anybody's."""
    with socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw:
        raw.sendall(SSL_REQUEST + startup(user="app", database="app"))
        assert raw.recv(1) == b"S"
        answer = raw.recv(1)
        # Nothing, or a TLS alert (content type 21): never a message of PostgreSQL's.
        assert answer in (b"", b"\x15")


def test_gss_encryption_is_declined_and_tls_may_follow(rds: LocalRds) -> None:
    """What libpq does first wherever there is a Kerberos ticket."""
    with socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw:
        raw.sendall(GSSENC_REQUEST)
        assert raw.recv(1) == b"N"
        raw.sendall(SSL_REQUEST)
        assert raw.recv(1) == b"S"


@pytest.mark.parametrize(
    "junk", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, struct.pack("!II", 8, 0x20000)]
)
def test_a_client_that_talks_nonsense_is_dropped(rds: LocalRds, junk: bytes) -> None:
    """Noted, and harmless to everybody else."""
    with (
        contextlib.suppress(OSError),  # cut off at any point: by then it has been noted
        socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw,
    ):
        raw.sendall(junk)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(1000) == b""
    assert {(login.user, login.outcome) for login in rds.log} == {("", "dropped")}


def test_a_login_without_a_user_gets_postgresqls_answer(rds: LocalRds) -> None:
    """The gate makes up no user."""
    tls = ssl.create_default_context(cafile=rds.ca_file)
    with (
        socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw,
        tls.wrap_socket(raw, server_hostname=rds.host) as secured,
    ):
        secured.sendall(startup(database="app"))
        assert b"no PostgreSQL user name specified" in secured.recv(1000)


@pytest.mark.parametrize(
    "packet", [SSL_REQUEST, startup(user="app").replace(b"\0\3\0\0", b"\0\2\0\0")]
)
def test_only_a_login_of_protocol_3_is_passed_on(rds: LocalRds, packet: bytes) -> None:
    """What else PostgreSQL would answer, gate and server would go different ways about."""
    tls = ssl.create_default_context(cafile=rds.ca_file)
    with (
        socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw,
        tls.wrap_socket(raw, server_hostname=rds.host) as secured,
    ):
        secured.sendall(packet)
        assert secured.recv(1) == b""


async def test_copy_moves_tens_of_megabytes_both_ways(client: Any) -> None:
    """Byte for byte."""
    connection = await client.connect()
    await connection.execute("create temp table heap (line text)")
    data = b"".join(b"%099d\n" % number for number in range(210_000))
    assert len(data) == 21_000_000
    await connection.copy_to_table("heap", source=io.BytesIO(data))
    copied = io.BytesIO()
    await connection.copy_from_table("heap", output=copied)
    await connection.close()
    assert copied.getvalue() == data


async def test_a_big_result_arrives_whole(client: Any) -> None:
    """One value of 40 MB."""
    assert len(await client.ask("select repeat('x', 40000000)")) == 40_000_000


async def test_a_client_that_does_not_read_stops_the_server(client: Any) -> None:
    """The gate holds back the backend instead of filling its own memory."""
    token, rds = client.token(), client.rds
    rds.execute("create sequence sent; alter sequence sent owner to app")
    with (
        socket.create_connection(("127.0.0.1", rds.port), timeout=5) as raw,
        client.tls.wrap_socket(raw, server_hostname=rds.host) as secured,
    ):
        secured.sendall(startup(user="app", database="app", application_name="stalled"))
        assert secured.recv(9) == b"R\0\0\0\x08\0\0\0\x03"
        secured.sendall(b"p" + struct.pack("!I", len(token) + 5) + token.encode() + b"\0")
        query = b"select nextval('sent'), repeat('x', 1000) from generate_series(1, 200000)\0"
        secured.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
        await until_waiting(client, "stalled", "ClientWrite")
        watcher = await client.connect()
        rows, looks = 0, 0
        while looks < 100:  # the same number so often: it has stopped
            now = await watcher.fetchval("select last_value from sent")
            rows, looks = now, looks + 1 if now == rows else 0
        await watcher.close()
    assert rows < 200_000


async def test_fifty_logins_at_once_are_fifty_sessions(client: Any) -> None:
    """Nobody is mixed up with anybody."""
    connections = await asyncio.gather(*(client.connect() for _ in range(50)))
    pids = await asyncio.gather(*(c.fetchval("select pg_backend_pid()") for c in connections))
    assert len(set(pids)) == 50
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_psycopg_connects_and_commits(client: Any) -> None:
    """libpq, with the strictest TLS there is; another session sees what was committed."""
    with psycopg.connect(**dsn(client.rds, client.token())) as connection:
        assert connection.pgconn.ssl_in_use
        connection.execute("create table if not exists kept (n int)")
        connection.execute("insert into kept values (7)")
    async with await psycopg.AsyncConnection.connect(**dsn(client.rds, client.token())) as other:
        cursor = await other.execute("select n from kept")
        assert await cursor.fetchone() == (7,)


def test_psycopg_hears_a_refusal_in_rds_words(client: Any) -> None:
    """Without a SQLSTATE: libpq's connect errors have none."""
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(**dsn(client.rds, client.token() + "x"))
    assert 'FATAL:  PAM authentication failed for user "app"' in str(refused.value)
    assert refused.value.sqlstate is None


def test_psql_connects_with_a_token(client: Any) -> None:
    """As in AWS's own instructions: the token in PGPASSWORD."""
    done = psql(client.rds, client.token(), "select current_user")
    assert (done.stdout, done.stderr) == ("app\n", "")


def test_psql_is_refused_in_rds_words(client: Any) -> None:
    """And without TLS in its other words."""
    bad = psql(client.rds, "bad", "select 1")
    assert 'FATAL:  PAM authentication failed for user "app"' in bad.stderr
    plain = psql(client.rds, "bad", "select 1", PGSSLMODE="disable")
    assert "FATAL:  pg_hba.conf rejects connection for host" in plain.stderr


def test_pgbench_logs_in_for_every_transaction(client: Any) -> None:
    """A real load of logins: each one is accepted, each one is in the log."""
    done = subprocess.run(
        [program("pgbench"), "-n", "-C", "-c", "4", "-t", "10", "-f", "/dev/stdin"],
        input="select 1;",
        env=shell(client.rds, client.token()),
        capture_output=True,
        text=True,
    )
    assert "number of transactions actually processed: 40/40" in done.stdout, done.stderr
    assert {login.outcome for login in client.logins()} == {"accepted"}
    assert len(client.logins()) >= 40


async def test_an_abrupt_client_leaves_no_backend_behind(client: Any) -> None:
    """Its session ends with its connection."""
    connection = await client.connect()
    pid = connection.get_server_pid()
    connection.terminate()
    watcher = await client.connect()
    while await watcher.fetchval("select count(*) from pg_stat_activity where pid = $1", pid):
        pass
    await watcher.close()
