"""Fixtures for pytest: a local RDS for the whole run, a clean database for each test.

pytest finds this module by itself where the package is installed; `-p no:rds_iam_async`
leaves it out. The fixtures need the extra `local`. They are not async, so they work with
pytest-asyncio, with anyio's plugin and with neither; each worker of pytest-xdist has a
server of its own.

Override `rds_iam_schema` in a `conftest.py` to have tables, and `local_rds` to have another
server, such as `LocalRds(engine="mariadb")`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

# pytest imports this module in every run of every project that shares an environment with
# us, so what costs time is imported by who uses it.
if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ._pytest_plugin._database import Database, Schema
    from .testing import FakeClock, LocalAws, LocalRds

__all__ = [
    "local_aws",
    "local_rds",
    "rds_iam_clock",
    "rds_iam_database",
    "rds_iam_engine",
    "rds_iam_environment",
    "rds_iam_schema",
]

_FULL_LIFE = 900.0
_SHORTEST_LIFE = 2.0

_OPTION = "--rds-iam-token-lifetime"
_INI = "rds_iam_token_lifetime"
_ENVIRONMENT = "rds_iam_environment"
_MARKER = "rds_iam(token_lifetime): how many seconds the local RDS accepts a token in this test"

# What is known of the run: the server, with a token lifetime of its own; whether it was started
# before anything was imported; what the command line
# or the ini says; what the marker of the current test says.
_server = pytest.StashKey["tuple[LocalRds, float]"]()
_early = pytest.StashKey["LocalRds"]()
_said = pytest.StashKey[float]()
_marked = pytest.StashKey["float | None"]()


# The fixtures


@pytest.fixture(scope="session")
def local_rds(pytestconfig: pytest.Config) -> Iterator[LocalRds]:
    """A running `rds_iam_async.testing.LocalRds`, one for the run (of each xdist worker).

    Each test gets it without faults and with an empty log, whatever the test before it did.
    """
    from ._errors import ConfigurationError
    from .testing import LocalRds

    if _early in pytestconfig.stash:
        yield pytestconfig.stash[_early]
        return
    rds = LocalRds()
    try:
        rds.start()
    except ConfigurationError as error:
        pytest.fail(f"no local RDS: {error}", pytrace=False)
    with rds:
        yield rds


@pytest.fixture(scope="session")
def rds_iam_schema() -> Schema:
    """What each test is to find in its database: override this, by default there is nothing.

    Return SQL, or an async function that is given an engine; it runs once, for all tests. Or
    do it in the fixture, by means of `local_rds`, and return nothing. Only MariaDB cannot
    keep a copy: there, what is returned runs again for each test.
    """
    return None


@pytest.fixture
def rds_iam_database(local_rds: LocalRds, _rds_iam_database: Database) -> str:
    """The URL of a database that no test has used since `rds_iam_schema` was applied.

    It is `local_rds.url`, the same for all tests: the database behind it is replaced, which
    ends the sessions that are still open on it.
    """
    _rds_iam_database.renew()
    return local_rds.url


@pytest.fixture
def rds_iam_engine(local_rds: LocalRds, rds_iam_database: str) -> Iterator[AsyncEngine]:
    """A started `AsyncEngine` on a database that is clean for this test.

    The first token is minted, and the next ones are ahead of need. It has no pool, so any
    event loop may use it, and each use of it is a login.
    """
    from ._pytest_plugin._engine import started_engine

    with started_engine(local_rds) as engine:
        yield engine


@pytest.fixture
def rds_iam_environment(local_rds: LocalRds, rds_iam_database: str) -> Iterator[dict[str, str]]:
    """Environment variables by which the app finds a clean database, and keys for it.

    DATABASE_URL, AWS keys and region, RDS_IAM_CA_FILE; other AWS variables are taken away
    until the test is over.
    """
    with local_rds.installed() as variables:
        yield variables


@pytest.fixture
def local_aws(local_rds: LocalRds) -> Iterator[LocalAws]:
    """A running `rds_iam_async.testing.LocalAws` whose keys the local RDS trusts."""
    from .testing import LocalAws

    with LocalAws(local_rds) as aws:
        yield aws


@pytest.fixture
def rds_iam_clock(local_rds: LocalRds) -> FakeClock:
    """A `rds_iam_async.testing.FakeClock` that stands at the present, for the server, too.

    Give it to `TokenRefresher(clock=...)`, and move it in the loop where that was started.
    """
    from .testing import FakeClock

    clock = FakeClock(time.time())
    local_rds.wall = clock.wall
    return clock


@pytest.fixture(scope="session")
def _rds_iam_database(local_rds: LocalRds, rds_iam_schema: Schema) -> Database:
    from ._pytest_plugin._database import Database

    return Database(local_rds, rds_iam_schema)


# The environment of the whole run


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start the server before any module of the project is imported, where the ini says so."""
    if early_config.getini(_ENVIRONMENT):
        from ._errors import ConfigurationError
        from .testing import LocalRds

        rds = LocalRds()
        try:
            rds.start()
        except ConfigurationError as error:
            raise pytest.UsageError(f"no local RDS: {error}") from None
        until_the_end = contextlib.ExitStack()
        early_config.add_cleanup(until_the_end.close)
        until_the_end.enter_context(rds)
        until_the_end.enter_context(rds.installed())
        early_config.stash[_early] = rds


# The marker and the option


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the ini value behind it."""
    about = "seconds for which the local RDS accepts a token, from 2 to 900 (the default)"
    group = parser.getgroup("rds_iam_async")
    group.addoption(_OPTION, metavar="SECONDS", help=about)
    parser.addini(_INI, about)
    early = "set DATABASE_URL and AWS's variables for the whole run, before the first import"
    parser.addini(_ENVIRONMENT, early, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and read the option."""
    config.addinivalue_line("markers", _MARKER)
    for name, said in ((_OPTION, config.getoption(_OPTION)), (_INI, config.getini(_INI))):
        if said:
            try:
                config.stash[_said] = _seconds(name, said)
            except ValueError as error:
                raise pytest.UsageError(str(error)) from None
            return


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Remember the server, also where `local_rds` is a project's own."""
    result = yield
    if fixturedef.argname == "local_rds":
        from .testing import LocalRds

        if isinstance(result, LocalRds):
            if request.config.stash.get(_early, result) is not result:
                pytest.fail(f"{_ENVIRONMENT} is for the plugin's own local_rds", pytrace=False)
            request.config.stash[_server] = result, result.token_lifetime
            _prepare(request.config)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take back what the test before did to the server; make it what this one's marker says."""
    marker = item.get_closest_marker("rds_iam")
    item.config.stash[_marked] = None if marker is None else _lifetime_of(marker)
    _prepare(item.config)


def _prepare(config: pytest.Config) -> None:
    """Make the server, if it runs, as good as new for the current test."""
    if _server in config.stash:
        rds, own = config.stash[_server]
        rds.clear_faults()
        rds.log.clear()
        marked = config.stash.get(_marked, None)
        rds.token_lifetime = config.stash.get(_said, own) if marked is None else marked


def _lifetime_of(marker: pytest.Mark) -> float:
    try:
        if marker.args or [*marker.kwargs] != ["token_lifetime"]:
            raise ValueError("it takes token_lifetime=, and nothing else")
        return _seconds("token_lifetime", marker.kwargs["token_lifetime"])
    except ValueError as error:
        pytest.fail(f"@pytest.mark.rds_iam: {error}", pytrace=False)


def _seconds(name: str, said: Any) -> float:
    try:
        value = float(said)
    except (TypeError, ValueError):
        value = 0.0
    if not _SHORTEST_LIFE <= value <= _FULL_LIFE:
        raise ValueError(f"{name}: {said!r} is no number of seconds from 2 to 900")
    return value
