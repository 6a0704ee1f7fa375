"""An hour of trouble is tens of lines, whatever fails, in the log of a real refresher."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Endpoint, MintError, RefreshPolicy, TokenRefresher
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import all_of, log_events
from rds_iam_async.telemetry._observer import for_refresher
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws

pytestmark = pytest.mark.anyio

HOUR = 3600
TENS = 99


class Watched:
    """A refresher, as far as an observer knows it."""

    def __init__(self, clock: FakeClock) -> None:
        self.boot = clock.boot

    def usable(self) -> tuple[()]:
        return ()

    def failed_looks(self) -> tuple[()]:
        return ()


class BuggyClock(FakeClock):
    """Has a bug, when told so, where the refresher's loop waits, and nobody else."""

    bug: Exception | None = None

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if self.bug is not None:
            raise self.bug
        await super().wait(event, seconds)

    async def sleep(self, seconds: float) -> None:
        await super().wait(anyio.Event(), seconds)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What an operator sees of INFO and above."""
    caplog.set_level(logging.INFO, "rds_iam_async")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]


def endpoints(count: int) -> list[Endpoint]:
    return [
        Endpoint(host="db", port=5432, user=f"user{n}", region="eu-west-1") for n in range(count)
    ]


async def connects(refresher: TokenRefresher, endpoint: Endpoint, *, count: int) -> None:
    """So many connections at once, each of which finds no token."""

    async def connect() -> None:
        with contextlib.suppress(MintError):
            await refresher.token(endpoint)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(connect)


@pytest.mark.parametrize("observe", [log_events, all_of(log_events)], ids=["alone", "one of all"])
async def test_an_hour_without_aws_and_with_connections(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]], observe
) -> None:
    """The first of each trouble is there at once, and its end with what was left out."""
    [endpoint] = endpoints(1)
    aws.lifetime = 900
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    refresher.password(endpoint)
    async with refresher:
        aws.goes_down()
        await clock.advance(900)
        began = len(log())
        tried = 0
        while tried < HOUR / 10 * 20:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: connects(refresher, endpoint, count=20))
                await clock.advance(10)
            tried += 20
        assert 0 < len(log()) - began < TENS / 2
        aws.comes_back()
        await clock.advance(16)
    said = log()
    assert len(said) <= TENS
    for words in ("no AWS credentials (failure 1,", "no new token for", "got no token after"):
        assert any(words in line for line in said), words
    assert sum(line.startswith("AWS gives credentials again after ") for line in said) == 1
    assert sum(line.startswith("tokens for user0@db") for line in said) == 1
    [end] = [line for line in said if line.startswith("connections to user0@db")]
    assert end.startswith(f"connections to {endpoint} get tokens again after {tried} failures in ")
    hidden = tried - sum("got no token" in line for line in said)
    assert end.endswith(f" of which {hidden} were not logged")


async def test_an_hour_without_aws_for_a_hundred_endpoints(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]]
) -> None:
    """An outage of all is told as one."""
    aws.lifetime = 900
    refresher = TokenRefresher(credentials=aws, clock=clock)
    for endpoint in endpoints(100):
        refresher.password(endpoint)
    async with refresher:
        aws.goes_down()
        await clock.advance(900 + HOUR)
        aws.comes_back()
        await clock.advance(16)
        assert refresher.status().ready
    assert len(log()) < TENS


@pytest.mark.parametrize(("down", "up", "life"), [(120, 130, 60), (30, 150, 20), (60, 60, 60)])
async def test_an_hour_in_which_aws_comes_and_goes(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]], down: int, up: int, life: float
) -> None:
    """However long it stays away in between, it is not told each time."""
    [endpoint] = endpoints(1)
    aws.lifetime = life
    refresher = TokenRefresher(credentials=aws, clock=clock)
    refresher.password(endpoint)
    async with refresher:
        for _ in range(0, HOUR, down + up):
            for change, seconds in ((aws.goes_down, down), (aws.comes_back, up)):
                change()
                for _ in range(0, seconds, 10):
                    async with anyio.create_task_group() as group:
                        group.start_soon(lambda: connects(refresher, endpoint, count=1))
                        await clock.advance(10)
    assert len(log()) < TENS


async def test_an_hour_of_rejections(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]]
) -> None:
    """For ever, as without a grant; keys are looked at anew meanwhile, and that is not told."""
    observe = for_refresher(log_events, Watched(clock))
    supply = TokenSupply(
        endpoints(1)[0],
        CredentialCache(aws, policy=RefreshPolicy(), clock=clock, observe=observe),
        policy=RefreshPolicy(),
        clock=clock,
        observe=observe,
        on_cold=lambda: None,
    )

    async def connect() -> None:
        token = await supply.obtain()
        await supply.replace(token.password)

    refused = 0
    for _ in range(HOUR // 10):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(connect)
            await clock.advance(10)
        refused += 20
    supply.accepted((await supply.obtain()).password)
    said = log()
    assert len(said) < TENS / 2
    assert sum("refused a token" in line for line in said) == 8
    assert said[-1].startswith(f"{supply.endpoint} accepts tokens again after {refused} failures")


async def test_an_hour_of_crashes(
    aws: FakeAws, log: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """A traceback each time it is told, and not each time it crashes."""

    caplog.set_level(logging.DEBUG, "rds_iam_async")
    clock = BuggyClock()
    aws.clock = clock
    refresher = TokenRefresher(credentials=aws, clock=clock)
    refresher.password(endpoints(1)[0])
    async with refresher:
        clock.bug = ZeroDivisionError("a bug")
        await clock.advance(15)  # its last sleep without the bug ends
        await clock.advance(HOUR)
        crashes = [r for r in caplog.records if "the refresher crashed" in r.getMessage()]
        clock.bug = None
        await clock.advance(31)
    loud = [record for record in crashes if record.levelno == logging.ERROR]
    assert 1 < len(loud) < TENS < len(crashes)
    assert all(record.exc_info for record in loud)
    [end] = [line for line in log() if line.startswith("the refresher runs again after ")]
    assert f"after {len(crashes)} failures" in end


async def test_each_refresher_has_a_memory_of_its_own(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]]
) -> None:
    """The outage of one does not hide the other's."""
    aws.goes_down()
    for _ in range(2):
        refresher = TokenRefresher(credentials=aws, clock=clock)
        with pytest.raises(MintError):
            await refresher.token(endpoints(1)[0])
    assert sum("no AWS credentials (failure 1," in line for line in log()) == 2


async def test_one_source_that_gives_keys_is_no_end_of_another_s_outage(
    clock: FakeClock, aws: FakeAws, log: Callable[[], list[str]]
) -> None:
    """Events say which of a refresher's sources they are about."""
    other = FakeAws(clock, lifetime=60)
    engine = create_async_engine("postgresql+asyncpg://app@db/orders")
    refresher = TokenRefresher(credentials=aws, clock=clock, region="eu-west-1")
    refresher.attach(engine, credentials=other, token_host="db")
    aws.goes_down()
    with pytest.raises(MintError):
        await refresher.token(endpoints(1)[0])
    async with refresher:
        await clock.advance(600)
        assert sum(line.startswith("resolved") for line in log()) > 1
        assert not any(line.startswith("AWS gives") for line in log())
        aws.comes_back()
        await refresher.token(endpoints(1)[0])
        assert any(line.startswith("AWS gives") for line in log())
