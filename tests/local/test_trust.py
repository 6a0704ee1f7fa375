"""L14: TLS is verified, host name included, before the token leaves. Assume a hostile server."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trustme
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher, open_engine
from rds_iam_async.testing import LocalRds

from .hostile import HOSTILE, HostileServer
from .workload import RoleSession, one_connect, outcomes

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(params=HOSTILE, ids=lambda name: name.replace(" ", "-"))
async def hostile(
    request: pytest.FixtureRequest, authority: trustme.CA
) -> AsyncIterator[HostileServer]:
    async with HostileServer(HOSTILE[request.param](authority)).running() as hostile:
        yield hostile


async def test_a_hostile_server_never_sees_the_token(
    hostile: HostileServer, rds: LocalRds, ca_file: str
) -> None:
    """Not in clear, not over TLS that was not verified."""
    url = f"postgresql+asyncpg://app@localhost:{hostile.port}/app"
    async with open_engine(
        url, ca_file=ca_file, region="eu-west-1", credentials=RoleSession(rds), poolclass=NullPool
    ) as engine:
        with pytest.raises((OSError, DBAPIError)) as caught:
            await one_connect(engine)
    assert hostile.received == b""
    if isinstance(caught.value, ssl.SSLCertVerificationError):
        assert "global-bundle.pem" in str(caught.value)
        assert "The token was not sent" in str(caught.value)


async def test_the_hostile_server_does_hear_clients_that_do_not_verify(
    hostile: HostileServer,
) -> None:
    """The test above can fail: asyncpg's own default gives this server the password."""
    connecting = asyncio.ensure_future(
        asyncpg.connect(
            host="localhost",
            port=hostile.port,
            user="app",
            database="app",
            password="static-password",
            timeout=30,
        )
    )
    await hostile.was_told.wait()
    assert hostile.received == b"p\0\0\0\x14static-password\0"
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def test_a_refusal_is_not_tried_again_in_clear_text(
    rds: LocalRds,
) -> None:
    """asyncpg's default would send the refused token once more without TLS."""
    role = RoleSession(rds)
    async with open_engine(
        rds.url, ca_file=rds.ca_file, region=rds.region, credentials=role, poolclass=NullPool
    ) as engine:
        rds.refuse(2)
        with pytest.raises(Exception, match="PAM authentication failed"):
            await one_connect(engine)
        await one_connect(engine)
    assert outcomes(rds) == {"denied": 2, "accepted": 1}


async def test_an_unknown_authority_says_where_to_get_the_bundle(rds: LocalRds) -> None:
    """The commonest first error of all."""
    async with open_engine(
        rds.url, region=rds.region, credentials=RoleSession(rds), poolclass=NullPool
    ) as engine:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"global-bundle\.pem"):
            await one_connect(engine)
    assert "accepted" not in outcomes(rds)


@pytest.mark.parametrize("variable", ["RDS_IAM_CA_FILE", "PGSSLROOTCERT"])
async def test_the_ca_file_may_come_from_the_environment(
    rds: LocalRds, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name everywhere; libpq's as a fallback."""
    monkeypatch.delenv("RDS_IAM_CA_FILE", raising=False)
    monkeypatch.setenv(variable, rds.ca_file)
    async with open_engine(
        rds.url, region=rds.region, credentials=RoleSession(rds), poolclass=NullPool
    ) as engine:
        await one_connect(engine)


async def test_a_context_of_ones_own_is_used_as_it_is(rds: LocalRds) -> None:
    """Somebody has client certificates, or means not to verify."""
    context = ssl.create_default_context(cafile=rds.ca_file)
    async with open_engine(
        rds.url, region=rds.region, tls=context, credentials=RoleSession(rds), poolclass=NullPool
    ) as engine:
        await one_connect(engine)


async def test_direct_tls_works_with_the_shared_context(rds: LocalRds) -> None:
    """PostgreSQL 17 demands ALPN for it, which asyncpg does not set on a given context."""
    async with open_engine(
        rds.url,
        ca_file=rds.ca_file,
        region=rds.region,
        credentials=RoleSession(rds),
        poolclass=NullPool,
        connect_args={"direct_tls": True},
    ) as engine:
        await one_connect(engine)


async def test_a_listener_after_ours_cannot_take_the_tls_and_keep_the_token(rds: LocalRds) -> None:
    """It replaces what connects; token and context are in the arguments together or not at all."""
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine, ca_file=rds.ca_file, region=rds.region, credentials=RoleSession(rds)
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def replace(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["async_creator_fn"] = asyncpg.connect

    with pytest.raises(Exception, match="no encryption"):  # nothing was built or minted yet
        await one_connect(engine)
    assert {login.outcome for login in rds.log} <= {"denied", "plaintext"}
    async with refresher:
        rds.log.clear()
        await one_connect(engine)
        rds.refuse(1)
        with pytest.raises(Exception, match="PAM"):
            await one_connect(engine)
        assert [login.outcome for login in rds.log] == ["accepted", "denied"]
    await engine.dispose()


async def test_fifty_cold_connects_build_one_context(rds: LocalRds) -> None:
    """L14: built once, off the loop, also when everybody wants it first."""
    threads: list[str] = []

    def note(*_: object) -> None:
        threads.append(threading.current_thread().name)
        sys.setprofile(None)  # once for each thread, at its start

    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        engine, ca_file=rds.ca_file, region=rds.region, credentials=RoleSession(rds)
    )
    threading.setprofile(note)
    try:
        await asyncio.gather(*(one_connect(engine) for _ in range(50)))
    finally:
        threading.setprofile(None)
    assert threads.count("rds_iam_async-tls") == 1
    await refresher.aclose()
