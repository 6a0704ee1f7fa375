"""The refresher of sync engines, before anything is dialled: who is taken, and what is begun."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import rds_iam_async.sync
from rds_iam_async import ConfigurationError, CredentialsError, TokenRefresher
from rds_iam_async.sync import ThreadedRefresher, open_engine

from .conftest import FakeAws

HOST = "mydb.abc.eu-west-1.rds.amazonaws.com"
URLS = [
    f"postgresql+psycopg2://app@{HOST}/orders",
    f"postgresql+psycopg://app@{HOST}/orders",
    f"mysql+pymysql://app@{HOST}/orders",
]
URL = URLS[0]


def threads() -> list[str]:
    """Name the threads of ours, once those are gone that have done their one call."""
    for thread in threading.enumerate():
        if thread.name.startswith("rds_iam_async-"):
            thread.join(10)
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("rds_iam_async")]


def listeners(engine: Engine) -> int:
    return len(engine.dialect.dispatch.do_connect)


def test_the_public_names_are_the_promised_ones() -> None:
    """DESIGN: a name more is a promise more."""
    assert rds_iam_async.sync.__all__ == ["ThreadedRefresher", "open_engine"]


@pytest.mark.parametrize("url", URLS)
def test_a_sync_engine_is_attached_without_a_thread(url: str) -> None:
    """Importing an app's module starts nothing."""
    engine = create_engine(url)
    refresher = ThreadedRefresher(engine)
    assert [str(item.endpoint.host) for item in refresher.status().endpoints] == [HOST]
    assert listeners(engine) == 1
    refresher.detach(engine)
    refresher.close()
    assert listeners(engine) == 0
    assert threads() == []


@pytest.mark.parametrize(
    "engine",
    [
        create_async_engine(f"postgresql+asyncpg://app@{HOST}/x"),
        create_async_engine(f"postgresql+asyncpg://app@{HOST}/x").sync_engine,
        create_async_engine(f"postgresql+psycopg://app@{HOST}/x"),
        None,
    ],
)
def test_an_async_engine_is_refused_and_the_other_refresher_named(engine: Any) -> None:
    """Its connections are opened in a loop, which ours would block."""
    with pytest.raises(ConfigurationError, match="not the Engine of a sync driver") as caught:
        ThreadedRefresher(engine)
    assert "TokenRefresher" in caught.value.hint
    with pytest.raises(ConfigurationError, match="not the Engine of a sync driver"):
        ThreadedRefresher().attach(engine)
    with pytest.raises(ConfigurationError, match="not the Engine of a sync driver"):
        ThreadedRefresher().detach(engine)


def test_the_async_refresher_names_this_one() -> None:
    """Who has a sync engine is told where to go."""
    with pytest.raises(ConfigurationError) as caught:
        TokenRefresher(create_engine(URL))  # type: ignore[arg-type]
    assert "rds_iam_async.sync.ThreadedRefresher" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "options", "named"),
    [
        (f"postgresql+psycopg2://app:hunter2@{HOST}/x", {}, "password"),
        (f"postgresql+psycopg2://app@{HOST}/x?sslmode=prefer", {}, "sslmode='prefer'"),
        (f"postgresql+psycopg://app@{HOST}/x?gssencmode=prefer", {}, "gssencmode"),
        (f"mysql+pymysql://app@{HOST}/x?ssl_check_hostname=false", {}, "ssl_check_hostname"),
        (f"mysql+mysqldb://app@{HOST}/x", {}, "mysqldb|MySQLdb"),
        (URL, {"creator": print}, "creator"),
        (URL, {"connect_args": {"password": "hunter2"}}, "'password'"),
        (URL, {"connect_args": {"hostaddr": "10.0.0.1"}}, "'hostaddr'"),
    ],
)
def test_what_cannot_work_or_weakens_tls_is_refused(
    url: str, options: dict[str, Any], named: str
) -> None:
    """L14, L15: as for async engines."""
    with pytest.raises((ConfigurationError, ModuleNotFoundError), match=named) as caught:
        ThreadedRefresher(create_engine(url, **options), region="eu-west-1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "no url", "sqlite://", "postgresql+asyncpg://app@db/x"])
def test_open_engine_refuses_such_urls(url: str) -> None:
    """Before an engine is made."""
    with pytest.raises(ConfigurationError), open_engine(url, region="eu-west-1"):
        raise AssertionError("entered")


def test_an_engine_has_one_refresher() -> None:
    """Two would each want to open the connection."""
    engine = create_engine(URL)
    first = ThreadedRefresher(engine)
    with pytest.raises(ConfigurationError, match="attached already"):
        first.attach(engine)
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        ThreadedRefresher(engine)


def test_a_constructor_that_fails_leaves_no_listener_behind() -> None:
    """The first engine is as before when the second is refused."""
    good, bad = create_engine(URL), create_engine(URL, creator=print)
    with pytest.raises(ConfigurationError):
        ThreadedRefresher(good, bad)
    assert listeners(good) == 0


@pytest.mark.parametrize("arguments", [{"policy": None}, {"observe": None}, {"session": 5}])
def test_arguments_are_checked_in_the_constructor(arguments: dict[str, Any]) -> None:
    """As for async engines."""
    with pytest.raises(ConfigurationError):
        ThreadedRefresher(**arguments)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", None, True])
def test_the_timeout_of_start_is_checked(timeout: Any) -> None:
    """It is seconds."""
    with pytest.raises(ConfigurationError, match="timeout"):
        ThreadedRefresher().start(timeout=timeout)


def test_closing_leaves_no_listener_and_no_thread_and_starting_again_brings_them_back(
    aws: FakeAws,
) -> None:
    """L19."""
    engine = create_engine(URL)
    refresher = ThreadedRefresher(engine, credentials=aws)
    for _ in range(2):
        with refresher as same:
            assert same is refresher
            assert listeners(engine) == 1
            assert threads() == ["rds_iam_async"]
        assert listeners(engine) == 0
        assert threads() == []
    refresher.close()


def test_a_start_that_fails_raises_the_real_error_and_leaves_no_thread(aws: FakeAws) -> None:
    """L17: and may be tried again."""
    aws.goes_down()
    refresher = ThreadedRefresher(create_engine(URL), credentials=aws)
    with pytest.raises(CredentialsError, match="the test said so"):
        refresher.start()
    assert threads() == []
    aws.comes_back()
    with refresher:
        assert refresher.status().ready


def test_status_and_engines_that_come_and_go_from_many_threads(aws: FakeAws) -> None:
    """L20: nothing of it meets the loop in the middle of something."""
    errors: list[Exception] = []
    done = threading.Event()
    refresher = ThreadedRefresher(credentials=aws)

    def ask() -> None:
        while not done.is_set():
            try:
                refresher.status()
            except Exception as error:
                errors.append(error)

    def come_and_go(user: str) -> None:
        try:
            for number in range(30):
                engine = create_engine(URL.replace("app@", f"{user}{number}@"))
                refresher.attach(engine)
                refresher.detach(engine)
            refresher.attach(engine)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask)]
    threads += [threading.Thread(target=come_and_go, args=(f"user{n}-",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        refresher.start()
        refresher.close()
    refresher.start()
    for thread in threads[1:]:
        thread.join()
    done.set()
    threads[0].join()
    assert errors == []
    assert len(refresher.status().endpoints) == 3
    refresher.close()


def test_an_engine_is_attached_in_the_thread_while_that_runs(aws: FakeAws, tmp_path: Path) -> None:
    """L20: so that the loop does not meet an agenda that is half written."""
    asked: list[str] = []

    class Asked:
        def __fspath__(self) -> str:
            asked.append(threading.current_thread().name)
            return str(ca_file)

    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("-----BEGIN CERTIFICATE-----")
    with ThreadedRefresher(credentials=aws) as refresher:
        refresher.attach(create_engine(URL), ca_file=Asked())
    assert set(asked) == {"rds_iam_async"}


def test_an_observer_that_asks_for_a_token_is_told_that_it_cannot(aws: FakeAws) -> None:
    """It would wait for the thread that it runs in."""
    told: list[Exception] = []

    def observe(event: object) -> None:
        try:
            refresher.token(endpoint)
        except Exception as error:
            told.append(error)

    refresher = ThreadedRefresher(credentials=aws, observe=observe)
    endpoint = refresher.attach(create_engine(URL))
    with refresher:
        pass
    assert told
    assert {type(error) for error in told} == {ConfigurationError}
