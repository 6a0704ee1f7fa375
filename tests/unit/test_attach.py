"""L15 and the region: bad input gets a clear error at the earliest place, naming the fix."""

from __future__ import annotations

import asyncio
import ssl
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import trustme
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from rds_iam_async import (
    ConfigurationError,
    Endpoint,
    MintError,
    RefreshPolicy,
    TokenRefresher,
    open_engine,
)

from .conftest import FakeAws

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
NAMELESS = "postgresql+asyncpg://app@db.internal/orders"
GLOBAL = "shop.global-abc.global.rds.amazonaws.com"


async def nobody(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("something was dialled")


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without region, profile, CA file or credentials."""
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("RDS_IAM_CA_FILE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


BAD_URLS = [
    ("postgresql+asyncpg://app:hunter2@db/x", "password"),
    ("postgresql+asyncpg://app:@db/x", "password"),
    ("postgresql+asyncpg://app@db/x?password=hunter2", "password"),
    ("postgresql+asyncpg://db/x", "no user"),
    ("postgresql+asyncpg://db/x?user=app", "no user"),
    ("postgresql+asyncpg://app@/x", "no host"),
    ("postgresql+asyncpg://app@/x?host=a:5432&host=b:5432", "several hosts"),
    ("postgresql+asyncpg://app@a,b/x", "several hosts"),
    ("postgresql+asyncpg://app@db/x?host=a", "several hosts"),
    *(
        (f"postgresql+asyncpg://app@db/x?ssl={mode}", f"ssl='{mode}'")
        for mode in ("disable", "allow", "prefer", "require", "verify-ca", "true")
    ),
    ("postgresql+asyncpg://app@db/x?sslmode=require", "sslmode"),
    ("postgresql+asyncpg://app@db/x?sslmode=disable", "sslmode"),
    ("postgresql+asyncpg://app@db/x?sslrootcert=/nowhere.pem", "/nowhere.pem"),
    ("postgresql+asyncpg://app@db/x?sslnegotiation=perhaps", "sslnegotiation"),
    ("postgresql+asyncpg://app@db/x?sslkey=/key.pem", "sslkey"),
]


@pytest.mark.parametrize(("url", "named"), BAD_URLS)
def test_a_url_that_cannot_work_is_refused_at_attach(url: str, named: str) -> None:
    """The message names what is wrong, the hint the fix, and neither shows a password."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        TokenRefresher(create_async_engine(url), region="eu-west-1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("url", "named"), BAD_URLS)
@pytest.mark.anyio
async def test_a_url_that_cannot_work_is_refused_by_open_engine(url: str, named: str) -> None:
    """Before an engine is made."""
    with pytest.raises(ConfigurationError, match=named):
        async with open_engine(url, region="eu-west-1"):
            raise AssertionError("entered")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql+psycopg2://app@db/x", "postgresql.psycopg2"),
        ("sqlite+aiosqlite://", "sqlite"),
        ("oracle+oracledb://app@db/x", "oracle"),
    ],
)
@pytest.mark.anyio
async def test_an_unsupported_driver_is_refused(url: str, named: str) -> None:
    """Its name is in the message, the one that works in the hint."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        async with open_engine(url, region="eu-west-1"):
            raise AssertionError("entered")
    assert "postgresql+asyncpg" in caught.value.hint


def test_a_sync_engine_is_refused() -> None:
    """It has no loop to wait in."""
    with pytest.raises(ConfigurationError, match="not an AsyncEngine"):
        TokenRefresher(create_engine("postgresql+psycopg://app@db/x"))  # type: ignore[arg-type]


OPTIONS = [
    ({"async_creator": nobody}, "async_creator"),
    ({"creator": nobody}, "creator"),
    ({"connect_args": {"password": "hunter2"}}, "'password'"),
    ({"connect_args": {"passfile": "/tmp/x"}}, "'passfile'"),
    ({"connect_args": {"host": "elsewhere"}}, "'host'"),
    ({"connect_args": {"user": "root"}}, "'user'"),
    ({"connect_args": {"dsn": "postgres://"}}, "'dsn'"),
    *(({"connect_args": {"ssl": mode}}, f"ssl='{mode}'") for mode in ("prefer", "require")),
    ({"connect_args": {"ssl": False}}, "ssl=False"),
    ({"connect_args": {"ssl": ssl._create_unverified_context()}}, "does not verify"),
]


@pytest.mark.parametrize(("options", "named"), OPTIONS)
def test_options_that_get_round_do_connect_or_weaken_tls_are_refused_at_attach(
    options: dict[str, Any], named: str
) -> None:
    """L15: where SQLAlchemy shows it, which it does on 2.0 and 2.1."""
    engine = create_async_engine(URL, **options)
    with pytest.raises(ConfigurationError, match=named) as caught:
        TokenRefresher(engine)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("options", "named"), OPTIONS)
@pytest.mark.anyio
async def test_open_engine_refuses_the_same_options(options: dict[str, Any], named: str) -> None:
    """L15: before an engine is made."""
    with pytest.raises(ConfigurationError, match=named):
        async with open_engine(URL, **options):
            raise AssertionError("entered")


@pytest.mark.anyio
async def test_a_pool_of_ones_own_is_refused() -> None:
    """L15: it may be another engine's, whose connections pass that engine's listeners only."""
    other = create_async_engine(URL)
    with pytest.raises(ConfigurationError, match="pool"):
        TokenRefresher(create_async_engine(URL, pool=other.pool))
    with pytest.raises(ConfigurationError, match="pool"):
        async with open_engine(URL, pool=AsyncAdaptedQueuePool(nobody)):  # type: ignore[arg-type]
            raise AssertionError("entered")


@pytest.mark.parametrize(
    "options",
    [
        {"connect_args": {"ssl": ssl.create_default_context()}},
        {"connect_args": {"ssl": "verify-full"}},
        {"connect_args": {"timeout": 5, "server_settings": {"application_name": "x"}}},
        {"pool_size": 3, "pool_pre_ping": True, "echo": False},
    ],
)
def test_harmless_options_are_left_alone(options: dict[str, Any]) -> None:
    """What is not about who connects where is the caller's business."""
    refresher = TokenRefresher(create_async_engine(URL, **options))
    assert len(refresher.status().endpoints) == 1


def test_the_endpoint_is_read_from_the_engines_own_url() -> None:
    """Never typed twice; the default port is signed when the URL names none."""
    endpoint = TokenRefresher().attach(create_async_engine(URL))
    assert endpoint == Endpoint(
        host="mydb.abc.eu-west-1.rds.amazonaws.com", port=5432, user="app", region="eu-west-1"
    )


def test_what_is_signed_may_differ_from_what_is_dialled() -> None:
    """A CNAME, a tunnel, a load balancer: the region is the signed name's."""
    endpoint = TokenRefresher().attach(
        create_async_engine("postgresql+asyncpg://app@127.0.0.1:6543/x"),
        token_host="MyDB.abc.eu-central-1.rds.amazonaws.com",
        token_port=5432,
    )
    assert endpoint == Endpoint(
        host="mydb.abc.eu-central-1.rds.amazonaws.com", port=5432, user="app", region="eu-central-1"
    )


class TestRegion:
    """First that is given: the argument, the host's name, the session, the environment."""

    def test_the_argument_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        attach = TokenRefresher(region="eu-south-1").attach
        assert attach(create_async_engine(URL), region="eu-north-1").region == "eu-north-1"
        assert attach(create_async_engine(URL)).region == "eu-south-1"

    def test_then_the_host_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        assert TokenRefresher().attach(create_async_engine(URL)).region == "eu-west-1"

    def test_then_the_session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import aioboto3

        monkeypatch.setenv("AWS_REGION", "us-east-1")
        refresher = TokenRefresher(session=aioboto3.Session(region_name="ap-east-1"))
        assert refresher.attach(create_async_engine(NAMELESS)).region == "ap-east-1"

    @pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_then_the_environment(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(variable, "us-east-1")
        assert TokenRefresher().attach(create_async_engine(NAMELESS)).region == "us-east-1"

    def test_then_the_config_file(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("[default]\nregion = us-west-2\n")
        assert TokenRefresher().attach(create_async_engine(NAMELESS)).region == "us-west-2"

    def test_else_an_error_that_says_what_to_pass(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no region for 'db.internal'") as caught:
            TokenRefresher().attach(create_async_engine(NAMELESS))
        assert "region=" in caught.value.hint

    def test_of_a_global_database_is_never_guessed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The app's own region need not be its writer's."""
        import aioboto3

        monkeypatch.setenv("AWS_REGION", "us-east-1")
        engine = create_async_engine(f"postgresql+asyncpg://app@{GLOBAL}/x")
        for session in (None, aioboto3.Session(region_name="us-east-1")):
            with pytest.raises(ConfigurationError, match="Global Database") as caught:
                TokenRefresher(session=session).attach(engine)
            assert "region=" in caught.value.hint
        assert TokenRefresher().attach(engine, region="eu-west-1") == Endpoint(
            host=GLOBAL, port=5432, user="app", region="eu-west-1"
        )


class TestWhatIsSigned:
    """Somebody who forgot the override of a tunnel is told, once, before RDS refuses."""

    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1", "10.0.0.5", "db.internal", "My-DB.example.com."]
    )
    def test_a_host_that_is_no_rds_name_is_warned_about(
        self, host: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = create_async_engine(f"postgresql+asyncpg://app@{host}:6543/x")
        TokenRefresher(engine, region="eu-west-1")
        [record] = caplog.records
        assert (record.name, record.levelname) == ("rds_iam_async", "WARNING")
        assert f"signed for {host!r}" in record.getMessage()
        assert "token_host=" in record.getMessage()

    @pytest.mark.anyio
    async def test_once_for_each_attach_and_not_again(
        self, caplog: pytest.LogCaptureFixture, aws: FakeAws, clock: Any
    ) -> None:
        engine = create_async_engine(NAMELESS)
        refresher = TokenRefresher(engine, region="eu-west-1", credentials=aws, clock=clock)
        async with refresher:
            await clock.advance(3600)
        async with refresher:
            pass
        assert len([r for r in caplog.records if "token_host=" in r.getMessage()]) == 1

    @pytest.mark.anyio
    async def test_by_open_engine_too(self, caplog: pytest.LogCaptureFixture, aws: FakeAws) -> None:
        async with open_engine(NAMELESS, region="eu-west-1", credentials=aws):
            pass
        assert len([r for r in caplog.records if "token_host=" in r.getMessage()]) == 1

    @pytest.mark.parametrize(
        ("host", "token_host"),
        [
            ("mydb.abc.eu-west-1.rds.amazonaws.com", None),
            ("MyDB.abc.rds.cn-north-1.amazonaws.com.cn.", None),
            ("my-global.global-abc.global.rds.amazonaws.com", None),
            ("localhost", "mydb.abc.eu-west-1.rds.amazonaws.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "db.internal"),
        ],
    )
    def test_silent_about_an_rds_name_and_about_what_was_said_on_purpose(
        self, host: str, token_host: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = create_async_engine(f"postgresql+asyncpg://app@{host}/x")
        TokenRefresher().attach(engine, region="eu-west-1", token_host=token_host)
        assert caplog.records == []

    def test_an_ipv6_address_cannot_be_signed_and_the_option_is_named_first(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(ConfigurationError, match="'::1' is not a host name"):
            TokenRefresher(create_async_engine("postgresql+asyncpg://app@[::1]/x"), region="a-b-1")
        assert "token_host=" in caplog.text


def test_session_and_credentials_exclude_each_other(aws: FakeAws) -> None:
    """Two answers to one question."""
    import aioboto3

    with pytest.raises(ConfigurationError, match="both session and credentials"):
        TokenRefresher(session=aioboto3.Session(), credentials=aws)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"session": 5}, "session is a int"), ({"credentials": object()}, "credentials is a object")],
)
def test_what_is_no_source_of_keys_is_refused(arguments: dict[str, Any], named: str) -> None:
    """Here, not in the background ten minutes later."""
    with pytest.raises(ConfigurationError, match=named):
        TokenRefresher(**arguments)


class TestCaFile:
    """L14: unreadable or empty trust is refused at attach, naming where the name came from."""

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"ca_file .*nowhere.* cannot be read"):
            TokenRefresher(create_async_engine(URL), ca_file=tmp_path / "nowhere.pem")

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            TokenRefresher(create_async_engine(URL), ca_file=str(tmp_path))

    @pytest.mark.parametrize("variable", ["RDS_IAM_CA_FILE", "PGSSLROOTCERT"])
    def test_named_by_a_variable(
        self, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "empty.pem").write_text("hello")
        monkeypatch.setenv(variable, str(tmp_path / "empty.pem"))
        with pytest.raises(ConfigurationError, match=f"{variable} .* holds no certificate") as got:
            TokenRefresher(create_async_engine(URL))
        assert "global-bundle.pem" in got.value.hint

    def test_libpqs_word_for_the_systems_roots(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGSSLROOTCERT", "system")
        TokenRefresher(create_async_engine(URL))

    @pytest.mark.anyio
    async def test_one_that_does_not_parse(self, tmp_path: Path, aws: FakeAws) -> None:
        broken = tmp_path / "broken.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        refresher = TokenRefresher(create_async_engine(URL), ca_file=broken, credentials=aws)
        with pytest.raises(ConfigurationError, match="does not parse"):
            await refresher.start()

    def test_together_with_a_context(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="both ca_file and tls"):
            TokenRefresher(
                create_async_engine(URL),
                ca_file=tmp_path / "ca.pem",
                tls=ssl.create_default_context(),
            )

    @pytest.mark.anyio
    async def test_one_context_serves_all_engines_with_the_same_trust(
        self, tmp_path: Path, aws: FakeAws
    ) -> None:
        ca_file = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(ca_file))
        first, second = create_async_engine(URL), create_async_engine(URL)
        refresher = TokenRefresher(ca_file=ca_file, credentials=aws)
        endpoint = refresher.attach(first)
        refresher.attach(second)
        context = refresher.tls(endpoint)
        assert context is refresher.tls(endpoint)
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
        assert len(context.get_ca_certs()) == 1  # URL names an RDS instance


def test_an_engine_is_attached_once_and_detached_once() -> None:
    """Twice is a mistake, and says so; after detach the engine is as before."""
    engine = create_async_engine(URL)
    refresher = TokenRefresher(engine)
    with pytest.raises(ConfigurationError, match="attached already"):
        refresher.attach(engine)
    refresher.detach(engine)
    assert refresher.status().endpoints == ()
    assert len(engine.sync_engine.dialect.dispatch.do_connect) == 0
    with pytest.raises(ConfigurationError, match="not attached"):
        refresher.detach(engine)
    refresher.attach(engine)


def test_two_engines_for_one_endpoint_share_its_supply() -> None:
    """And the supply goes when the second is detached."""
    first, second = create_async_engine(URL), create_async_engine(URL)
    refresher = TokenRefresher(first, second)
    assert len(refresher.status().endpoints) == 1
    refresher.detach(first)
    assert len(refresher.status().endpoints) == 1
    refresher.detach(second)
    assert refresher.status().endpoints == ()


@pytest.mark.anyio
async def test_two_sessions_never_sign_for_each_others_engine(aws: FakeAws, clock: Any) -> None:
    """The same endpoint with other keys is another supply."""
    other = FakeAws(clock)
    other.calls = 100
    refresher = TokenRefresher(credentials=aws, clock=clock)
    refresher.attach(create_async_engine(URL))
    refresher.attach(create_async_engine(URL), credentials=other)
    async with refresher:
        signers = {item.access_key_id for item in refresher.status().endpoints}
    assert signers == {"ASIAFAKE1", "ASIAFAKE101"}


@pytest.mark.anyio
async def test_closing_leaves_no_listener_and_starting_again_brings_it_back(
    aws: FakeAws, clock: Any
) -> None:
    """L19."""
    engine = create_async_engine(URL)
    refresher = TokenRefresher(engine, credentials=aws, clock=clock)
    for _ in range(2):
        async with refresher:
            assert len(engine.sync_engine.dialect.dispatch.do_connect) == 1
        assert len(engine.sync_engine.dialect.dispatch.do_connect) == 0


def test_refresh_policy_is_checked_before_anything_else() -> None:
    """A wrong policy cannot be handed in at all."""
    with pytest.raises(ConfigurationError):
        TokenRefresher(policy=RefreshPolicy(lead=1))


@pytest.mark.parametrize("tls", ["prefer", "verify-full", "disable", False, True])
def test_tls_takes_a_context_and_nothing_else(tls: Any) -> None:
    """L14: asyncpg would take a word for its own, and `prefer` sends the token in clear."""
    with pytest.raises(ConfigurationError, match="tls is a"):
        TokenRefresher(create_async_engine(URL), tls=tls)
    with pytest.raises(ConfigurationError, match="tls is a"):
        TokenRefresher(tls=tls)
    with pytest.raises(ConfigurationError, match="tls is a"):
        TokenRefresher().attach(create_async_engine(URL), tls=tls)


@pytest.mark.parametrize("host", ["/var/run/postgresql", "@abstract"])
def test_a_unix_socket_is_refused(host: str) -> None:
    """L14: it has no TLS, and asyncpg would send the token as it is."""
    url = sqlalchemy.URL.create("postgresql+asyncpg", username="app", host=host, database="x")
    with pytest.raises(ConfigurationError, match="Unix socket"):
        TokenRefresher().attach(create_async_engine(url), token_host="db", region="eu-west-1")


@pytest.mark.parametrize("name", ["port", "dsn", "service", "passfile"])
def test_an_address_in_the_query_is_refused(name: str) -> None:
    """L15: the driver would dial what was not signed."""
    with pytest.raises(ConfigurationError, match=f"{name}="):
        TokenRefresher(create_async_engine(f"{URL}?{name}=1"))


@pytest.mark.parametrize("overrides", [{"token_host": ""}, {"token_port": 0}])
def test_an_override_that_is_empty_is_refused(overrides: dict[str, Any]) -> None:
    """Not ignored: an unset variable of the caller's."""
    with pytest.raises(ConfigurationError, match=r"host|port"):
        TokenRefresher().attach(create_async_engine(URL), region="eu-west-1", **overrides)


def test_a_constructor_that_fails_leaves_no_listener_behind() -> None:
    """The first engine is as before when the second is refused."""
    good, bad = create_async_engine(URL), create_async_engine(URL, async_creator=nobody)
    with pytest.raises(ConfigurationError):
        TokenRefresher(good, bad)
    assert len(good.sync_engine.dialect.dispatch.do_connect) == 0


def test_an_engine_has_one_refresher() -> None:
    """Two would each want to put a token where the other's is, at the first connect."""
    engine = create_async_engine(URL)
    first = TokenRefresher(engine)
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        TokenRefresher(engine)
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        first.attach(engine.execution_options(isolation_level="AUTOCOMMIT"))
    first.detach(engine)
    TokenRefresher(engine)


def test_a_profile_that_is_not_there_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the region has to be read from the AWS config file."""
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(ConfigurationError, match="nowhere"):
        TokenRefresher().attach(create_async_engine(NAMELESS))


@pytest.mark.parametrize(
    "arguments", [{"policy": None}, {"observe": None}, {"ca_file": "/nonexistent"}]
)
def test_arguments_are_checked_in_the_constructor(arguments: dict[str, Any]) -> None:
    """Without any engine, too."""
    with pytest.raises(ConfigurationError):
        TokenRefresher(**arguments)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", None, True])
@pytest.mark.anyio
async def test_the_timeout_of_start_is_checked(timeout: Any) -> None:
    """It is seconds."""
    with pytest.raises(ConfigurationError, match="timeout"):
        await TokenRefresher().start(timeout=timeout)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "postgresql+asyncpg//app@db/x",
        "postgresql+asyncpg://app:hunter2/x",  # the parser takes the password for a port
    ],
)
@pytest.mark.anyio
async def test_a_url_that_does_not_parse_is_an_error_of_ours(url: str) -> None:
    """Without showing it: it may hold a password."""
    with pytest.raises(ConfigurationError, match="cannot be parsed") as raised:
        async with open_engine(url):
            raise AssertionError("entered")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.anyio
async def test_status_from_other_threads_while_engines_come_and_go(aws: FakeAws) -> None:
    """And attach at any time, also while `start` is on its way."""
    refresher = TokenRefresher(credentials=aws)
    errors, done = [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                refresher.status()
            except Exception as error:
                errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    starting = asyncio.ensure_future(refresher.start())
    for number in range(200):
        engine = create_async_engine(URL.replace("app@", f"user{number}@"))
        refresher.attach(engine)
        await asyncio.sleep(0)
        if number % 3 == 0:
            refresher.detach(engine)
    await starting
    await refresher.aclose()
    done.set()
    asking.join()
    assert errors == []


@pytest.mark.anyio
async def test_closing_ends_what_was_begun_for_an_endpoint_that_is_not_attached(
    aws: FakeAws, clock: Any, endpoint: Endpoint
) -> None:
    """L19: `aclose` ends a mint that hangs, whoever asked for it."""
    aws.delay = 1e9
    refresher = TokenRefresher(credentials=aws, clock=clock)
    asking = asyncio.ensure_future(refresher.token(endpoint))
    await clock.settle()
    await refresher.aclose()
    with pytest.raises(MintError, match="stopped"):
        await asking


@pytest.mark.anyio
async def test_closing_while_starting_leaves_nothing_running(aws: FakeAws, clock: Any) -> None:
    """L19: and `start` says why it did not."""
    aws.delay = 1
    refresher = TokenRefresher(create_async_engine(URL), credentials=aws, clock=clock)
    starting = asyncio.ensure_future(refresher.start())
    await clock.settle()
    await refresher.aclose()
    with pytest.raises(MintError):
        await starting
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("rds_iam_async")]


@pytest.mark.anyio
async def test_a_start_that_fails_takes_no_other_waiter_with_it(
    aws: FakeAws, clock: Any, endpoint: Endpoint
) -> None:
    """L10: a connect may be waiting for the same keys."""
    aws.delay = 1
    refresher = TokenRefresher(create_async_engine(URL), credentials=aws, clock=clock)
    waiting = asyncio.ensure_future(refresher.token(endpoint))
    await clock.settle()
    with pytest.raises(MintError):
        await refresher.start(timeout=0.01)
    await clock.advance(1)
    assert (await waiting).endpoint == endpoint
    await refresher.aclose()


@pytest.mark.anyio
async def test_detaching_leaves_a_password_that_was_lent_alone(aws: FakeAws, clock: Any) -> None:
    """A pool of asyncpg's goes on to be refreshed when the engine beside it is gone."""
    engine = create_async_engine(URL)
    refresher = TokenRefresher(credentials=aws, clock=clock)
    password = refresher.password(refresher.attach(engine))
    async with refresher:
        refresher.detach(engine)
        await clock.advance(3600)
        [status] = refresher.status().endpoints
        assert (status.ready, status.cold_mints) == (True, 0)
        assert status.mints > 5
        assert (await password()).startswith("mydb.abc")
