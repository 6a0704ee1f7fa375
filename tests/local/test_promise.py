"""The promise, with asyncpg, TLS and PostgreSQL: connects go on while tokens and keys die."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import Endpoint, RefreshPolicy, TokenRefresher, open_engine
from rds_iam_async.telemetry import ColdConnect, Event, TokenMinted, TokenRejected
from rds_iam_async.testing import FakeClock, LocalRds

from .workload import RoleSession, load, most_forced, one_connect, outcomes

pytestmark = pytest.mark.anyio


class Seen(list[Event]):
    def __call__(self, event: Event) -> None:
        self.append(event)

    def count(self, kind: type[Event]) -> int:  # type: ignore[override]
        return sum(isinstance(event, kind) for event in self)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def role(rds: LocalRds) -> RoleSession:
    return RoleSession(rds)


async def test_tokens_that_live_four_seconds_with_a_matching_policy(
    rds: LocalRds, role: RoleSession, seen: Seen
) -> None:
    """No failure, no refused attempt, nothing in clear text, nobody waits for a mint.

    By a clock of the test's own: how far it goes between two connects is no matter of the
    machine's. Each token arrives 0.3 s after it was read, within its margin of 0.4 s.
    """
    rds.token_lifetime = 4
    clock = FakeClock(time.time())
    rds.wall = lambda: clock.wall() + 0.3
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=role,
        policy=RefreshPolicy(lifetime=4),
        observe=seen,
        clock=clock,
    )
    async with refresher:
        for _ in range(60):
            await one_connect(engine)
            await clock.advance(0.15)
    assert outcomes(rds) == {"accepted": 60}
    assert seen.count(TokenMinted) >= 4
    assert seen.count(ColdConnect) == 0


@pytest.mark.slow
async def test_a_server_that_kills_tokens_early_with_the_default_policy(
    rds: LocalRds, role: RoleSession, seen: Seen
) -> None:
    """No failure; at most one refused attempt for each token and connection in flight."""
    rds.token_lifetime = 4
    workers = 3
    async with open_engine(
        rds.url,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=role,
        observe=seen,
        poolclass=NullPool,
    ) as engine:
        tally = await load(engine, seconds=9, workers=workers)
    assert tally.errors == []
    counts = outcomes(rds)
    assert counts.pop("accepted") == tally.connects
    assert 0 < counts.pop("denied") <= seen.count(TokenMinted) * workers
    assert counts == {}


@pytest.mark.slow
async def test_keys_that_live_ten_seconds_with_the_default_policy(
    rds: LocalRds, role: RoleSession
) -> None:
    """L2, L5: tokens die with their keys, so the refresher is ahead of those."""
    role.lifetime = 10
    async with open_engine(
        rds.url, ca_file=rds.ca_file, region=rds.region, credentials=role, poolclass=NullPool
    ) as engine:
        tally = await load(engine, seconds=14, workers=2)
    assert tally.errors == []
    assert outcomes(rds) == {"accepted": tally.connects}
    assert 2 < len(role.issued) < 8


async def test_fifty_cold_connects_cost_one_mint_and_one_fetch(
    rds: LocalRds, role: RoleSession, seen: Seen
) -> None:
    """L10, L12: without `start()`, all at once."""
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine, ca_file=rds.ca_file, region=rds.region, credentials=role, observe=seen
    )
    await asyncio.gather(*(one_connect(engine) for _ in range(50)))
    assert (seen.count(TokenMinted), len(role.issued)) == (1, 1)
    assert outcomes(rds) == {"accepted": 50}
    await refresher.aclose()


async def test_a_role_session_revoked_while_its_keys_are_in_hand(
    rds: LocalRds, role: RoleSession, seen: Seen
) -> None:
    """L13: connects go on after one refused attempt. No peer survives this."""
    async with open_engine(
        rds.url,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=role,
        observe=seen,
        poolclass=NullPool,
    ) as engine:
        await one_connect(engine)
        for _ in range(2):
            rds.distrust(role.issued[-1])
            for _ in range(5):
                await one_connect(engine)
    assert outcomes(rds) == {"accepted": 11, "denied": 2}
    assert len(role.issued) == 3
    assert seen.count(TokenRejected) == 2


async def test_tokens_revoked_at_the_server(rds: LocalRds, role: RoleSession) -> None:
    """L13: every token issued so far is refused, the keys are good: one refused attempt."""
    async with open_engine(
        rds.url, ca_file=rds.ca_file, region=rds.region, credentials=role, poolclass=NullPool
    ) as engine:
        await one_connect(engine)
        rds.revoke()
        await asyncio.gather(*(one_connect(engine) for _ in range(10)))
    counts = outcomes(rds)
    assert counts["accepted"] == 11
    assert 1 <= counts["denied"] <= 10


async def test_a_token_that_is_refused_for_ever_is_the_servers_own_error_and_no_storm(
    rds: LocalRds, role: RoleSession
) -> None:
    """L13: 28000 is also a missing policy; forced mints back off, the error is the driver's."""
    began = time.monotonic()
    async with open_engine(
        rds.url, ca_file=rds.ca_file, region=rds.region, credentials=role, poolclass=NullPool
    ) as engine:
        rds.refuse(1000)
        errors = await asyncio.gather(
            *(one_connect(engine) for _ in range(20)), return_exceptions=True
        )
        errors += [await outcome(one_connect(engine)) for _ in range(10)]
        rds.refuse(0)
        await one_connect(engine)
    assert len(errors) == 30
    for error in errors:
        original = error.orig if isinstance(error, DBAPIError) else error
        assert "PAM authentication failed" in str(original)
        assert getattr(original, "sqlstate", None) == "28000"
    assert len(role.issued) <= 1 + most_forced(time.monotonic() - began)


async def test_a_user_without_rds_iam_is_told_so(rds: LocalRds, role: RoleSession) -> None:
    """The server asks for a SCRAM password then; the token is not even tried for one."""
    rds.create_user("ungranted", password="static")
    url = rds.url.replace(f"//{rds.user}@", "//ungranted@")
    async with open_engine(
        url, ca_file=rds.ca_file, region=rds.region, credentials=role, poolclass=NullPool
    ) as engine:
        error = await outcome(one_connect(engine))
    original = error.orig if isinstance(error, DBAPIError) else error
    assert 'GRANT rds_iam TO "ungranted"' in str(original)
    assert getattr(original, "sqlstate", None) == "28P01"
    assert len(role.issued) == 1


async def outcome(work: Awaitable[object]) -> BaseException | None:
    try:
        await work
    except Exception as error:
        return error
    return None


async def test_the_token_is_read_for_each_physical_connection(
    rds: LocalRds, role: RoleSession
) -> None:
    """Pool overflow, invalidation and pre-ping reconnects all get the current one."""
    async with open_engine(
        rds.url,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=role,
        pool_size=1,
        max_overflow=2,
        pool_pre_ping=True,
    ) as engine:
        for _ in range(2):
            held = [await engine.connect() for _ in range(3)]
            for connection in held:
                await connection.invalidate()
                await connection.close()
            rds.distrust(role.issued[-1])
        await one_connect(engine)
        rds.restart()
        await one_connect(engine)
    assert outcomes(rds)["accepted"] == 8


async def test_asyncpg_alone_by_password_callable_and_tls_context(
    rds: LocalRds, role: RoleSession
) -> None:
    """No SQLAlchemy needed; the endpoint is refreshed like an attached one."""
    import asyncpg

    endpoint = Endpoint(host=rds.host, port=rds.port, user=rds.user, region=rds.region)
    refresher = TokenRefresher(ca_file=rds.ca_file, credentials=role)
    password = refresher.password(endpoint)
    assert "X-Amz" not in repr(password)
    async with refresher:
        assert refresher.status().ready
        async with asyncpg.create_pool(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            database=rds.database,
            password=password,
            ssl=refresher.tls(endpoint),
            min_size=2,
            max_size=4,
        ) as pool:
            assert await pool.fetchval("select current_user") == rds.user
        [status] = refresher.status().endpoints
        assert (status.mints, status.cold_mints) == (1, 0)


async def test_a_token_for_an_endpoint_that_was_never_attached(
    rds: LocalRds, role: RoleSession
) -> None:
    """And without `start()`: for scripts, and for psql."""
    refresher = TokenRefresher(ca_file=rds.ca_file, credentials=role)
    token = await refresher.token(rds.endpoint)
    assert token.password.startswith(f"{rds.host}:{rds.port}/?Action=connect")
    assert (await refresher.token(rds.endpoint)) == token
    assert refresher.status().endpoints == ()


async def test_status_tells_the_truth(rds: LocalRds, role: RoleSession) -> None:
    """L21: readiness from the token's life, plain data that JSON can take."""
    import json

    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, credentials=role)
    before = refresher.status()
    assert (before.ready, before.endpoints[0].usable_for) == (False, 0.0)
    json.dumps(before.to_dict(), allow_nan=False)
    async with refresher:
        await one_connect(engine)
        status = refresher.status()
        assert status.ready
        [state] = status.endpoints
        assert state.endpoint == rds.endpoint
        assert 840 < state.usable_for <= 870
        assert (state.access_key_id, state.provider) == (role.issued[0], "role-session")
        assert (state.mints, state.cold_mints, state.rejections) == (1, 0, 0)
        assert (state.consecutive_failures, state.last_error) == (0, None)
        assert state.next_mint_at is not None
        assert state.minted_at is not None
        assert state.minted_at < state.next_mint_at < state.minted_at + 900
        json.dumps(status.to_dict(), allow_nan=False)
    after = refresher.status()
    assert after.ready  # the token is still good
    assert after.endpoints[0].next_mint_at is None
    await engine.dispose()
    gc.collect()
