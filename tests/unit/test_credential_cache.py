"""L3, L8, L9: the keys in hand, and when to look again."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from rds_iam_async import Credentials, CredentialsError, RefreshPolicy
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async._precedence import better
from rds_iam_async.telemetry import CredentialsFailed, CredentialsResolved
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws, Seen
from .virtual_time import WITHOUT_WAITING

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The bounds here are of the loop's time: fractions of a second, and exact."""
    return WITHOUT_WAITING


@pytest.fixture
def cache(aws: FakeAws, clock: FakeClock, seen: Seen) -> CredentialCache:
    return CredentialCache(aws, policy=RefreshPolicy(wait=0.5), clock=clock, observe=seen)


def keys(name: str, end: float | None) -> Credentials:
    return Credentials(access_key_id=name, secret_access_key="s", session_token="t", expires_at=end)


@pytest.mark.parametrize(
    ("held", "fresh", "suspect", "winner"),
    [
        (None, keys("B", 60), None, "B"),
        (keys("A", 100), keys("B", 60), None, "A"),  # the longer-lived signs
        (keys("A", 60), keys("B", 100), None, "B"),
        (keys("A", 100), keys("B", 60), "A", "B"),  # a revoked session's keys do not
        (keys("A", None), keys("B", 60), None, "B"),  # a rotated file wins
        (keys("A", 60), keys("B", None), None, "B"),
        (keys("A", 100), keys("A", 60), None, "A"),
    ],
)
def test_the_longer_lived_keys_sign(
    held: Credentials | None, fresh: Credentials, suspect: str | None, winner: str
) -> None:
    """L3: unless they are suspect, or no end is known."""
    assert better(held, fresh, suspect=suspect).access_key_id == winner


async def test_of_one_key_the_earliest_end_ever_reported_counts(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """L3: botocore pushes the end of dying EC2 keys into the future; a key's end never moves."""
    now = clock.wall()
    reports = iter([keys("ASIA", now + 300), keys("ASIA", now + 1286), keys("ASIA", None)])

    async def snapshot() -> Credentials:
        return next(reports)

    aws.snapshot = snapshot  # type: ignore[method-assign]
    for _ in range(3):
        await cache.refresh()
        assert cache.held is not None
        assert cache.held.expires_at == now + 300


async def test_a_long_term_key_has_no_end_whatever_its_source_says(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """A credential_process around one gives it a new end each time: when to ask again."""

    async def snapshot() -> Credentials:
        return Credentials(
            access_key_id="AKIA", secret_access_key="s", expires_at=clock.wall() + 60
        )

    aws.snapshot = snapshot  # type: ignore[method-assign]
    for _ in range(5):
        await cache.refresh()
        assert cache.usable() is not None
        await clock.advance(40)


async def test_keys_that_are_handed_out_dead_are_a_failure(
    cache: CredentialCache, aws: FakeAws, seen: Seen
) -> None:
    """Not a success that is repeated twice a second, in silence."""
    aws.lifetime = 0.5
    with pytest.raises(CredentialsError, match=r"ASIAFAKE1.* already expired"):
        await cache.refresh()
    assert cache.failures == 1
    assert [type(event) for event in seen] == [CredentialsFailed]


async def test_fifty_who_need_keys_cost_one_fetch(cache: CredentialCache, aws: FakeAws) -> None:
    """L9, L10: one resolution serves all."""
    await asyncio.gather(*(cache.refresh() for _ in range(50)))
    assert aws.calls == 1


async def test_keys_in_hand_sign_until_they_expire_while_the_endpoint_is_down(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """L9: botocore would raise ten minutes earlier."""
    await cache.refresh()
    aws.goes_down()
    await clock.advance(3598)
    with pytest.raises(CredentialsError):
        await cache.refresh()
    assert cache.usable() is not None
    await clock.advance(1)
    assert cache.usable() is None


async def test_a_call_that_hangs_is_bounded(
    cache: CredentialCache, aws: FakeAws, seen: Seen
) -> None:
    """L8: `wait` covers each credential call, and the error says so."""
    aws.delay = 1e9
    with pytest.raises(CredentialsError, match=r"did not come within 0.5 s"):
        await cache.refresh()
    assert cache.failures == 1
    assert [type(event) for event in seen] == [CredentialsFailed]


@pytest.mark.parametrize("broken", [RuntimeError("boom"), OSError("down")])
async def test_any_error_of_a_source_means_no_keys_at_the_moment(
    cache: CredentialCache, aws: FakeAws, broken: Exception
) -> None:
    """Somebody else's exception is translated once, at the door, and kept as the cause."""
    aws.error = broken
    with pytest.raises(CredentialsError, match=type(broken).__name__) as caught:
        await cache.refresh()
    assert caught.value.__cause__ is broken


async def test_a_source_that_returns_nonsense_is_refused(
    cache: CredentialCache, aws: FakeAws
) -> None:
    """A bug there must not become a login with half a key."""

    async def snapshot() -> Credentials:
        return None  # type: ignore[return-value]

    aws.snapshot = snapshot  # type: ignore[method-assign]
    with pytest.raises(CredentialsError, match="TypeError"):
        await cache.refresh()


async def test_failures_that_come_at_once_are_half_a_second_apart(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """A storm of connects must not become a storm of fetches: the next one waits its turn."""
    aws.goes_down()
    with pytest.raises(CredentialsError):
        await cache.refresh()
    again = asyncio.ensure_future(cache.refresh())
    await clock.advance(0.499)
    assert aws.calls == 1
    aws.comes_back()
    await clock.advance(0.001)
    await again
    assert aws.calls == 2


async def test_the_next_look_follows_the_outcome(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock, seen: Seen
) -> None:
    """Keys of an hour: by half of it; after a failure: calmly, for they are still good."""
    now = clock.wall()
    await cache.refresh()
    assert now + 900 < cache.due_at <= now + 1800
    aws.goes_down()
    with pytest.raises(CredentialsError):
        await cache.refresh()
    assert now + 0.4 * 3570 <= cache.due_at < now + 0.8 * 3570
    resolved, failed = seen
    assert isinstance(resolved, CredentialsResolved)
    assert (resolved.provider, resolved.access_key_id) == ("fake", "ASIAFAKE1")
    assert isinstance(failed, CredentialsFailed)
    assert failed.usable_for == 3600


@pytest.mark.parametrize("lifetime", [None, 30])
async def test_keys_that_may_be_gone_are_looked_at_again_soon(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock, lifetime: float | None
) -> None:
    """L8: keys of no known end, which a file may have replaced, and keys within the margin."""
    aws.lifetime = lifetime
    await cache.refresh()
    aws.goes_down()
    with pytest.raises(CredentialsError):
        await cache.refresh()
    assert clock.wall() < cache.due_at <= clock.wall() + 0.5


async def test_after_a_refusal_a_failed_look_is_repeated_soon(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: keys whose role session may be revoked are not good for the hour that they claim."""
    await cache.refresh()
    cache.suspect()
    aws.goes_down()
    with pytest.raises(CredentialsError):
        await cache.refresh()
    assert clock.wall() < cache.due_at <= clock.wall() + 0.5


async def test_a_fetch_that_hung_through_a_freeze_is_not_waited_for(
    cache: CredentialCache, aws: FakeAws, clock: FakeClock
) -> None:
    """Its sockets are dead, and its time limit stood still while the process did."""
    aws.delay = 1e9
    stuck = asyncio.ensure_future(cache.refresh())
    await anyio.wait_all_tasks_blocked()
    clock.suspend(3600)
    aws.delay = 0.0
    await cache.refresh()
    assert aws.calls == 2
    await asyncio.gather(stuck, return_exceptions=True)


class SlowToImport(SessionCredentials):
    """A session whose SDK takes longer to import than a look may."""

    async def prepare(self) -> None:
        await asyncio.sleep(0.7)

    async def snapshot(self) -> Credentials:
        return keys("ASIA", None)


async def test_importing_the_sdk_is_no_part_of_a_look(clock: FakeClock, seen: Seen) -> None:
    """It takes seconds on a small machine, and says nothing about AWS: the bound is for a look."""
    cache = CredentialCache(
        SlowToImport(), policy=RefreshPolicy(wait=0.5), clock=clock, observe=seen
    )
    await cache.refresh()
    (event,) = seen.of(CredentialsResolved)
    assert event.took < 0.5  # type: ignore[attr-defined]
    assert seen.of(CredentialsFailed) == []
