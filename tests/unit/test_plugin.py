"""By URL alone: what the plugin takes from a URL, and what it refuses when an engine is made."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from rds_iam_async import ConfigurationError, TokenRefresher
from rds_iam_async._plugin import Arguments, RdsIamPlugin, said_in
from rds_iam_async.sync import ThreadedRefresher

from .test_attach import BAD_URLS, GLOBAL, NAMELESS, OPTIONS, nobody
from .test_attach import URL as RDS_URL

BY_URL = f"{RDS_URL}?plugin=rds_iam"


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without region, profile, CA file or credentials."""
    for name in ("REGION", "DEFAULT_REGION", "PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("RDS_IAM_CA_FILE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def with_plugin(url: str, arguments: str = "") -> str:
    return f"{url}{'&' if '?' in url else '?'}plugin=rds_iam{arguments}"


def test_the_installed_package_says_where_the_plugin_is() -> None:
    """SQLAlchemy finds it by its entry point; nobody imports anything of ours."""
    (found,) = entry_points(group="sqlalchemy.plugins", name="rds_iam")
    assert found.load() is RdsIamPlugin


def test_a_url_says_everything_that_a_url_can_say() -> None:
    """Each argument is taken for what it is."""
    url = make_url(
        f"{BY_URL}&rds_iam_region=eu-west-1&rds_iam_token_host=db.example&rds_iam_token_port=5433"
        "&rds_iam_profile=prod&rds_iam_ca_file=%2Fca.pem&rds_iam_lifetime=4.5&application_name=x"
    )
    assert said_in(url.query) == Arguments(
        region="eu-west-1",
        token_host="db.example",
        token_port=5433,
        profile="prod",
        ca_file="/ca.pem",
        lifetime=4.5,
    )


def test_what_is_left_out_is_left_to_its_default() -> None:
    """Also with arguments that are not ours."""
    assert said_in({"application_name": "x", "plugin": "rds_iam"}) == Arguments()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"rds_iam_regoin": "eu-west-1"}, "rds_iam_regoin"),
        ({"rds_iam_Region": "eu-west-1"}, "rds_iam_Region"),
        ({"rds-iam-region": "eu-west-1"}, "rds-iam-region"),
        ({"rds_iam": "yes"}, "rds_iam="),
        ({"rds_iam_region": ""}, "rds_iam_region= is empty"),
        ({"rds_iam_profile": " "}, "rds_iam_profile= is empty"),
        ({"rds_iam_region": ("eu-west-1", "us-east-1")}, "repeats rds_iam_region="),
        ({"rds_iam_token_port": "five"}, "rds_iam_token_port='five'"),
        ({"rds_iam_token_port": "5432.0"}, "rds_iam_token_port='5432.0'"),
        ({"rds_iam_token_port": "65536"}, "port"),
        ({"rds_iam_lifetime": "long"}, "rds_iam_lifetime='long'"),
        ({"rds_iam_lifetime": "nan"}, "lifetime"),
        ({"rds_iam_lifetime": "901"}, "lifetime"),
        ({"rds_iam_ca_file": "/nowhere.pem"}, "/nowhere.pem"),
    ],
)
@pytest.mark.parametrize("make", [create_async_engine, create_engine])
def test_an_argument_that_is_wrong_is_refused_when_the_engine_is_made(
    make: Any, arguments: dict[str, Any], named: str
) -> None:
    """Not passed over in silence, nor left to the driver's TypeError at the first connect."""
    driver = "asyncpg" if make is create_async_engine else "psycopg2"
    url = make_url(BY_URL).set(drivername=f"postgresql+{driver}").update_query_dict(arguments)
    with pytest.raises(ConfigurationError, match=named):
        make(url)


def test_who_mistypes_an_argument_is_told_those_that_there_are() -> None:
    """In the hint, with their whole names."""
    with pytest.raises(ConfigurationError) as caught:
        create_async_engine(f"{BY_URL}&rds_iam_host=x")
    assert caught.value.hint == (
        "it knows rds_iam_region, rds_iam_token_host, rds_iam_token_port, rds_iam_profile, "
        "rds_iam_ca_file, rds_iam_lifetime"
    )


@pytest.mark.parametrize(("url", "named"), BAD_URLS)
def test_a_url_that_cannot_work_is_refused_when_the_engine_is_made(url: str, named: str) -> None:
    """As at attach; the message does not show a password."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        create_async_engine(with_plugin(url, "&rds_iam_region=eu-west-1"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("options", "named"), OPTIONS)
def test_options_that_cannot_work_are_refused_when_the_engine_is_made(
    options: dict[str, Any], named: str
) -> None:
    """L14, L15: what gets round `do_connect`, names another address or weakens TLS."""
    with pytest.raises(ConfigurationError, match=named):
        create_async_engine(BY_URL, **options)


def test_a_pool_of_ones_own_is_refused() -> None:
    """L15: its connections do not pass our listener."""
    with pytest.raises(ConfigurationError, match="pool"):
        create_async_engine(BY_URL, pool=AsyncAdaptedQueuePool(nobody))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql+psycopg2://app:hunter2@db/x", "password"),
        ("postgresql+psycopg2://app@db/x?sslmode=require", "sslmode"),
        ("sqlite://", "sqlite"),
    ],
)
def test_sync_engines_are_refused_the_same(url: str, named: str) -> None:
    """And so is a driver that we do not know."""
    with pytest.raises(ConfigurationError, match=named):
        create_engine(with_plugin(url, "&rds_iam_region=eu-west-1"))


@pytest.mark.parametrize("url", [NAMELESS, f"postgresql+asyncpg://app@{GLOBAL}/x"])
def test_no_region_is_refused_when_the_engine_is_made(
    url: str,
) -> None:
    """Neither in the URL, the host's name nor the session; a name of its own says it."""
    with pytest.raises(ConfigurationError, match="region"):
        create_async_engine(with_plugin(url))
    create_async_engine(with_plugin(url, "&rds_iam_region=eu-west-1"))


def test_a_profile_that_is_not_there_is_refused_where_it_is_to_say_the_region() -> None:
    """Elsewhere it is read when it is needed: with the first connection."""
    with pytest.raises(ConfigurationError, match="nobody"):
        create_async_engine(with_plugin(NAMELESS, "&rds_iam_profile=nobody"))
    create_async_engine(f"{BY_URL}&rds_iam_profile=nobody")


def test_the_region_of_a_profile(tmp_path: Path) -> None:
    """Where the host's name says none."""
    (tmp_path / "config").write_text("[profile prod]\nregion = eu-north-1\n")
    create_async_engine(with_plugin(NAMELESS, "&rds_iam_profile=prod"))


@pytest.mark.parametrize(
    "driver",
    [
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "mysql+asyncmy",
        "mysql+aiomysql",
        "postgresql+psycopg2",
        "mysql+pymysql",
    ],
)
def test_every_driver_that_can_be_attached_can_be_named(driver: str) -> None:
    """And what the plugin was told does not reach it, or it would refuse to connect."""
    pytest.importorskip(driver.partition("+")[2])
    url = make_url(BY_URL).set(drivername=driver).update_query_dict({"rds_iam_profile": "prod"})
    is_async = driver.endswith(("asyncpg", "psycopg", "asyncmy", "aiomysql"))
    engine = create_async_engine(url).sync_engine if is_async else create_engine(url)
    _, arguments = engine.dialect.create_connect_args(engine.url)
    assert [name for name in arguments if name.startswith(("rds_iam", "plugin"))] == []
    assert engine.url.query == {}


def test_named_by_keyword() -> None:
    """`plugins=["rds_iam"]`; the arguments are the URL's all the same."""
    engine = create_async_engine(f"{RDS_URL}?rds_iam_profile=prod", plugins=["rds_iam"])
    assert engine.url == make_url(RDS_URL)
    with pytest.raises(ConfigurationError, match="password"):
        create_async_engine(URL.create("postgresql+asyncpg", "a", "b", "c"), plugins=["rds_iam"])


def test_named_twice_is_refused() -> None:
    """By URL and by keyword: two refreshers would share one engine."""
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        create_async_engine(BY_URL, plugins=["rds_iam"])


def test_an_engine_with_the_plugin_needs_no_refresher_and_bears_none() -> None:
    """Nor do its copies by `execution_options()`."""
    engine = create_async_engine(BY_URL)
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        TokenRefresher(engine.execution_options(isolation_level="AUTOCOMMIT"))
    with pytest.raises(ConfigurationError, match="has a refresher already"):
        ThreadedRefresher(create_engine(BY_URL.replace("asyncpg", "psycopg2"))).attach(
            create_engine(BY_URL.replace("asyncpg", "psycopg2"))
        )


def test_disposing_of_an_engine_that_never_connected() -> None:
    """Nothing runs, so nothing has to end."""
    create_async_engine(BY_URL).sync_engine.dispose()
    create_engine(BY_URL.replace("asyncpg", "psycopg2")).dispose()


def test_making_an_engine_does_not_import_the_aws_sdk_nor_begin_anything() -> None:
    """A module-level engine costs what it costs without us; the rest is the first connection's."""
    code = (
        "import sys, threading\n"
        "from sqlalchemy import create_engine\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        f"create_async_engine({BY_URL!r} + '&rds_iam_profile=prod')\n"
        f"create_engine({BY_URL.replace('asyncpg', 'psycopg2')!r})\n"
        "heavy = {'aioboto3', 'aiobotocore', 'boto3', 'botocore', 'aiohttp'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
        "print(threading.active_count())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n1\n", "")
