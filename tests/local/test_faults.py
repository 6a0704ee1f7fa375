"""The fault matrix of docs/explanation/failures.md: AWS, its keys, and the page itself.

Under each fault new connections are opened all the time. Those that began while the token
in hand was good must all succeed; after the fault, connects go on without a restart.
"""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import Endpoint, RefreshPolicy, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import CredentialsFailed, CredentialsResolved, MintFailed
from rds_iam_async.testing import LocalAws, LocalRds

from .test_credentials_done_right import Witness, state_of, until
from .workload import SteadyLoad, lacked_a_token, outcomes, sqlstate, until_true, whole_second

pytestmark = pytest.mark.anyio

QUICK = RefreshPolicy(retry_base=0.1, retry_cap=3.0)
"""Retries at a fifth of the defaults; keys live for seconds, so the tokens of them do, too."""

IMPATIENT = replace(QUICK, wait=1.0)


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
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """Renewed ahead of need, by 3 s here: nobody notices, nor does `status()`."""
    sts.lifetime = 6
    witness = Witness()
    await whole_second()
    async with (
        TokenRefresher(fresh_connects, policy=QUICK, observe=witness) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        sts.delay = 2
        await witness.sees(CredentialsResolved)
        fresh = sts.issued[-1].access_key_id
        await until_true(lambda: state_of(refresher).access_key_id == fresh)
        await load.see(connects=3)
    assert load.errors == []
    for status in load.statuses:
        (meanwhile,) = status.endpoints
        assert meanwhile.ready
        assert (meanwhile.consecutive_failures, meanwhile.last_error) == (0, None)
        assert meanwhile.cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credential_endpoint_down_for_30_s(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L8: no connect fails, and `status()` warns meanwhile."""
    sts.lifetime = 5
    witness = Witness()
    await whole_second()
    async with (
        TokenRefresher(fresh_connects, policy=QUICK, observe=witness) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        first = state_of(refresher)
        sts.failure = "refused"
        await witness.sees(CredentialsFailed, failures=2)
        state = state_of(refresher)
        assert state.ready
        assert state.access_key_id == first.access_key_id
        assert state.consecutive_failures == 2
        assert "EndpointConnectionError" in str(state.last_error)
        sts.failure = None
        await witness.sees(CredentialsResolved)
        state = state_of(refresher)
        assert (state.consecutive_failures, state.last_error) == (0, None)
        fresh = sts.issued[-1].access_key_id
        await until_true(lambda: state_of(refresher).access_key_id == fresh)
        await load.see(connects=3)
    assert load.errors == []
    assert all(status.ready for status in load.statuses)
    assert state_of(refresher).cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_credentials_die_before_the_token(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L2, L5: the token's life ends with them, and its successor is there before."""
    sts.lifetime = 3
    await whole_second()
    async with (
        TokenRefresher(fresh_connects) as refresher,
        SteadyLoad(fresh_connects, refresher) as load,
    ):
        first = state_of(refresher)
        assert first.expires_at == first.credentials_expire_at
        await until(sts.issued[-1].expires_at)
        await load.see(connects=3)
    assert load.errors == []
    assert all(status.ready for status in load.statuses)
    assert state_of(refresher).cold_mints == 0
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


# Longer than that


async def endure(
    aws: LocalAws,
    engine: AsyncEngine,
    *,
    begin: Callable[[], None],
    end: Callable[[], None],
    says: str,
    policy: RefreshPolicy = QUICK,
) -> set[str]:
    """Let the keys die, and the token with them, while AWS gives no others.

    Returns:
        How logins ended. The margin of a token that lives for 4 s is 0.4 s and not 30: where
        the machine was so busy that a login took longer than that, one may be refused.
    """
    witness = Witness()
    await whole_second()
    async with (
        TokenRefresher(engine, policy=policy, observe=witness) as refresher,
        SteadyLoad(engine, refresher) as load,
    ):
        first = state_of(refresher)
        dies_at = time.monotonic() + first.usable_for
        begin()
        await witness.sees(CredentialsFailed)
        state = state_of(refresher)
        assert state.ready  # and yet it warns
        assert state.consecutive_failures > 0
        assert says in str(state.last_error)

        await load.see(failures=3)
        now, state = time.time(), state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)
        assert state.consecutive_failures > 1
        assert says in str(state.last_error)
        assert state.next_mint_at is not None
        assert state.next_mint_at <= now + policy.retry_cap
        assert state.credentials_expire_at == first.credentials_expire_at

        end()
        await load.recovers(policy)
        state = state_of(refresher)
        assert state.ready
        assert (state.consecutive_failures, state.last_error) == (0, None)
        assert state.access_key_id != first.access_key_id
    assert all(attempt.ended >= dies_at for attempt in load.failed)
    late = [attempt for attempt in load.failed if not lacked_a_token(attempt.error)]
    assert all(attempt.ended - attempt.began > 0.4 for attempt in late)
    assert {sqlstate(attempt.error) for attempt in late} <= {"28000"}
    assert all(attempt.ended - attempt.began < 2 * policy.wait for attempt in load.failed)
    return {"accepted", "denied"} if late else {"accepted"}


def set_right(aws: LocalAws) -> None:
    aws.delay, aws.failure, aws.lifetime = 0, None, 3600


async def test_credential_endpoint_slow_10_s(
    agent: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """Slower than `wait` is as good as down; a fifth of 10 s and 5 s here."""
    agent.lifetime = 5

    def begin() -> None:
        agent.delay = 2

    ended = await endure(
        agent,
        fresh_connects,
        begin=begin,
        end=lambda: set_right(agent),
        says="did not come within 1 s",
        policy=IMPATIENT,
    )
    assert set(outcomes(rds)) <= ended


async def test_credential_endpoint_down_for_longer_than_a_token_lives(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L12: connects fail only when the token is gone, and no longer than the fault lasts."""
    sts.lifetime = 4

    def begin() -> None:
        sts.failure = "refused"

    ended = await endure(
        sts, fresh_connects, begin=begin, end=lambda: set_right(sts), says="EndpointConnectionError"
    )
    assert set(outcomes(rds)) <= ended


async def test_credential_endpoint_hangs(
    agent: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L8: each call is given up after `wait`, and so is a connect that needs its answer."""
    agent.lifetime = 5

    def begin() -> None:
        agent.failure = "hang"

    ended = await endure(
        agent,
        fresh_connects,
        begin=begin,
        end=lambda: set_right(agent),
        says="did not come within 1 s",
        policy=IMPATIENT,
    )
    assert set(outcomes(rds)) <= ended


async def test_credential_endpoint_answers_garbage(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """As good as no answer; and of what was answered nothing is repeated."""
    sts.lifetime = 4

    def begin() -> None:
        sts.failure = "garbage"

    ended = await endure(
        sts, fresh_connects, begin=begin, end=lambda: set_right(sts), says="ResponseParserError"
    )
    assert set(outcomes(rds)) <= ended


async def test_credential_endpoint_refuses_403(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """A trust policy that was broken and is mended: nobody restarts the app."""
    sts.lifetime = 4

    def begin() -> None:
        sts.failure = "403"

    ended = await endure(
        sts, fresh_connects, begin=begin, end=lambda: set_right(sts), says="AccessDenied"
    )
    assert set(outcomes(rds)) <= ended


async def test_a_thousand_endpoints_fail_at_once(
    sts: LocalAws, rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """L9: they share each look at the keys, and come back together."""
    sts.lifetime = 3
    witness = Witness()
    refresher = TokenRefresher(fresh_connects, policy=QUICK, observe=witness)
    for number in range(999):
        refresher.password(replace(rds.endpoint, user=f"user{number}"))

    def none_is_ready() -> bool:
        return not any(state.ready for state in refresher.status().endpoints)

    await whole_second()
    async with refresher, SteadyLoad(fresh_connects, workers=1) as load:
        assert len(refresher.status().endpoints) == 1000
        sts.failure = "500"
        sts.calls.clear()
        await load.see(failures=3)
        await until_true(none_is_ready, every=0.1)
        for state in refresher.status().endpoints:
            assert state.usable_for == 0
            assert state.consecutive_failures > 0
            assert "InternalFailure" in str(state.last_error)

        def told() -> Counter[Endpoint]:
            return Counter(e.endpoint for e in witness.events if isinstance(e, MintFailed))

        await until_true(lambda: len(told()) == 1000, every=0.1)  # one after the other, in turns
        looks = [event for event in witness.events if isinstance(event, CredentialsFailed)]
        assert len(sts.calls) <= len(looks) + 1 < 50
        assert max(told().values()) <= len(looks)  # each look that failed, once for each of them

        assert max(look.retry_in for look in looks) <= QUICK.retry_cap

        righted = len(witness.events)
        set_right(sts)
        await until_true(lambda: refresher.status().ready, every=0.1)
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
        TokenRefresher(fresh_connects) as refresher,
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
        TokenRefresher(fresh_connects) as refresher,
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
