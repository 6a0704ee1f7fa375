"""The fault matrix of docs/explanation/failures.md: AWS, its keys, and the page itself.

Under each fault new connections are opened all the time. Those that began while the token
in hand was good must all succeed; after the fault, connects go on without a restart.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import Endpoint, EndpointStatus, RefreshPolicy, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import CredentialsFailed, CredentialsResolved, MintFailed
from rds_iam_async.testing import FakeClock, LocalAws, LocalRds

from .test_credentials_done_right import Witness, state_of
from .workload import (
    STEP,
    SteadyLoad,
    lacked_a_token,
    looking,
    outcomes,
    time_passes,
    until_true,
)

pytestmark = pytest.mark.anyio

QUICK = RefreshPolicy(retry_base=0.1, retry_cap=3.0)
"""Retries at a fifth of the defaults."""

IMPATIENT = replace(QUICK, wait=1.0)

PATIENT = RefreshPolicy(wait=30.0)
"""A look that a refusal forces may take two fifths of it: a busy machine's is not the fault."""

BUSY = 5.0
"""Seconds by which a busy machine may end a wait late."""


@pytest.fixture
async def sts(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalAws]:
    """STS as the chain of this process; errors are seen at once, not after the SDK's retries."""
    with aws.installed("web-identity"):
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        await SessionCredentials().snapshot()  # the first look is slow: the SDK reads its models
        yield aws


@pytest.fixture
async def agent(aws: LocalAws) -> AsyncIterator[LocalAws]:
    """A container's agent as the chain of this process: the SDK spends little on it."""
    with aws.installed("container"):
        await SessionCredentials().snapshot()
        yield aws


# The page


TABLE = Path(__file__).parents[2] / "docs" / "explanation" / "failures.md"


def test_each_row_of_the_page_is_a_test_named_after_it_and_each_test_a_row() -> None:
    rows = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[0] not in ("fault", "---")]
    named = {row[0]: row[3].strip("`") for row in rows}
    for fault, test in named.items():
        assert test == "test_" + re.sub(r"[^a-z0-9]+", "_", fault.lower()).strip("_")
    assert Counter(named.values()) == Counter(names_of_tests())


def names_of_tests() -> list[str]:
    found = []
    for path in Path(__file__).parent.glob("test_faults*.py"):
        found += [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
        ]
    found.remove("test_each_row_of_the_page_is_a_test_named_after_it_and_each_test_a_row")
    return found


# Shorter than what is left of the token in hand


async def test_credential_endpoint_slow_2_s(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """Renewed ahead of need: nobody notices, nor does `status()`."""
    sts.lifetime = 600
    witness = Witness()
    async with (
        TokenRefresher(fresh_connects, policy=QUICK, observe=witness, clock=clock) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        first = state_of(refresher)
        sts.delay = 2
        sts.calls.clear()
        await load.rest()
        while not looking():
            await clock.advance(STEP)
        load.go_on()
        await load.see(connects=3)
        await load.rest()
        await clock.advance(2)
        load.go_on()
        await time_passes(clock, load, until=lambda: clock.wall() > end_of(first))
        await load.see(connects=3)
    assert load.errors == []
    for status in load.statuses:
        (meanwhile,) = status.endpoints
        assert meanwhile.ready
        assert (meanwhile.consecutive_failures, meanwhile.last_error) == (0, None)
        assert meanwhile.cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_down_for_30_s(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L8: no connect fails, and `status()` warns meanwhile."""
    sts.lifetime = 1800
    witness = Witness()
    async with (
        TokenRefresher(fresh_connects, policy=QUICK, observe=witness, clock=clock) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        first = state_of(refresher)
        sts.failure = "refused"
        twice = lambda: len(witness.of(CredentialsFailed)) == 2  # noqa: E731
        await time_passes(clock, load, until=twice, step=60)
        state = state_of(refresher)
        assert state.ready
        assert state.access_key_id == first.access_key_id
        assert state.consecutive_failures == 2
        assert "EndpointConnectionError" in str(state.last_error)
        sts.failure = None
        await time_passes(clock, load, until=lambda: len(witness.of(CredentialsResolved)) == 2)
        state = state_of(refresher)
        assert (state.consecutive_failures, state.last_error) == (0, None)
        fresh = sts.issued[-1].access_key_id
        await time_passes(clock, load, until=lambda: state_of(refresher).access_key_id == fresh)
        await load.see(connects=3)
    assert load.errors == []
    assert all(status.ready for status in load.statuses)
    assert state_of(refresher).cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credentials_die_before_the_token(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L2, L5: the token's life ends with them, and its successor is there before."""
    sts.lifetime = 300
    async with (
        TokenRefresher(fresh_connects, clock=clock) as refresher,
        SteadyLoad(fresh_connects, refresher, now=clock.wall) as load,
    ):
        first = state_of(refresher)
        assert first.expires_at == first.credentials_expire_at
        await time_passes(clock, load, until=lambda: clock.wall() > end_of(first))
        await load.see(connects=3)
    assert load.errors == []
    assert all(status.ready for status in load.statuses)
    assert state_of(refresher).cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


def end_of(state: EndpointStatus) -> float:
    """Return when the token in hand ends, with the keys that signed it."""
    assert state.expires_at is not None
    return state.expires_at


# Longer than that


async def endure(
    aws: LocalAws,
    engine: AsyncEngine,
    clock: FakeClock,
    *,
    begin: Callable[[], None],
    says: str,
    policy: RefreshPolicy = QUICK,
) -> SteadyLoad:
    """Let the keys die, and the token with them, while AWS gives no others; return the load."""
    aws.lifetime = 300
    witness = Witness()
    async with (
        TokenRefresher(engine, policy=policy, observe=witness, clock=clock) as refresher,
        SteadyLoad(engine, refresher, now=clock.wall) as load,
    ):
        first = state_of(refresher)
        begin()
        await time_passes(clock, load, until=lambda: bool(witness.of(CredentialsFailed)))
        state = state_of(refresher)
        assert state.ready  # and yet it warns
        assert state.consecutive_failures > 0
        assert says in str(state.last_error)

        await load.rest()
        dies_at = end_of(first)
        await clock.advance(dies_at - clock.wall())
        load.go_on()
        while len(load.failed) < 3:
            await moment_passes(clock)
        now, state = clock.wall(), state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)
        assert state.consecutive_failures > 1
        assert says in str(state.last_error)
        assert state.next_mint_at is not None
        assert state.next_mint_at <= now + policy.retry_cap
        assert state.credentials_expire_at == first.credentials_expire_at

        set_right(aws)
        while not state_of(refresher).ready:
            await moment_passes(clock)
        assert clock.wall() <= now + policy.retry_cap
        await load.see(connects=1)
        failed = len(load.failed)
        await load.turn()
        assert len(load.failed) == failed
        state = state_of(refresher)
        assert state.ready
        assert (state.consecutive_failures, state.last_error) == (0, None)
        assert state.access_key_id != first.access_key_id
    assert all(attempt.at >= dies_at for attempt in load.failed)
    assert [error for error in load.errors if not lacked_a_token(error)] == []
    assert all(attempt.ended - attempt.began < policy.wait + BUSY for attempt in load.failed)
    return load


async def moment_passes(clock: FakeClock) -> None:
    """Let enough time pass for the pause before another look, and that look end."""
    await clock.advance(QUICK.retry_base)
    await until_true(lambda: not looking())


def set_right(aws: LocalAws) -> None:
    aws.delay, aws.failure, aws.lifetime = 0, None, 3600


async def test_credential_endpoint_slow_10_s(
    agent: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """Slower than `wait` is as good as down; that is 1 s here."""

    def begin() -> None:
        agent.delay = 10

    load = await endure(
        agent, fresh_connects, clock, begin=begin, says="did not come within 1 s", policy=IMPATIENT
    )
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_down_for_longer_than_a_token_lives(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L12: connects fail only when the token is gone, and no longer than the fault lasts."""

    def begin() -> None:
        sts.failure = "refused"

    load = await endure(sts, fresh_connects, clock, begin=begin, says="EndpointConnectionError")
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_hangs(
    agent: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L8: each call is given up after `wait`, and so is a connect that needs its answer."""

    def begin() -> None:
        agent.failure = "hang"

    load = await endure(
        agent, fresh_connects, clock, begin=begin, says="did not come within 1 s", policy=IMPATIENT
    )
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_answers_garbage(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """As good as no answer; and of what was answered nothing is repeated."""

    def begin() -> None:
        sts.failure = "garbage"

    load = await endure(sts, fresh_connects, clock, begin=begin, says="ResponseParserError")
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_refuses_403(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """A trust policy that was broken and is mended: nobody restarts the app."""

    def begin() -> None:
        sts.failure = "403"

    load = await endure(sts, fresh_connects, clock, begin=begin, says="AccessDenied")
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_a_thousand_endpoints_fail_at_once(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine, clock: FakeClock
) -> None:
    """L9: they share each look at the keys, and come back together."""
    sts.lifetime = 100
    witness = Witness()
    refresher = TokenRefresher(fresh_connects, policy=QUICK, observe=witness, clock=clock)
    for number in range(999):
        refresher.password(replace(rds.endpoint, user=f"user{number}"))

    def none_is_ready() -> bool:
        return not any(state.ready for state in refresher.status().endpoints)

    def told() -> Counter[Endpoint]:
        return Counter(event.endpoint for event in witness.of(MintFailed))

    async with refresher, SteadyLoad(fresh_connects, workers=1) as load:
        assert len(refresher.status().endpoints) == 1000
        sts.failure = "500"
        sts.calls.clear()
        while not none_is_ready():
            await load.rest()  # or a token is 30 s older when it arrives than when it was read
            await clock.advance(STEP)
            await until_true(lambda: not looking())
            load.go_on()
        while len(load.failed) < 3:
            await moment_passes(clock)
        for state in refresher.status().endpoints:
            assert state.usable_for == 0
            assert state.consecutive_failures > 0
            assert "InternalFailure" in str(state.last_error)

        await until_true(lambda: len(told()) == 1000, every=0.1)  # one after the other, in turns
        looks = witness.of(CredentialsFailed)
        assert len(sts.calls) <= len(looks) + 1 < 50
        assert max(told().values()) <= len(looks)  # each look that failed, once for each of them

        assert max(look.retry_in for look in looks) <= sts.lifetime

        righted = len(witness.events)
        set_right(sts)
        while not refresher.status().ready:
            await moment_passes(clock)
        since = witness.events[righted:]
        assert sum(isinstance(event, CredentialsResolved) for event in since) == 1
        assert sum(isinstance(event, CredentialsFailed) for event in since) <= 1  # under way then
        assert all(state.last_error is None for state in refresher.status().endpoints)
        failed = len(load.failed)
        await load.see(connects=5)
        assert len(load.failed) == failed
    assert all(lacked_a_token(error) for error in load.errors)


# While they look good


async def test_role_session_revoked_while_its_keys_are_in_hand(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L13: a refused token is replaced by one of fresh keys; connects wait for it."""
    async with (
        TokenRefresher(fresh_connects, policy=PATIENT) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        first = state_of(refresher)
        await load.see(connects=1)
        sts.delay = 0.5  # long enough to look at
        sts.revoke()
        await until_true(lambda: state_of(refresher).rejections > 0)
        state = state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)  # it is not handed out any more
        assert (state.consecutive_failures, state.last_error) == (0, None)
        await load.see(connects=5)
    state = state_of(refresher)
    assert load.errors == []
    assert state.ready
    assert state.access_key_id == sts.issued[-1].access_key_id != first.access_key_id
    assert 1 <= state.rejections <= 3  # of each worker, at most the one in flight
    assert state.mints == 2
    assert outcomes(rds) == {"accepted": len(load.succeeded), "denied": state.rejections}


async def test_token_refused_once(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L13: a new one is tried before anybody hears of it; connects wait for it."""
    async with (
        TokenRefresher(fresh_connects, policy=PATIENT) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        await load.see(connects=1)
        sts.delay = 0.5  # long enough to look at
        rds.refuse(1)
        await until_true(lambda: state_of(refresher).rejections > 0)
        state = state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)  # it is not handed out any more
        assert (state.consecutive_failures, state.last_error) == (0, None)
        await load.see(connects=5)
    state = state_of(refresher)
    assert load.errors == []
    assert state.ready
    assert (state.rejections, state.mints) == (1, 2)
    assert outcomes(rds) == {"accepted": len(load.succeeded), "denied": 1}
