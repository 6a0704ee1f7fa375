"""Starting, closing and detaching, in whatever order they come while one of them is under way."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import anyio
import pytest
import trustme
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rds_iam_async import (
    ConfigurationError,
    Credentials,
    CredentialsError,
    Endpoint,
    MintError,
    RefreshPolicy,
    TokenRefresher,
)
from rds_iam_async._clock import SystemClock
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._refresher import Refresher
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import CredentialsResolved, Event, TokenMinted

pytestmark = pytest.mark.anyio

KEYS = Credentials(access_key_id="AKIA", secret_access_key="secret")


class Keys:
    """A source: counts its looks, takes `delay` seconds for each, and fails the first `failing`."""

    def __init__(self, *, delay: float = 0, failing: int = 0) -> None:
        self.delay, self.failing = delay, failing
        self.looks = self.cancelled = 0

    async def snapshot(self) -> Credentials:
        self.looks += 1
        number = self.looks
        try:
            await asyncio.sleep(self.delay if number > 1 else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if number <= self.failing:
            raise CredentialsError("down")
        return KEYS


class SlowRoots:
    """A CA file that nobody can read to its end before it is `let_go`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pem = trustme.CA().cert_pem.bytes()
        path.write_bytes(self._pem)

    def block(self) -> None:
        self._path.unlink()
        os.mkfifo(self._path)

    async def let_go(self) -> None:
        await asyncio.to_thread(self._path.write_bytes, self._pem)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowRoots:
    path = tmp_path / "roots.pem"
    monkeypatch.setenv("RDS_IAM_CA_FILE", str(path))
    return SlowRoots(path)


def engine(user: str = "app") -> AsyncEngine:
    host = "mydb.abc.eu-west-1.rds.amazonaws.com"
    return create_async_engine(f"postgresql+asyncpg://{user}@{host}/orders")


def linked(one: AsyncEngine) -> int:
    """Return how many listeners of `do_connect` the engine has."""
    return len(one.sync_engine.dialect.dispatch.do_connect)


async def begun(refresher: TokenRefresher) -> asyncio.Task[None]:
    """Return a start that has done all that it can, and waits for the roots."""
    starting = asyncio.create_task(refresher.start())
    await anyio.wait_all_tasks_blocked()
    assert not starting.done()
    return starting


async def test_a_start_that_is_closed_while_roots_are_read_fails(roots: SlowRoots) -> None:
    """L19: nothing runs after `aclose`, and who waits for the start hears of it."""
    one = engine()
    refresher = TokenRefresher(one, credentials=Keys())
    roots.block()
    starting = await begun(refresher)
    await refresher.aclose()
    await roots.let_go()
    with pytest.raises(MintError, match="closed while it started"):
        await starting
    assert linked(one) == 0
    assert refresher.status().endpoints[0].next_mint_at is None  # nobody is going to


@pytest.mark.parametrize("engines", [1, 40, 200])
async def test_a_start_that_is_closed_at_any_turn_leaves_nothing(
    roots: SlowRoots, engines: int
) -> None:
    """Whether the start came to its end before or not, the end is the end."""
    for turns in range(12):
        all_of_them = [engine(f"user{n}") for n in range(engines)]
        refresher = TokenRefresher(*all_of_them, credentials=Keys())
        starting = asyncio.create_task(refresher.start())
        for _ in range(1 + turns):
            await asyncio.sleep(0)
        await refresher.aclose()
        await asyncio.gather(starting, return_exceptions=True)
        assert sum(map(linked, all_of_them)) == 0
        assert refresher.status().endpoints[0].next_mint_at is None


async def test_an_engine_detached_while_roots_are_read_stays_detached(roots: SlowRoots) -> None:
    """`detach` works at any time: the start must not link it again."""
    one, other = engine(), engine("other")
    refresher = TokenRefresher(one, other, credentials=Keys())
    roots.block()
    starting = await begun(refresher)
    refresher.detach(other)
    refresher.attach(other, tls=ssl.create_default_context())
    refresher.detach(other)
    await roots.let_go()
    await starting
    assert (linked(one), linked(other)) == (1, 0)
    await refresher.aclose()


@pytest.mark.parametrize("engines", [1, 200])
async def test_a_start_while_it_closes_gets_its_keys(roots: SlowRoots, engines: int) -> None:
    """What the closing ends is what was under way before it, not what came after."""
    for turns in range(8):
        all_of_them = [engine(f"user{n}") for n in range(engines)]
        keys = Keys(delay=0.02, failing=1)
        policy = RefreshPolicy(retry_base=0.01)
        refresher = TokenRefresher(*all_of_them, credentials=keys, policy=policy)
        with pytest.raises(CredentialsError):
            await refresher.start()
        closing = asyncio.create_task(refresher.aclose())
        for _ in range(1 + turns):
            await asyncio.sleep(0)
        await refresher.start()
        await closing
        assert refresher.status().ready
        assert sum(map(linked, all_of_them)) == engines
        await refresher.aclose()


async def test_a_second_start_that_fails_leaves_the_running_one_alone(
    roots: SlowRoots, tmp_path: Path
) -> None:
    """While it runs, a look that is under way is its own."""
    keys = Keys(delay=0.3)
    quick = RefreshPolicy(lifetime=2, lead=1, margin=0.1, spread=0)
    refresher = TokenRefresher(engine(), credentials=keys, policy=quick)
    await refresher.start()
    async with asyncio.timeout(10):
        while keys.looks < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nx")
    refresher.attach(engine("other"), ca_file=broken)
    with pytest.raises(ConfigurationError):
        await refresher.start()
    assert keys.cancelled == 0
    await refresher.aclose()


async def test_a_look_that_failed_is_forgiven_if_another_has_found_keys(roots: SlowRoots) -> None:
    """A start fails for what is true when it looks, not for what was true a moment ago."""
    one = engine()
    keys = Keys(failing=1)
    refresher = TokenRefresher(one, credentials=keys, policy=RefreshPolicy(retry_base=0.01))
    roots.block()
    starting = await begun(refresher)
    assert keys.looks == 1
    await refresher.token(refresher.status().endpoints[0].endpoint)
    await roots.let_go()
    await starting
    assert refresher.status().ready
    await refresher.aclose()


async def test_what_an_observer_detaches_in_the_same_turn_is_not_waited_for() -> None:
    """Also if it has keys of its own that never come: nothing of it is left."""
    clock, policy = SystemClock(), RefreshPolicy()

    def observe(what: Event) -> None:
        if isinstance(what, TokenMinted) and other in refresher.supplies:
            refresher.remove(other)
        elif isinstance(what, CredentialsResolved):
            resolved.append(what)

    class Never:
        async def snapshot(self) -> Credentials:
            await asyncio.Event().wait()
            raise AssertionError

    def supply(user: str, keys: CredentialCache) -> TokenSupply:
        endpoint = Endpoint(host="db", port=5432, user=user, region="eu-west-1")
        return TokenSupply(
            endpoint, keys, policy=policy, clock=clock, observe=observe, on_cold=refresher.revive
        )

    resolved: list[Event] = []
    refresher = Refresher(policy=policy, clock=clock, observe=observe)
    good = CredentialCache(Keys(), policy=policy, clock=clock, observe=observe)
    await good.refresh()
    other = supply("other", CredentialCache(Never(), policy=policy, clock=clock, observe=observe))
    refresher.add(other)
    refresher.add(supply("one", good))  # comes first: the last of a group does
    refresher.begin()
    async with asyncio.timeout(5):
        while other in refresher.supplies:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await held_by(refresher, other) == 0
    await refresher.aclose()


async def held_by(refresher: Refresher, supply: TokenSupply) -> int:
    """Return in how many of the refresher's collections the supply is."""
    await asyncio.sleep(0.01)
    return sum(
        supply in collection
        for collection in vars(refresher).values()
        if isinstance(collection, dict | list | set)
    )
